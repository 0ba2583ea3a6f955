"""Before a subscription's first period: its schedule is counted anew where the trial or the interval is another."""

from datetime import datetime

from domain.kernel.stream import Change
from domain.subscriptions.alignment import Counted, PeriodAlignment, counted_from
from domain.subscriptions.billing_date import SubscriptionAnchorChanged
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import intervals_of


def recounted(subscription: Subscription, at: datetime) -> list[Change]:
    """What says so, if anything moved. One that is counted from its start needs no saying."""
    if subscription.period_end is not None or subscription.alignment is PeriodAlignment.START:
        return []
    is_named = subscription.alignment is PeriodAlignment.ANCHOR
    counted = counted_from(
        subscription.alignment,
        subscription.anchor_at if is_named else None,
        subscription.first_period_at,
        subscription.terms.time_zone,
        intervals_of(subscription.terms),
    )
    if counted == Counted(subscription.anchor_at, subscription.anchor_index, subscription.begins_short):
        return []
    moved = SubscriptionAnchorChanged(
        subscription_id=subscription.subscription_id,
        alignment=subscription.alignment,
        anchor_at=counted.anchor_at,
        anchor_index=counted.anchor_index,
        begins_short=counted.begins_short,
        changed_at=at,
    )
    return [SUBSCRIPTION.change(moved)]
