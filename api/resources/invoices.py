"""Invoices: draft, open, then paid or void."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    Body,
    Currency,
    CustomerId,
    InvoiceId,
    Line,
    MoneyBody,
    MoneyResource,
    NoBody,
    PaymentMethodId,
    Quantity,
    SubscriptionId,
    money,
    plain_decimal,
)
from api.http.listing import (
    CreatedParameters,
    ListResource,
    Parameters,
    expand,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.resources.customers import CustomerResource, load_customers
from api.resources.subscriptions import MAX_DAYS_UNTIL_DUE, SubscriptionResource, load_subscriptions
from domain.catalog.price import BillingTiming
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.payment_method import PaymentMethodIsDetached, PaymentMethodNotFound
from domain.invoicing.commands import DEFAULT_DAYS_UNTIL_DUE, FinalizeInvoice
from domain.invoicing.invoice import (
    INVOICE,
    MAX_INVOICE_LINES,
    CollectionMethod,
    CollectionStatus,
    DraftInvoice,
    InvalidInvoiceLines,
    Invoice,
    InvoiceCannotBeVoided,
    InvoiceLine,
    InvoiceNotDraft,
    InvoiceNotFound,
    InvoiceNotOpen,
    InvoiceStatus,
    PayInvoiceOutOfBand,
    VoidInvoice,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import INVOICE as PREFIX
from domain.kernel.identifiers import INVOICE_LINE, PAYMENT
from domain.kernel.stream import Streams
from domain.payments.commands import PayInvoice
from domain.payments.payment import InvoiceHasLivePayment
from infra.ids import new_id
from projections.models import invoices as read
from projections.read_model import Projection
from projections.reading import Reader, many

INVOICES: Final = Operations(tag="invoices", about="What customers owe.")
_ID: Final = "in_01m7ywe9z7e398x54gfbrtqnk7"


class NewLine(Body):
    """One thing billed. A negative amount is a deduction; `in_arrears` is earned when it is billed."""

    description: Line
    amount: MoneyBody
    quantity: Quantity = Decimal(1)
    timing: BillingTiming = BillingTiming.IN_ARREARS


class NewInvoice(Body):
    """A one-off invoice, as a draft."""

    customer: CustomerId
    currency: Currency
    collection_method: CollectionMethod = CollectionMethod.SEND_INVOICE
    lines: Annotated[tuple[NewLine, ...], Field(min_length=1, max_length=MAX_INVOICE_LINES)]


class Finalization(Body):
    """`days_until_due` counts for invoices that are paid by hand."""

    days_until_due: Annotated[int, Field(ge=0, le=MAX_DAYS_UNTIL_DUE)] = DEFAULT_DAYS_UNTIL_DUE


class InvoicePayment(Body):
    """Charge a payment method (the customer's default unless named), or record that the money came another way."""

    payment_method: PaymentMethodId | None = None
    paid_out_of_band: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> "InvoicePayment":
        if self.paid_out_of_band and self.payment_method is not None:
            raise PydanticCustomError("ambiguous_payment", "Paid out of band, no payment method is charged")
        return self


class InvoiceLineResource(TypedDict):
    """One thing billed."""

    id: str
    description: str
    amount: MoneyResource
    quantity: str
    timing: BillingTiming
    price: str | None
    period_start: datetime | None
    period_end: datetime | None


class InvoiceExpansion(Parameters):
    """What to show in place of its id."""

    expand: Annotated[tuple[Literal["customer", "subscription"], ...], Field(alias="expand[]", max_length=10)] = ()


class InvoiceFilters(CreatedParameters, InvoiceExpansion):
    """Which invoices."""

    customer: CustomerId | None = None
    subscription: SubscriptionId | None = None
    status: InvoiceStatus | None = None
    collection_status: CollectionStatus | None = None
    number: Line | None = None


class InvoiceResource(TypedDict):
    """An invoice. A draft has no number and no due time."""

    id: InvoiceId
    object: Literal["invoice"]
    customer: str | CustomerResource
    subscription: str | SubscriptionResource | None
    status: InvoiceStatus
    number: str | None
    collection_method: CollectionMethod
    collection_status: CollectionStatus
    currency: str
    lines: list[InvoiceLineResource]
    total: MoneyResource
    amount_due: MoneyResource
    amount_paid: MoneyResource
    payment: str | None
    test_clock: str | None
    created: datetime
    finalized_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None


def invoice_resource(invoice: Invoice) -> InvoiceResource:
    """An invoice as it is answered."""
    return {
        "id": invoice.invoice_id,
        "object": "invoice",
        "customer": invoice.customer_id,
        "subscription": invoice.subscription_id,
        "status": invoice.status,
        "number": invoice.number,
        "collection_method": invoice.collection,
        "collection_status": invoice.collection_status,
        "currency": invoice.currency,
        "lines": [_line(line) for line in invoice.lines],
        "total": money(invoice.total),
        "amount_due": money(invoice.amount_due),
        "amount_paid": money(invoice.amount_paid),
        "payment": invoice.payment_id,
        "test_clock": invoice.test_clock_id,
        "created": invoice.created_at,
        "finalized_at": invoice.finalized_at,
        "due_at": invoice.due_at,
        "paid_at": invoice.paid_at,
        "voided_at": invoice.voided_at,
    }


def _line(line: InvoiceLine) -> InvoiceLineResource:
    return {
        "id": line.line_id,
        "description": line.description,
        "amount": money(line.amount),
        "quantity": plain_decimal(line.quantity),
        "timing": line.timing,
        "price": line.price_id,
        "period_start": line.period_start,
        "period_end": line.period_end,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "invoice",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "subscription": None,
    "status": "draft",
    "number": None,
    "collection_method": "send_invoice",
    "collection_status": "not_applicable",
    "currency": "EUR",
    "lines": [
        {
            "id": "il_01m7ywe9z7e398x54gfbrtqnk7",
            "description": "Set-up",
            "amount": {"amount": 25000, "currency": "EUR"},
            "quantity": "1",
            "timing": "in_arrears",
            "price": None,
            "period_start": None,
            "period_end": None,
        }
    ],
    "total": {"amount": 25000, "currency": "EUR"},
    "amount_due": {"amount": 0, "currency": "EUR"},
    "amount_paid": {"amount": 0, "currency": "EUR"},
    "payment": None,
    "test_clock": None,
    "created": "2026-01-01T00:00:00Z",
    "finalized_at": None,
    "due_at": None,
    "paid_at": None,
    "voided_at": None,
}
OPEN_EXAMPLE: Final[dict[str, object]] = EXAMPLE | {
    "status": "open",
    "number": "INV-000042",
    "amount_due": {"amount": 25000, "currency": "EUR"},
    "finalized_at": "2026-01-01T00:00:00Z",
    "due_at": "2026-01-31T00:00:00Z",
}


def _decided(streams: Streams, invoice_id: str) -> InvoiceResource:
    return invoice_resource(INVOICE.of(streams, invoice_id))


def _path_id(call: Call) -> str:
    return call.id("invoice_id", PREFIX, InvoiceNotFound)


@INVOICES.command(
    "POST",
    "/v1/invoices",
    body=NewInvoice,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "currency": "EUR",
        "lines": [{"description": "Set-up", "amount": {"amount": 25000, "currency": "EUR"}}],
    },
    answers=InvoiceResource,
    example=EXAMPLE,
    status=201,
    refusals=(CustomerNotFound, CustomerIsDeleted, NotCustomersCurrency, InvalidInvoiceLines),
)
async def create_invoice(_call: Call, body: NewInvoice) -> Intention:
    """Draft a one-off invoice."""
    invoice_id = new_id(PREFIX)
    lines = tuple(
        InvoiceLine(
            line_id=new_id(INVOICE_LINE),
            description=line.description,
            amount=line.amount.value,
            quantity=line.quantity,
            timing=line.timing,
        )
        for line in body.lines
    )
    return Intention(
        command=DraftInvoice(
            invoice_id=invoice_id,
            customer_id=body.customer,
            collection=body.collection_method,
            currency=CurrencyCode(body.currency),
            lines=lines,
        ),
        render=lambda streams: _decided(streams, invoice_id),
        location=f"/v1/invoices/{invoice_id}",
    )


