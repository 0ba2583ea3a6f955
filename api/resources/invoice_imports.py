"""Invoices of another system, brought in with what is still due on them, and what was paid of them there."""

from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from api.http.call import Call
from api.http.fields import (
    Body,
    Currency,
    CustomerId,
    Instant,
    Line,
    MoneyBody,
    New,
    NonNegativeMoney,
    PositiveMoney,
    Quantity,
    ShortText,
)
from api.http.operations import Intention
from api.resources.invoice_line_resource import LINE_EXAMPLE
from api.resources.invoice_resource import EXAMPLE
from api.resources.invoices import INVOICES
from domain.catalog.price import BillingTiming
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.invoicing.imported import (
    ImportedNumberTaken,
    ImportInvoice,
    ImportInvoicePayment,
    InvoiceNotImported,
    NotYet,
    NumberOfSeries,
    PaidAboveDue,
)
from domain.invoicing.invoice import InvoiceNotOpen
from domain.invoicing.invoice_line import MAX_INVOICE_LINES, InvalidInvoiceLines, InvoiceLine
from domain.invoicing.settlement import InvalidPaymentAmount
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import INVOICE as PREFIX
from domain.kernel.identifiers import INVOICE_LINE
from infra.ids import new_id

_ISSUED: Final = "2025-12-01T00:00:00Z"


class ImportedLine(Body):
    """One thing that was billed there: its amount with the tax on it."""

    description: Line
    amount: MoneyBody
    quantity: Quantity = Decimal(1)


class InvoiceToImport(New):
    """An invoice as another system issued it, under the number that it has there."""

    customer: CustomerId
    number: Annotated[
        ShortText, Field(description="The number under which it was issued: imported once, and none of your series'.")
    ]
    currency: Currency
    lines: Annotated[tuple[ImportedLine, ...], Field(min_length=1, max_length=MAX_INVOICE_LINES)]
    amount_paid: Annotated[NonNegativeMoney | None, Field(description="What of it was paid there.")] = None
    issued_at: Instant
    due_at: Instant
    paid_at: Annotated[Instant | None, Field(description="When the last of it was paid; else when it was issued.")] = (
        None
    )


class PaymentToImport(Body):
    """What came for an imported invoice, where it was billed. `reference` is the payment's own, there."""

    amount: PositiveMoney
    paid_at: Instant
    reference: ShortText | None = None


_IMPORTED: Final[dict[str, object]] = EXAMPLE | {
    "status": "open",
    "number": "2025-4711",
    "lines": [LINE_EXAMPLE],
    "amount_due": {"amount": 15000, "currency": "EUR"},
    "amount_paid": {"amount": 10000, "currency": "EUR"},
    "finalized_at": _ISSUED,
    "due_at": "2025-12-31T00:00:00Z",
}


@INVOICES.command(
    "POST",
    "/v1/invoices/import",
    body=InvoiceToImport,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "number": "2025-4711",
        "currency": "EUR",
        "lines": [{"description": "Set-up", "amount": {"amount": 25000, "currency": "EUR"}}],
        "amount_paid": {"amount": 10000, "currency": "EUR"},
        "issued_at": _ISSUED,
        "due_at": "2025-12-31T00:00:00Z",
    },
    answers=INVOICES.shows,
    example=_IMPORTED,
    status=201,
    needs=Permission.INVOICES_WRITE,
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        TestClockIsDeleted,
        NotCustomersCurrency,
        InvalidInvoiceLines,
        ImportedNumberTaken,
        NumberOfSeries,
        NotYet,
        PaidAboveDue,
    ),
)
async def import_invoice(_call: Call, body: InvoiceToImport) -> Intention:
    """Bring in an invoice of another system.

    Nothing is billed: it keeps its number and its dates, revenue and tax stay where they were booked, and nobody is
    charged for it. What is still due on it is owed here, against the account of opening balances; it is paid, written
    off and shown like any other invoice, and has no document here.
    """
    invoice_id = new_id(PREFIX)
    lines = tuple(
        InvoiceLine(
            line_id=new_id(INVOICE_LINE),
            description=line.description,
            amount=line.amount.value,
            quantity=line.quantity,
            timing=BillingTiming.IN_ARREARS,
        )
        for line in body.lines
    )
    return INVOICES.created(
        invoice_id,
        ImportInvoice(
            invoice_id=invoice_id,
            customer_id=body.customer,
            number=body.number,
            currency=CurrencyCode(body.currency),
            lines=lines,
            amount_paid=body.amount_paid.value if body.amount_paid is not None and body.amount_paid.amount else None,
            issued_at=body.issued_at,
            due_at=body.due_at,
            paid_at=body.paid_at,
            metadata=body.kept,
        ),
    )


@INVOICES.changes(
    "POST",
    "import-payment",
    body=PaymentToImport,
    body_example={"amount": {"amount": 10000, "currency": "EUR"}, "paid_at": "2025-12-20T00:00:00Z"},
    example=_IMPORTED,
    refusals=(
        InvoiceNotImported,
        InvoiceNotOpen,
        NotCustomersCurrency,
        InvalidPaymentAmount,
        PaidAboveDue,
        NotYet,
    ),
)
async def import_invoice_payment(call: Call, body: PaymentToImport) -> Intention:
    """Bring in what came for an imported invoice before it was brought in.

    It came where the invoice was billed, so no cash is booked here: less is due, and less was opened with.
    """
    invoice_id = INVOICES.id_of(call)
    return INVOICES.changed(
        invoice_id,
        ImportInvoicePayment(
            invoice_id=invoice_id, amount=body.amount.value, reference=body.reference, paid_at=body.paid_at
        ),
    )
