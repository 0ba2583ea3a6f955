"""Items: added to drafts of invoices and taken off, or put by for a customer's next invoice."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import MoneyResource, NoBody, money, plain_decimal
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from api.resources.customers import CUSTOMERS
from api.resources.invoice_resource import EXAMPLE, InvoiceResource
from api.resources.invoices import INVOICES, NewLine
from domain.catalog.price import BillingTiming
from domain.catalog.product import ProductNotFound
from domain.customers.customer import CUSTOMER, Customer, CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.test_clock import TestClockIsDeleted
from domain.customers.waiting_items import TooManyWaitingItems, WaitingItem, WaitingItemNotFound
from domain.identity.permissions import Permission
from domain.invoicing.draft import (
    AddInvoiceItem,
    InvoiceItemIsSubscriptions,
    InvoiceItemNotFound,
    InvoiceNotDraft,
    RemoveInvoiceItem,
)
from domain.invoicing.invoice import InvoiceNotFound
from domain.invoicing.invoice_line import InvalidInvoiceLines, InvalidLinePeriod
from domain.invoicing.settlement import InvoiceIsCredited
from domain.invoicing.waiting_item_commands import AddWaitingItem, RemoveWaitingItem
from domain.kernel.identifiers import INVOICE_LINE
from domain.kernel.stream import Streams
from projections.models import customers as read


class WaitingItemResource(TypedDict):
    """One thing that the customer's next invoice bills."""

    id: str
    description: str
    amount: MoneyResource
    quantity: str
    timing: BillingTiming
    product: str | None
    tax_category: str | None
    tax_inclusive: bool | None
    period_start: datetime | None
    period_end: datetime | None
    created: datetime


class WaitingItemsResource(TypedDict):
    """Everything that waits for the customer's next invoice, in the order in which it came."""

    object: Literal["waiting_items"]
    customer: str
    items: list[WaitingItemResource]


ITEMS: Final = Operations(
    tag="invoice items",
    about="What is added to drafts, and what waits for customers' next invoices.",
    path_ids={**INVOICES.path_ids, **CUSTOMERS.path_ids, "item_id": INVOICE_LINE},
    seen_with=Permission.INVOICES_READ,
    changed_with=Permission.INVOICES_WRITE,
)
_ITEM: Final = {"description": "Set-up", "amount": {"amount": 25000, "currency": "EUR"}}
_WAITING: Final[dict[str, object]] = {
    "object": "waiting_items",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "items": [
        {
            "id": "il_01m7ywe9z7e398x54gfbrtqnk7",
            **_ITEM,
            "quantity": "1",
            "timing": "in_arrears",
            "product": None,
            "tax_category": None,
            "tax_inclusive": None,
            "period_start": None,
            "period_end": None,
            "created": "2026-01-01T00:00:00Z",
        }
    ],
}
_OF_DRAFT: Final = f"{INVOICES.path_of_one}/items"
_OF_CUSTOMER: Final = f"{CUSTOMERS.path_of_one}/waiting-items"


@ITEMS.command(
    "POST",
    _OF_DRAFT,
    body=NewLine,
    body_example=_ITEM,
    answers=InvoiceResource,
    example=EXAMPLE,
    refusals=(
        InvoiceNotFound,
        InvoiceNotDraft,
        CustomerIsDeleted,
        TestClockIsDeleted,
        NotCustomersCurrency,
        ProductNotFound,
        InvalidInvoiceLines,
        InvalidLinePeriod,
    ),
)
async def add_invoice_item(call: Call, body: NewLine) -> Intention:
    """Add an item to a draft.

    The answer is the draft, whose last line it is.
    """
    invoice_id = INVOICES.id_of(call)
    return INVOICES.changed(invoice_id, AddInvoiceItem(invoice_id=invoice_id, line=body.value()))


