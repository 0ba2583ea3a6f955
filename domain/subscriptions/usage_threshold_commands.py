"""What is decided about thresholds of usage: setting one, and billing what usage came to before its period is over."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import open_for_business, time_of
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.usage_line import UsageProgress
from domain.kernel.frozen import replace
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.periods import line_id
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import check_threshold
from domain.subscriptions.transitions import issued
from domain.subscriptions.usage_so_far import running_usage_line
from domain.subscriptions.usage_threshold import (
    BillUsageSoFar,
    NoUsageToBill,
    SetUsageThreshold,
    SubscriptionUsageThresholdSet,
)


def set_usage_threshold(command: SetUsageThreshold, streams: Streams, now: datetime) -> Decision:
    """From now on, also for what the running period has come to. Raises InvalidUsageThreshold."""
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    open_for_business(ahead.streams, found.customer_id)
    check_threshold(command.threshold, found.terms.currency)
    told = SubscriptionUsageThresholdSet(
        subscription_id=command.subscription_id, threshold=command.threshold, set_at=at
    )
    return Decision(at, [*ahead.changes, SUBSCRIPTION.change(told)])


def bill_usage_so_far(command: BillUsageSoFar, streams: Streams, now: datetime) -> Decision:
    """An invoice of its own, of the usage until now; the next one of each period bills what is more by then, and the
    period's end the rest.

    Raises NoUsageToBill.
    """
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    subscription = ahead.subscription
    seen = command.period_index, command.changes, command.billings_so_far
    is_as_seen = seen == (subscription.period_index, subscription.changes, subscription.billings_so_far)
    invoice_id = derived_id(INVOICE, subscription.subscription_id, f"usage/{subscription.billings_so_far}")
    lines = tuple(_lines_so_far(subscription, command.price_ids, at, invoice_id))
    if not is_as_seen or subscription.terms.usage_threshold is None or not lines:
        raise NoUsageToBill(subscription=command.subscription_id)
    return Decision(at, [*ahead.changes, *issued(subscription, invoice_id, lines, ahead.streams, at)])


def _lines_so_far(
    subscription: Subscription, price_ids: tuple[str, ...], at: datetime, invoice_id: str
) -> Iterator[InvoiceLine]:
    """What bills these items until `at`, with the bounds of the whole period: those are of all that it comes to."""
    for item in subscription.terms.items:
        line = None if item.meter_id is None else running_usage_line(subscription, item.meter_id)
        if line is None or line.usage is None or line.period_start is None or item.price_id not in price_ids:
            continue
        if line.period_start < at:
            yield replace(
                line,
                line_id=line_id(invoice_id, line.timing, item.price_id),
                period_end=at,
                usage=replace(line.usage, progress=UsageProgress(is_last=False)),
            )


HANDLERS: Final[Mapping[type, Handler]] = {
    SetUsageThreshold: set_usage_threshold,
    BillUsageSoFar: bill_usage_so_far,
}
