"""What is decided about alerts and limits: making and changing alerts, and what was reached of them by what is used.

Whoever finds that something is reached may find it twice, or of figures that are old by now: what was told of is not
told of again, and nothing is where it does not hold any more.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from domain.customers.customer import CUSTOMER, customer_time, open_for_business, time_of
from domain.entitlements.entitlement import (
    ENTITLEMENT,
    RESETTABLE,
    EntitlementLimitReached,
    EntitlementNotResettable,
    EntitlementReset,
    ReachLimit,
    ResetEntitlement,
    entitlement_id_of,
    since_of,
)
from domain.entitlements.triggered_alert import (
    TRIGGERED_ALERT,
    Counted,
    TriggerAlert,
    UsageAlertTriggered,
    due_thresholds,
    trigger_id_of,
)
from domain.entitlements.usage_alert import (
    USAGE_ALERT,
    AlertPeriod,
    AlertTerms,
    ArchiveUsageAlert,
    ChangeUsageAlert,
    CreateUsageAlert,
    InvalidUsageAlert,
    UsageAlertArchived,
    UsageAlertChanged,
    UsageAlertCreated,
    UsageAlertIsArchived,
    check_terms,
)
from domain.invoicing.usage_line import told_quantity
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import changed
from domain.metering.meter import METER, MeterIsArchived


def create_usage_alert(command: CreateUsageAlert, streams: Streams, now: datetime) -> Decision:
    """Raises InvalidUsageAlert, MeterNotFound, MeterIsArchived, CustomerNotFound, CustomerIsDeleted."""
    USAGE_ALERT.check_new(streams, command.usage_alert_id)
    if (command.meter_id is None) is (command.feature is None):
        raise InvalidUsageAlert(reason="a meter or a feature, one of them").at("meter")
    if command.feature is not None and command.period is not AlertPeriod.SUBSCRIPTION:
        raise InvalidUsageAlert(reason="a feature's limit is of the subscription's period").at("period")
    check_terms(command.terms, of_feature=command.feature is not None)
    if command.meter_id is not None and METER.of(streams, command.meter_id).archived_at is not None:
        raise MeterIsArchived(meter=command.meter_id)
    at = now
    if command.customer_id is not None:
        at = customer_time(streams, open_for_business(streams, command.customer_id), now)
    created = UsageAlertCreated(
        usage_alert_id=command.usage_alert_id,
        meter_id=command.meter_id,
        feature=command.feature,
        customer_id=command.customer_id,
        period=command.period,
        terms=command.terms,
        metadata=command.metadata,
        created_at=at,
    )
    return Decision(at, [USAGE_ALERT.change(created)])


def change_usage_alert(command: ChangeUsageAlert, streams: Streams, now: datetime) -> Decision:
    """Raises UsageAlertIsArchived, InvalidUsageAlert."""
    alert = USAGE_ALERT.of(streams, command.usage_alert_id)
    if alert.archived_at is not None:
        raise UsageAlertIsArchived(usage_alert=alert.usage_alert_id)
    terms = AlertTerms(
        name=changed(command.name, alert.terms.name),
        thresholds=changed(command.thresholds, alert.terms.thresholds),
        every=changed(command.every, alert.terms.every),
    )
    check_terms(terms, of_feature=alert.feature is not None)
    at = time_of(streams, alert.customer_id, now)
    if terms == alert.terms:
        return Decision(at, [])
    return Decision(at, [USAGE_ALERT.change(UsageAlertChanged(usage_alert_id=alert.usage_alert_id, terms=terms))])


def archive_usage_alert(command: ArchiveUsageAlert, streams: Streams, now: datetime) -> Decision:
    alert = USAGE_ALERT.of(streams, command.usage_alert_id)
    at = time_of(streams, alert.customer_id, now)
    if alert.archived_at is not None:
        return Decision(at, [])
    return Decision(at, [USAGE_ALERT.change(UsageAlertArchived(usage_alert_id=alert.usage_alert_id, archived_at=at))])


def trigger_alert(command: TriggerAlert, streams: Streams, now: datetime) -> Decision:
    """An event for each threshold that is reached and was not told of, the least first."""
    counted = command.counted
    alert = USAGE_ALERT.of(streams, command.usage_alert_id)
    customer = CUSTOMER.of(streams, counted.customer_id)
    at = customer_time(streams, customer, now)
    if alert.archived_at is not None or customer.deleted_at is not None or not _holds(counted, streams):
        return Decision(at, [])
    trigger_id = trigger_id_of(alert.usage_alert_id, counted)
    triggered = streams.get(TRIGGERED_ALERT, trigger_id)
    told = () if triggered is None else tuple(each.threshold for each in triggered.reached)
    events = [
        UsageAlertTriggered(
            trigger_id=trigger_id,
            usage_alert_id=alert.usage_alert_id,
            customer_id=counted.customer_id,
            meter_id=counted.meter_id,
            feature=counted.feature,
            period_start=counted.period_start,
            period_end=counted.period_end,
            since=counted.since,
            threshold=each.threshold,
            percent=each.percent,
            limit=None if each.percent is None else counted.limit,
            used=told_quantity(counted.used),
            triggered_at=at,
            recurring=each.recurring,
        )
        for each in due_thresholds(alert.terms, counted, told)
    ]
    return Decision(at, [TRIGGERED_ALERT.change(event) for event in events])


def reach_limit(command: ReachLimit, streams: Streams, now: datetime) -> Decision:
    """Nothing where the limit was told of already, or is not reached."""
    counted = command.counted
    assert counted.feature is not None, "a feature has the limit"
    assert counted.period_start is not None, "a limit is of a period"
    assert counted.period_end is not None, "a limit is of a period"
    assert counted.since is not None, "a limit is of a period"
    assert counted.limit is not None, "there is a limit"
    customer = CUSTOMER.of(streams, counted.customer_id)
    at = customer_time(streams, customer, now)
    entitlement_id = entitlement_id_of(counted.customer_id, counted.feature)
    entitlement = streams.get(ENTITLEMENT, entitlement_id)
    is_told = entitlement is not None and entitlement.reached_at(counted.meter_id, counted.since, counted.limit)
    if is_told or counted.used < counted.limit or customer.deleted_at is not None or not _holds(counted, streams):
        return Decision(at, [])
    reached = EntitlementLimitReached(
        entitlement_id=entitlement_id,
        customer_id=counted.customer_id,
        feature=counted.feature,
        meter_id=counted.meter_id,
        limit=counted.limit,
        limit_kind=command.limit_kind,
        used=told_quantity(counted.used),
        period_start=counted.period_start,
        period_end=counted.period_end,
        since=counted.since,
        reached_at=at,
    )
    return Decision(at, [ENTITLEMENT.change(reached)])


def reset_entitlement(command: ResetEntitlement, streams: Streams, now: datetime) -> Decision:
    """Raises CustomerNotFound, CustomerIsDeleted, EntitlementNotResettable."""
    if command.aggregation not in RESETTABLE:
        raise EntitlementNotResettable(feature=command.feature, aggregation=command.aggregation)
    at = customer_time(streams, open_for_business(streams, command.customer_id), now)
    entitlement_id = entitlement_id_of(command.customer_id, command.feature)
    counted_since = since_of(streams.get(ENTITLEMENT, entitlement_id), command.meter_id, command.period_start)
    reset = EntitlementReset(
        entitlement_id=entitlement_id,
        customer_id=command.customer_id,
        feature=command.feature,
        meter_id=command.meter_id,
        period_start=command.period_start,
        period_end=command.period_end,
        used_before=command.used,
        counted_to=command.counted_to,
        # What is told since is told apart by it, and a test clock stands still.
        reset_at=max(at, counted_since + timedelta(microseconds=1)),
    )
    return Decision(at, [ENTITLEMENT.change(reset)])


def _holds(counted: Counted, streams: Streams) -> bool:
    """Whether the counter was not reset since it was looked at."""
    if counted.feature is None or counted.period_start is None:
        return True
    entitlement = streams.get(ENTITLEMENT, entitlement_id_of(counted.customer_id, counted.feature))
    return since_of(entitlement, counted.meter_id, counted.period_start) == counted.since


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateUsageAlert: create_usage_alert,
    ChangeUsageAlert: change_usage_alert,
    ArchiveUsageAlert: archive_usage_alert,
    TriggerAlert: trigger_alert,
    ReachLimit: reach_limit,
    ResetEntitlement: reset_entitlement,
}
