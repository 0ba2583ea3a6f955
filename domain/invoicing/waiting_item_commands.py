"""What is decided about items that wait for a customer's next invoice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER, customer_time, open_for_business
from domain.customers.waiting_items import (
    MAX_WAITING_ITEMS,
    CustomerItemAdded,
    CustomerItemRemoved,
    TooManyWaitingItems,
    WaitingItem,
    WaitingItemNotFound,
)
from domain.invoicing.draft_commands import checked_item
from domain.invoicing.invoice_line import InvalidInvoiceLines, InvoiceLine
from domain.invoicing.issuing import MAX_TOTAL_WITH_WAITING_ITEMS
from domain.kernel.stream import Decision, Handler, Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class AddWaitingItem:
    """Let an item wait for the customer's next invoice, whose line it then is."""

    customer_id: str
    line: InvoiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveWaitingItem:
    customer_id: str
    item_id: str


def add_waiting_item(command: AddWaitingItem, streams: Streams, now: datetime) -> Decision:
    """Raises TooManyWaitingItems, InvalidInvoiceLines, InvalidLinePeriod, NotCustomersCurrency, ProductNotFound."""
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    if len(customer.waiting_items) >= MAX_WAITING_ITEMS:
        raise TooManyWaitingItems(most=MAX_WAITING_ITEMS)
    line = checked_item(command.line, customer, streams)
    if abs(line.amount.amount) > MAX_TOTAL_WITH_WAITING_ITEMS:
        raise InvalidInvoiceLines(total=line.amount.amount, most=MAX_TOTAL_WITH_WAITING_ITEMS).at("amount.amount")
    item = WaitingItem(
        item_id=line.line_id,
        description=line.description,
        amount=line.amount,
        quantity=line.quantity,
        is_ahead=line.timing is BillingTiming.IN_ADVANCE,
        product_id=line.product_id,
        tax_category=line.tax_category,
        tax_inclusive=line.tax_inclusive,
        period_start=line.period_start,
        period_end=line.period_end,
        created_at=at,
    )
    return Decision(at, [CUSTOMER.change(CustomerItemAdded(customer_id=customer.customer_id, item=item))])


def remove_waiting_item(command: RemoveWaitingItem, streams: Streams, now: datetime) -> Decision:
    """Raises WaitingItemNotFound."""
    customer = CUSTOMER.of(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    if all(item.item_id != command.item_id for item in customer.waiting_items):
        raise WaitingItemNotFound(item=command.item_id)
    removed = CustomerItemRemoved(customer_id=customer.customer_id, item_id=command.item_id)
    return Decision(at, [CUSTOMER.change(removed)])


HANDLERS: Final[Mapping[type, Handler]] = {
    AddWaitingItem: add_waiting_item,
    RemoveWaitingItem: remove_waiting_item,
}
