"""Which discounts a customer has, for everything they are billed: an invoice reads the customer anyway, and finds them.

What a discount takes off, and for how long, stands in its own stream (`domain/discounts/discount.py`).
"""

from dataclasses import dataclass
from datetime import datetime

MAX_REMOVED_KEPT = 20
"""How many that were removed are still known: a period that began before is billed with them, however late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BorneDiscount:
    """`removed_at` is None while it holds."""

    discount_id: str
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDiscountAttached:
    customer_id: str
    discount_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDiscountEnded:
    """`removed_at` is None where its periods are used up: then no invoice has any of it, of whatever time."""

    customer_id: str
    discount_id: str
    removed_at: datetime | None


CustomerDiscountEvent = CustomerDiscountAttached | CustomerDiscountEnded


def after(borne: tuple[BorneDiscount, ...], event: CustomerDiscountEvent) -> tuple[BorneDiscount, ...]:
    """The discounts that the event leaves, those that were removed last among them."""
    match event:
        case CustomerDiscountAttached():
            return (*borne, BorneDiscount(discount_id=event.discount_id))
        case CustomerDiscountEnded():
            others = tuple(each for each in borne if each.discount_id != event.discount_id)
            if event.removed_at is None:
                return others
            removed = [each for each in others if each.removed_at is not None][1 - MAX_REMOVED_KEPT :]
            holding = [each for each in others if each.removed_at is None]
            return (*holding, *removed, BorneDiscount(discount_id=event.discount_id, removed_at=event.removed_at))


EVENTS: dict[str, type] = {
    "customer.discount_attached": CustomerDiscountAttached,
    "customer.discount_ended": CustomerDiscountEnded,
}
