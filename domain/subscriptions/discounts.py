"""Which discounts a subscription has of its own, besides those of its customer; each has a stream that says more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionDiscountAttached:
    subscription_id: str
    discount_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionDiscountEnded:
    subscription_id: str
    discount_id: str


SubscriptionDiscountEvent = SubscriptionDiscountAttached | SubscriptionDiscountEnded


def after(discount_ids: tuple[str, ...], event: SubscriptionDiscountEvent) -> tuple[str, ...]:
    """The discounts that the event leaves."""
    match event:
        case SubscriptionDiscountAttached():
            return (*discount_ids, event.discount_id)
        case SubscriptionDiscountEnded():
            return tuple(known for known in discount_ids if known != event.discount_id)


EVENTS: dict[str, type] = {
    "subscription.discount_attached": SubscriptionDiscountAttached,
    "subscription.discount_ended": SubscriptionDiscountEnded,
}
