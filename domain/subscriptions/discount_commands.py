"""What is decided about the discounts of subscriptions, and about the end of any: what is due is billed before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import open_for_business, time_of
from domain.discounts.commands import redeem
from domain.discounts.discount import DISCOUNT, DiscountEnd, DiscountEnded, DiscountHasEnded
from domain.kernel.metadata import Metadata
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.subscriptions.discounts import SubscriptionDiscountAttached
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.subscription import SUBSCRIPTION


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCouponToSubscription:
    """From now on, on whatever the subscription bills."""

    discount_id: str
    coupon_id: str
    subscription_id: str
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDiscount:
    """What was billed before stays discounted."""

    discount_id: str


def apply_coupon_to_subscription(command: ApplyCouponToSubscription, streams: Streams, now: datetime) -> Decision:
    subscription = SUBSCRIPTION.of(streams, command.subscription_id)
    customer = open_for_business(streams, subscription.customer_id)
    at = time_of(streams, subscription.customer_id, now)
    ahead = caught_up(streams, command.subscription_id, at).to_change()
    redeemed = redeem(
        ahead.streams,
        coupon_id=command.coupon_id,
        discount_id=command.discount_id,
        customer=customer,
        subscription_id=command.subscription_id,
        held=holding(ahead.streams, ahead.subscription.discount_ids),
        metadata=command.metadata,
        at=at,
    )
    borne = SubscriptionDiscountAttached(subscription_id=command.subscription_id, discount_id=command.discount_id)
    return Decision(at, [*ahead.changes, *redeemed, SUBSCRIPTION.change(borne)])


def remove_discount(command: RemoveDiscount, streams: Streams, now: datetime) -> Decision:
    """A subscription's periods that began before are billed before, with it."""
    discount = DISCOUNT.of(streams, command.discount_id)
    at = time_of(streams, discount.customer_id, now)
    changes: list[Change] = []
    if discount.subscription_id is not None and discount.ended_at is None:
        ahead = caught_up(streams, discount.subscription_id, at)
        changes, streams = ahead.changes, ahead.streams
        discount = DISCOUNT.of(streams, command.discount_id)
    if discount.ended_at is not None:
        raise DiscountHasEnded(discount=command.discount_id, ended_at=discount.ended_at)
    ended = DiscountEnded(
        discount_id=discount.discount_id,
        customer_id=discount.customer_id,
        subscription_id=discount.subscription_id,
        reason=DiscountEnd.REMOVED,
        ended_at=at,
    )
    return Decision(at, [*changes, DISCOUNT.change(ended)])


def holding(streams: Streams, discount_ids: tuple[str, ...]) -> list[str]:
    """Those that have not ended: what this decision ends stands among a subscription's until it is made."""
    return [each for each in discount_ids if DISCOUNT.of(streams, each).ended_at is None]


HANDLERS: Final[Mapping[type, Handler]] = {
    ApplyCouponToSubscription: apply_coupon_to_subscription,
    RemoveDiscount: remove_discount,
}
