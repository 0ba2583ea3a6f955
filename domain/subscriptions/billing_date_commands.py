"""What is decided about a subscription's billing date."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import open_for_business, time_of
from domain.kernel.billing_period import BillingCycle
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.alignment import PeriodAlignment
from domain.subscriptions.billing_date import BillingDateNotMovable, SubscriptionAnchorChanged
from domain.subscriptions.cancellation import CancellationIsScheduled
from domain.subscriptions.change import ChangeIsScheduled
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBillingDate:
    """Count the periods after the running one from `anchor_at`, be it past or ahead."""

    subscription_id: str
    anchor_at: datetime


def change_billing_date(command: ChangeBillingDate, streams: Streams, now: datetime) -> Decision:
    """The running period is paid, and stays as it is. The next one begins where it ends, and lasts until the new
    schedule says; of the whole period there it bills its share.
    """
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    subscription = ahead.subscription
    open_for_business(ahead.streams, subscription.customer_id)
    changed = SUBSCRIPTION.change(_from_anchor(subscription, command.anchor_at, _next_start(subscription), at))
    return Decision(at, [*ahead.changes, changed])


def _next_start(subscription: Subscription) -> datetime:
    """Where the next period begins. Raises CancellationIsScheduled, ChangeIsScheduled, BillingDateNotMovable."""
    named = subscription.subscription_id
    if subscription.cancel_at is not None:
        raise CancellationIsScheduled(subscription=named, cancel_at=subscription.cancel_at)
    if subscription.scheduled is not None:
        raise ChangeIsScheduled(subscription=named, effective_at=subscription.scheduled.at)
    has_longer = any(item.interval is not None for item in subscription.terms.items)
    if subscription.period_end is None or subscription.paused_at is not None or has_longer:
        raise BillingDateNotMovable(subscription=named, status=subscription.status)
    return subscription.period_end


def _from_anchor(
    subscription: Subscription, anchor_at: datetime, begins_at: datetime, at: datetime
) -> SubscriptionAnchorChanged:
    terms = subscription.terms
    cycle = BillingCycle.anniversary(anchor_at, terms.time_zone, terms.interval)
    nth = cycle.index_at(begins_at)
    return SubscriptionAnchorChanged(
        subscription_id=subscription.subscription_id,
        alignment=PeriodAlignment.ANCHOR,
        anchor_at=anchor_at,
        anchor_index=subscription.period_index + 1 - nth,
        begins_short=cycle.boundary(nth) < begins_at,
        changed_at=at,
    )


HANDLERS: Final[Mapping[type, Handler]] = {ChangeBillingDate: change_billing_date}