@INVOICES.command(
    "POST",
    "/v1/invoices/{invoice_id}/finalize",
    body=Finalization,
    body_example={"days_until_due": 30},
    answers=InvoiceResource,
    example=OPEN_EXAMPLE,
    refusals=(InvoiceNotFound, InvoiceNotDraft),
)
async def finalize_invoice(call: Call, body: Finalization) -> Intention:
    """Give a draft its number and post it.

    From then on it is owed, and cannot be changed. One of zero is paid at once.
    """
    invoice_id = _path_id(call)
    return Intention(
        command=FinalizeInvoice(invoice_id=invoice_id, days_until_due=body.days_until_due),
        render=lambda streams: _decided(streams, invoice_id),
    )


@INVOICES.command(
    "POST",
    "/v1/invoices/{invoice_id}/void",
    body=NoBody,
    answers=InvoiceResource,
    example=OPEN_EXAMPLE
    | {"status": "void", "amount_due": {"amount": 0, "currency": "EUR"}, "voided_at": "2026-01-02T00:00:00Z"},
    refusals=(InvoiceNotFound, InvoiceCannotBeVoided),
)
async def void_invoice(call: Call, _body: NoBody) -> Intention:
    """Take an invoice back.

    What it posted is reversed; its number stays taken.
    """
    invoice_id = _path_id(call)
    return Intention(command=VoidInvoice(invoice_id=invoice_id), render=lambda streams: _decided(streams, invoice_id))


