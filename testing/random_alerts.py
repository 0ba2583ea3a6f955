"""Commands about alerts and limits, for random histories."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from domain.catalog.feature import LimitKind
from domain.entitlements.entitlement import ReachLimit, ResetEntitlement
from domain.entitlements.triggered_alert import Counted, TriggerAlert
from domain.entitlements.usage_alert import (
    AlertPeriod,
    AlertTerms,
    ArchiveUsageAlert,
    ChangeUsageAlert,
    CreateUsageAlert,
    Threshold,
)
from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation


def alerted(
    known: dict[str, list[str]], new: Callable[[str], str], customer_id: str, now: datetime, n: int
) -> Iterator[Command]:
    """One of a meter, of one customer or of each, or one of a feature; triggered, changed, some archived; and a limit
    that is reached, and reset.
    """
    meter_id = known.get("meter", ["mtr_unknown"])[-1]
    of_feature = n % 3 == 0
    threshold = Threshold(percent=Decimal(80)) if of_feature else Threshold(quantity=Decimal(n % 90 + 1))
    created = CreateUsageAlert(
        usage_alert_id=new("alrt_"),
        meter_id=None if of_feature else meter_id,
        feature="calls" if of_feature else None,
        customer_id=customer_id if n % 2 else None,
        period=AlertPeriod.SUBSCRIPTION if of_feature else tuple(AlertPeriod)[n % 3],
        terms=AlertTerms(name=f"Alert {n}", thresholds=(threshold,), every=None if n % 4 else Decimal(10)),
        metadata=(("order", str(n)),),
    )
    yield created
    start = now.replace(minute=0, second=0, microsecond=0)
    counted = Counted(
        customer_id=customer_id,
        meter_id=meter_id,
        feature="calls" if of_feature else None,
        period_start=start,
        period_end=start + timedelta(days=30),
        since=start,
        limit=100,
        used=Fraction(n % 200, 1),
    )
    yield TriggerAlert(usage_alert_id=created.usage_alert_id, counted=counted)
    if of_feature:
        yield ReachLimit(counted=counted, limit_kind=LimitKind.SOFT)
        yield ResetEntitlement(
            customer_id=customer_id,
            feature="calls",
            meter_id=meter_id,
            aggregation=Aggregation.SUM,
            period_start=start,
            period_end=start + timedelta(days=30),
            used=counted.used,
            counted_to=n,
        )
    yield ChangeUsageAlert(usage_alert_id=created.usage_alert_id, name=f"Alert {n % 7}", every=Decimal(5))
    yield TriggerAlert(usage_alert_id=created.usage_alert_id, counted=counted)
    if n % 5 == 0:
        yield ArchiveUsageAlert(usage_alert_id=created.usage_alert_id)