@ITEMS.command(
    "DELETE",
    f"{_OF_DRAFT}/{{item_id}}",
    body=NoBody,
    answers=InvoiceResource,
    example=EXAMPLE,
    refusals=(
        InvoiceNotFound,
        InvoiceItemNotFound,
        InvoiceNotDraft,
        InvoiceItemIsSubscriptions,
        InvoiceIsCredited,
        InvalidInvoiceLines,
    ),
)
async def remove_invoice_item(call: Call, _body: NoBody) -> Intention:
    """Take an item off a draft, whose `lines` name it by its id.

    What a subscription bills stays on its draft, as its period is not billed again: add an item that deducts what is
    not owed. An item that waited for this invoice waits no more.
    """
    invoice_id = INVOICES.id_of(call)
    item_id = call.id("item_id", INVOICE_LINE, InvoiceItemNotFound)
    return INVOICES.changed(invoice_id, RemoveInvoiceItem(invoice_id=invoice_id, line_id=item_id))


@ITEMS.command(
    "POST",
    _OF_CUSTOMER,
    body=NewLine,
    body_example=_ITEM,
    answers=WaitingItemsResource,
    example=_WAITING,
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        TestClockIsDeleted,
        TooManyWaitingItems,
        NotCustomersCurrency,
        ProductNotFound,
        InvalidInvoiceLines,
        InvalidLinePeriod,
    ),
)
async def add_waiting_item(call: Call, body: NewLine) -> Intention:
    """Let an item wait for the customer's next invoice.

    The next invoice of any of their subscriptions bills it, drafted or finalized at once, and so does a one-off invoice
    that says `with_waiting_items`. The answer is everything that waits.
    """
    customer_id = CUSTOMERS.id_of(call)
    return _waiting(customer_id, AddWaitingItem(customer_id=customer_id, line=body.value()))


@ITEMS.command(
    "DELETE",
    f"{_OF_CUSTOMER}/{{item_id}}",
    body=NoBody,
    answers=WaitingItemsResource,
    example={**_WAITING, "items": []},
    refusals=(CustomerNotFound, WaitingItemNotFound),
)
async def remove_waiting_item(call: Call, _body: NoBody) -> Intention:
    """Take away an item that waits for the customer's next invoice. The answer is everything that still waits."""
    customer_id = CUSTOMERS.id_of(call)
    item_id = call.id("item_id", INVOICE_LINE, WaitingItemNotFound)
    return _waiting(customer_id, RemoveWaitingItem(customer_id=customer_id, item_id=item_id))


@ITEMS.query(
    _OF_CUSTOMER,
    answers=WaitingItemsResource,
    example=_WAITING,
    parameters=NoParameters,
    refusals=(CustomerNotFound,),
    reads=(read.TABLE.projection,),
)
async def get_waiting_items(call: Call, _asked: NoParameters) -> WaitingItemsResource:
    """Show everything that waits for a customer's next invoice."""
    customer_id = CUSTOMERS.id_of(call)
    async with call.reading() as connection:
        row = await CUSTOMERS.row(call, connection, customer_id)
    return _resource(row.state)


def _waiting(customer_id: str, command: AddWaitingItem | RemoveWaitingItem) -> Intention:
    def render(streams: Streams) -> WaitingItemsResource:
        return _resource(CUSTOMER.of(streams, customer_id))

    return Intention(command=command, render=render)


def _resource(customer: Customer) -> WaitingItemsResource:
    return {
        "object": "waiting_items",
        "customer": customer.customer_id,
        "items": [_item(item) for item in customer.waiting_items],
    }


def _item(item: WaitingItem) -> WaitingItemResource:
    return {
        "id": item.item_id,
        "description": item.description,
        "amount": money(item.amount),
        "quantity": plain_decimal(item.quantity),
        "timing": BillingTiming.IN_ADVANCE if item.is_ahead else BillingTiming.IN_ARREARS,
        "product": item.product_id,
        "tax_category": item.tax_category,
        "tax_inclusive": item.tax_inclusive,
        "period_start": item.period_start,
        "period_end": item.period_end,
        "created": item.created_at,
    }
