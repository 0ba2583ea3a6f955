"""Credit notes: what was billed too much on an invoice, and how it comes back."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change
from api.http.fields import (
    Body,
    CustomerId,
    InvoiceId,
    InvoiceLineId,
    Line,
    LongText,
    MoneyBody,
    MoneyResource,
    New,
    NoBody,
    PositiveMoney,
    Quantity,
    TestClockId,
    eur,
    money,
    plain_decimal,
)
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import KEPT_EXAMPLE, Part, Resource
from api.resources.customers import CUSTOMERS, CustomerResource
from api.resources.invoice_resource import InvoiceResource
from api.resources.invoice_tax import (
    INVOICE_TAX_EXAMPLE,
    LineTaxShareResource,
    TaxTotalResource,
    tax_total_resource,
)
from api.resources.invoices import INVOICES
from api.resources.refunds import REFUNDS, RefundResource
from domain.approvals.approval import ApprovalRequired
from domain.identity.permissions import Permission
from domain.invoicing.credit_amounts import CreditExceedsLine, NothingToCredit
from domain.invoicing.credit_note import (
    CLAIM,
    ChangeCreditNoteMetadata,
    CreditAlreadyRefunded,
    CreditExceedsInvoice,
    CreditNote,
    CreditNoteLine,
    CreditNoteNotFound,
    CreditNoteNotVoidable,
    CreditNoteStatus,
    GiveBack,
    GivenBackStatus,
    InvalidCredit,
    InvoiceLineNotFound,
    InvoiceNotCreditable,
    IssueCreditNote,
    NothingToRefund,
    TooManyCreditNotes,
    VoidCreditNote,
    WantedCredit,
    named,
)
from domain.invoicing.invoice import INVOICE, InvoiceNotFound
from domain.invoicing.invoice_line import MAX_INVOICE_LINES
from domain.kernel.identifiers import CREDIT_NOTE as PREFIX
from domain.kernel.stream import Command, Streams
from infra.ids import new_id
from projections.models import credit_notes as read
from projections.reading import Reader
from projections.stream_rows import Found

_ID: Final = "cn_01m7ywe9z7e398x54gfbrtqnk7"


class NewCreditNoteLine(Body):
    """What to credit of one line: so much of its quantity, or an amount in the terms of its price (with the tax where
    the line is `tax_inclusive`, else without, and negative of a deduction); neither: all that is left of it.
    """

    line: InvoiceLineId
    quantity: Quantity | None = None
    amount: MoneyBody | None = None


class NewCreditNote(New):
    """A credit note to be: of these lines, or of an amount (tax included) in proportion to what is left of all lines;
    without either, of all that is left of the invoice.
    """

    invoice: InvoiceId
    lines: Annotated[tuple[NewCreditNoteLine, ...], Field(max_length=MAX_INVOICE_LINES)] = ()
    amount: PositiveMoney | None = None
    give_back: Annotated[GiveBack, Field(description="How what was paid comes back.")] = GiveBack.CUSTOMER_BALANCE
    reason: LongText | None = None


class CreditNoteFilters(CreatedParameters):
    """Which credit notes."""

    customer: CustomerId | None = None
    invoice: InvoiceId | None = None
    status: CreditNoteStatus | None = None
    refund_status: GivenBackStatus | None = None
    number: Line | None = None
    test_clock: TestClockId | None = None


class CreditNoteLineResource(TypedDict):
    """What is credited of a line: `net` without tax, `total` with it.

    `billed` is what the line came to with its tax, `left_before` what of that no other credit note had credited: one
    that credits all of it takes the remainder of the tax.
    """

    line: str
    description: str
    quantity: str | None
    billed: MoneyResource
    left_before: MoneyResource
    net: MoneyResource
    tax: list[LineTaxShareResource]
    total: MoneyResource


class CreditNoteResource(TypedDict):
    """A credit note. Its `total` lowered what was due by `amount_off_due`; the rest had been paid, and came back:
    `amount_refunded` by the refund of the payment, `amount_to_balance` as the customer's balance.

    Of a refund that failed (`refund_status`) the money is the customer's balance, too. It pays their next invoices; or
    refund the payment again, which takes it from there. A void credit note credits nothing any more.
    """

    id: str
    object: Literal["credit_note"]
    invoice: str | InvoiceResource
    customer: str | CustomerResource
    number: str
    status: CreditNoteStatus
    lines: list[CreditNoteLineResource]
    tax: list[TaxTotalResource]
    total_tax: MoneyResource
    total: MoneyResource
    amount_off_due: MoneyResource
    amount_to_balance: MoneyResource
    amount_refunded: MoneyResource
    payment: str | None
    refund: str | RefundResource | None
    refund_status: GivenBackStatus | None
    reason: str | None
    test_clock: str | None
    metadata: dict[str, str]
    created: datetime
    voided_at: datetime | None


def credit_note_resource(note: CreditNote) -> CreditNoteResource:
    """A credit note as it is answered."""
    credited = note.credited
    return {
        "id": note.credit_note_id,
        "object": "credit_note",
        "invoice": note.invoice_id,
        "customer": note.customer_id,
        "number": note.number,
        "status": note.status,
        "lines": [_line(line) for line in credited.lines],
        "tax": [tax_total_resource(total) for total in credited.tax],
        "total_tax": money(note.tax),
        "total": money(credited.total),
        "amount_off_due": money(credited.reduces_due),
        "amount_to_balance": money(note.to_balance),
        "amount_refunded": money(note.refunded),
        "payment": note.payment_id,
        "refund": note.refund_id,
        "refund_status": note.refund_status,
        "reason": note.reason,
        "test_clock": note.test_clock_id,
        "metadata": dict(note.metadata),
        "created": note.created_at,
        "voided_at": note.voided_at,
    }


def _line(line: CreditNoteLine) -> CreditNoteLineResource:
    return {
        "line": line.line_id,
        "description": line.description,
        "quantity": None if line.quantity is None else plain_decimal(line.quantity),
        "billed": money(line.billed),
        "left_before": money(line.left),
        "net": money(line.net),
        "tax": [{"tax_rate": share.rate_id, "amount": money(share.amount)} for share in line.taxes],
        "total": money(line.total),
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "credit_note",
    "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "number": "CN-000007",
    "status": "issued",
    "lines": [
        {
            "line": "il_01m7ywe9z7e398x54gfbrtqnk7",
            "description": "Set-up",
            "quantity": None,
            "billed": eur(29750),
            "left_before": eur(29750),
            "net": eur(5000),
            "tax": [{"tax_rate": "txr_01m7ywe9z7e398x54gfbrtqnk7", "amount": eur(950)}],
            "total": eur(5950),
        }
    ],
    "tax": [{**INVOICE_TAX_EXAMPLE["totals"][0], "taxable": eur(5000), "tax": eur(950)}],  # type: ignore[index]
    "total_tax": eur(950),
    "total": eur(5950),
    "amount_off_due": eur(0),
    "amount_to_balance": eur(0),
    "amount_refunded": eur(5950),
    "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7",
    "refund": "re_01m7ywe9z7e398x54gfbrtqnk7",
    "refund_status": "pending",
    "reason": "Delivered late",
    "test_clock": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-02T00:00:00Z",
    "voided_at": None,
}


async def _shown(_call: Call, _connection: Reader, found: Sequence[Found[CreditNote]]) -> list[CreditNoteResource]:
    return [credit_note_resource(each.state) for each in found]


CREDIT_NOTES: Final = Resource(
    tag="credit notes",
    about="What was billed too much.",
    stream=INVOICE,
    part=Part("credit_note", claim=CLAIM, not_found=CreditNoteNotFound),
    table=read.TABLE,
    path="/v1/credit-notes",
    prefix=PREFIX,
    seen_with=Permission.CREDIT_NOTES_READ,
    changed_with=Permission.CREDIT_NOTES_WRITE,
    shows=CreditNoteResource,
    show=_shown,
    example=EXAMPLE,
    filters=CreditNoteFilters,
    expands={"customer": CUSTOMERS, "invoice": INVOICES, "refund": REFUNDS},
)


def _decided(streams: Streams, invoice_id: str, credit_note_id: str) -> CreditNoteResource:
    return credit_note_resource(named(INVOICE.of(streams, invoice_id).credit_notes, credit_note_id))


async def _of_its_invoice(call: Call, command: Callable[[str, str], Command]) -> Intention:
    """The intention that changes one, by a command about its invoice."""
    credit_note_id = CREDIT_NOTES.id_of(call)
    async with call.reading() as connection:
        invoice_id: str = (await CREDIT_NOTES.row(call, connection, credit_note_id)).state.invoice_id
    return Intention(
        command=command(invoice_id, credit_note_id),
        render=lambda streams: _decided(streams, invoice_id, credit_note_id),
    )


@CREDIT_NOTES.creates(
    body=NewCreditNote,
    body_example={
        "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
        "lines": [{"line": "il_01m7ywe9z7e398x54gfbrtqnk7", "amount": eur(5000)}],
        "give_back": "refund",
        "reason": "Delivered late",
    },
    refusals=(
        InvoiceNotFound,
        InvoiceNotCreditable,
        InvoiceLineNotFound,
        InvalidCredit,
        CreditExceedsLine,
        CreditExceedsInvoice,
        CreditAlreadyRefunded,
        NothingToCredit,
        NothingToRefund,
        TooManyCreditNotes,
        ApprovalRequired,
    ),
)
async def create_credit_note(call: Call, body: NewCreditNote) -> Intention:
    """Credit an invoice, in whole or in part.

    Tax is credited in proportion; the last part of a line takes what is left of it, so that the parts sum to the line.
    What is due falls first, and the invoice is paid once nothing is. What had been paid comes back by choice: as the
    customer's balance, or by a refund of the payment that paid it, as far as that paid it; the rest becomes balance. A
    refund above the tenant's limit wants a second person: credit to the balance, and ask for the payment's refund by
    `POST /v1/approvals`. Credit notes have a gapless series of numbers of their own. Try it first with
    `Tallybook-Dry-Run: true`.
    """
    if body.give_back is GiveBack.REFUND:
        call.need(Permission.REFUNDS_WRITE, param="give_back")
    credit_note_id = new_id(PREFIX)
    lines = tuple(
        WantedCredit(
            line_id=line.line, quantity=line.quantity, amount=None if line.amount is None else line.amount.value
        )
        for line in body.lines
    )
    return Intention(
        command=IssueCreditNote(
            credit_note_id=credit_note_id,
            invoice_id=body.invoice,
            lines=lines,
            amount=None if body.amount is None else body.amount.value,
            give_back=body.give_back,
            reason=body.reason,
            metadata=body.kept,
        ),
        render=lambda streams: _decided(streams, body.invoice, credit_note_id),
        location=f"/v1/credit-notes/{credit_note_id}",
    )


@CREDIT_NOTES.changes("PATCH", body=Change, body_example=KEPT_EXAMPLE, example=KEPT_EXAMPLE)
async def update_credit_note(call: Call, body: Change) -> Intention:
    """Change the metadata of a credit note.

    Keys that the body does not name stay as they are; null takes one away. Nothing else of it is changed so.
    """
    return await _of_its_invoice(
        call,
        lambda invoice_id, credit_note_id: ChangeCreditNoteMetadata(
            credit_note_id=credit_note_id, invoice_id=invoice_id, change=body.metadata_change
        ),
    )


@CREDIT_NOTES.changes(
    "POST",
    "void",
    body=NoBody,
    example={
        "status": "void",
        "amount_to_balance": eur(5950),
        "amount_refunded": eur(0),
        "payment": None,
        "refund": None,
        "refund_status": None,
        "voided_at": "2026-01-03T00:00:00Z",
    },
    refusals=(CreditNoteNotVoidable,),
)
async def void_credit_note(call: Call, _body: NoBody) -> Intention:
    """Take a credit note back on which nothing rests.

    What it lowered is due again, as long as its invoice is not paid; what it gave to the customer's balance is taken
    from there, if that still holds it. What was refunded stays so: bill what is owed anew. Its number stays taken.
    """
    return await _of_its_invoice(
        call,
        lambda invoice_id, credit_note_id: VoidCreditNote(credit_note_id=credit_note_id, invoice_id=invoice_id),
    )