@INVOICES.command(
    "POST",
    "/v1/invoices/{invoice_id}/pay",
    body=InvoicePayment,
    body_example={"payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7"},
    answers=InvoiceResource,
    example=OPEN_EXAMPLE,
    refusals=(
        InvoiceNotFound,
        InvoiceNotOpen,
        InvoiceHasLivePayment,
        PaymentMethodNotFound,
        PaymentMethodIsDetached,
    ),
)
async def pay_invoice(call: Call, body: InvoicePayment) -> Intention:
    """Pay an open invoice.

    With a payment method its charge begins: the Location header names the payment, and the invoice is paid once the
    gateway has said so. With `paid_out_of_band` it is paid now.
    """
    invoice_id = _path_id(call)
    if body.paid_out_of_band:
        return Intention(
            command=PayInvoiceOutOfBand(invoice_id=invoice_id), render=lambda streams: _decided(streams, invoice_id)
        )
    payment_id = new_id(PAYMENT)
    return Intention(
        command=PayInvoice(invoice_id=invoice_id, payment_id=payment_id, payment_method_id=body.payment_method),
        render=lambda streams: _decided(streams, invoice_id),
        location=f"/v1/payments/{payment_id}",
    )


_LOADERS: Final = {"customer": load_customers, "subscription": load_subscriptions}


async def load_invoices(call: Call, connection: Reader, ids: Sequence[str]) -> Mapping[str, object]:
    """Invoices by id, for expansion."""
    found = await many(connection, read.TABLE, call.tenant_id, ids)
    return {each.state.invoice_id: invoice_resource(each.state) for each in found}


@INVOICES.query(
    "/v1/invoices/{invoice_id}",
    answers=InvoiceResource,
    example=EXAMPLE,
    parameters=InvoiceExpansion,
    refusals=(InvoiceNotFound,),
    reads=(Projection.BILLING,),
)
async def get_invoice(call: Call, asked: InvoiceExpansion) -> InvoiceResource:
    """Get a invoice."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        each = await read.get(connection, call.tenant_id, wanted)
        if each is None:
            raise InvoiceNotFound(invoice=wanted)
        resource = invoice_resource(each.state)
        await expand(call, connection, [resource], asked.expand, _LOADERS)
    return resource


@INVOICES.query(
    "/v1/invoices",
    answers=ListResource[InvoiceResource],
    example=list_example(EXAMPLE),
    parameters=InvoiceFilters,
    reads=(Projection.BILLING,),
)
async def list_invoices(call: Call, asked: InvoiceFilters) -> ListResource[InvoiceResource]:
    """List invoices, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(
            connection,
            call.tenant_id,
            customer_id=asked.customer,
            subscription_id=asked.subscription,
            status=asked.status,
            collection_status=asked.collection_status,
            number=asked.number,
            created=asked.created,
            request=request,
        )
        resources = [invoice_resource(each.state) for each in page.items]
        await expand(call, connection, resources, asked.expand, _LOADERS)
    return page_resource(page, request, resources)
