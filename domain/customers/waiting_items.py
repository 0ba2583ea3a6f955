"""What waits for a customer's next invoice: items that whoever sells puts by, until an invoice bills them.

Its events are the customer's: what bills the customer reads that stream anyway, and two invoices that would bill the
same item are decided one after the other.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind

MAX_WAITING_ITEMS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingItem:
    """One thing to be billed; its amount is final to the minor unit, below zero a deduction. `is_ahead`: it is billed
    ahead of its service period, over which it is then earned. `tax_category` is the product's when it was put by.
    """

    item_id: str
    description: str
    amount: Money
    quantity: Decimal
    is_ahead: bool
    product_id: str | None
    tax_category: str | None
    tax_inclusive: bool | None
    period_start: datetime | None
    period_end: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerItemAdded:
    customer_id: str
    item: WaitingItem


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerItemRemoved:
    customer_id: str
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerItemsBilled:
    """They are lines of the invoice, under their own ids."""

    customer_id: str
    invoice_id: str
    item_ids: tuple[str, ...]


WaitingItemEvent = CustomerItemAdded | CustomerItemRemoved | CustomerItemsBilled


class WaitingItemNotFound(Refusal):
    """No such item waits for the customer's next invoice: it was taken away, or is billed."""

    code = "waiting_item_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "item"


class TooManyWaitingItems(Refusal):
    """100 items wait for the customer's next invoice: bill them with an invoice of their own first."""

    code = "too_many_waiting_items"


def after(items: tuple[WaitingItem, ...], event: WaitingItemEvent) -> tuple[WaitingItem, ...]:
    """What waits after the event, in the order in which it came."""
    match event:
        case CustomerItemAdded():
            return (*items, event.item)
        case CustomerItemRemoved():
            return tuple(item for item in items if item.item_id != event.item_id)
        case CustomerItemsBilled():
            return tuple(item for item in items if item.item_id not in event.item_ids)


EVENTS: dict[str, type] = {
    "customer.item_added": CustomerItemAdded,
    "customer.item_removed": CustomerItemRemoved,
    "customer.items_billed": CustomerItemsBilled,
}
