"""A credit note: what was billed too much on an invoice, line by line, with its tax. It lowers what is due first.

What goes beyond that was paid, and is given back: as the customer's balance, or by a refund of the payment that paid
it. Its events are of the invoice's stream, so that two that would credit one line are decided one after the other.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.invoicing.booking import tax_by_jurisdiction
from domain.invoicing.credit_amounts import CreditedLine
from domain.invoicing.invoice_tax import TaxTotal
from domain.kernel.accounts import (
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    OPENING_BALANCES,
    REVENUE,
    TAX_PAYABLE,
    Account,
    Entry,
    credit,
    debit,
    entry,
    reversal,
)
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataChange, MetadataSet
from domain.kernel.money import Money, sum_money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Take
from domain.tax.computation import TaxShare

CLAIM = "invoice.credit_note"
"""The kind of claim by which a credit note's id leads to its invoice, in whose stream it lives."""

MAX_CREDIT_NOTES = 100
"""Of one invoice, void ones included: its state holds them all."""


class CreditNoteStatus(StrEnum):
    ISSUED = "issued"
    VOID = "void"


class GiveBack(StrEnum):
    """How what was paid comes back: it stays with us as the customer's balance, or is refunded."""

    CUSTOMER_BALANCE = "customer_balance"
    REFUND = "refund"


class GivenBackStatus(StrEnum):
    """How far a credit note's refund has come. Of one that failed, the money is the customer's balance."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCredit:
    """What to credit of one line: so much of its quantity, or an amount in the terms of its price (with the tax where
    that includes it, else without); neither: all that is left of it."""

    line_id: str
    quantity: Decimal | None = None
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCreditNote:
    """Credit `lines`, or `amount` (tax included) in proportion to what is left of all lines; neither: all of it."""

    credit_note_id: str
    invoice_id: str
    lines: tuple[WantedCredit, ...] = ()
    amount: Money | None = None
    give_back: GiveBack = GiveBack.CUSTOMER_BALANCE
    reason: str | None = None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidCreditNote:
    """Take it back, as long as nothing rests on it."""

    credit_note_id: str
    invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCreditNoteMetadata:
    credit_note_id: str
    invoice_id: str
    change: MetadataChange


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteLine:
    """What is credited of a line: `net` without tax, `taxes` by rate. `quantity`: where the credit was asked for so.

    `billed` is what the line came to with its tax, `left` what of that no credit note had credited before, so that the
    credit can be computed again. `is_deferred` says where its revenue stands, as the invoice's own line does.
    """

    line_id: str
    description: str
    quantity: Decimal | None
    billed: Money
    left: Money
    net: Money
    taxes: tuple[TaxShare, ...]
    is_deferred: bool

    @property
    def total(self) -> Money:
        """Net and tax."""
        return self.as_credit.total

    @property
    def as_credit(self) -> CreditedLine:
        """Its amounts alone."""
        return CreditedLine(line_id=self.line_id, net=self.net, taxes=self.taxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited:
    """The figures of a credit note: `total` is what its lines come to with their tax, of which `reduces_due` was not
    paid yet and `given_back` was. `is_opening`: its invoice is of another system, where revenue and tax were booked.
    """

    lines: tuple[CreditNoteLine, ...]
    tax: tuple[TaxTotal, ...]
    total: Money
    reduces_due: Money
    given_back: Money
    is_opening: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteIssued:
    """`refunded` is what of `given_back` a refund of `payment_id` returns; the rest is the customer's balance."""

    invoice_id: str
    credit_note_id: str
    customer_id: str
    number: str
    credited: Credited
    refunded: Money
    payment_id: str | None
    refund_id: str | None
    reason: str | None
    test_clock_id: str | None
    metadata: Metadata = ()
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteRefunded:
    """The refund that it asked for has succeeded."""

    invoice_id: str
    credit_note_id: str
    refund_id: str
    refunded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteRefundFailed:
    """The gateway did not return it: `amount` is the customer's balance instead."""

    invoice_id: str
    credit_note_id: str
    refund_id: str
    amount: Money
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteVoided:
    """`taken_back` is what it had credited, so that nobody has to look it up."""

    invoice_id: str
    credit_note_id: str
    taken_back: Credited
    voided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteMetadataSet(MetadataSet):
    invoice_id: str
    credit_note_id: str


CreditNoteEvent = (
    CreditNoteIssued | CreditNoteRefunded | CreditNoteRefundFailed | CreditNoteVoided | CreditNoteMetadataSet
)


class CreditNoteNotFound(Refusal):
    """There is no such credit note."""

    code = "credit_note_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "credit_note"


class CreditNoteAlreadyExists(Refusal):
    """A credit note of this id exists already."""

    code = "credit_note_already_exists"


class InvoiceNotCreditable(Refusal):
    """Only an invoice that was finalized and is not void can be credited."""

    code = "invoice_not_creditable"
    param = "invoice"

    def summary(self) -> str:
        if self.details.get("status") == "draft":
            return "The invoice is a draft: change its lines, nothing of it was billed yet."
        return super().summary()


class InvoiceLineNotFound(Refusal):
    """The invoice has no such line."""

    code = "invoice_line_not_found"
    kind = RefusalKind.INVALID
    param = "lines"


class InvalidCredit(Refusal):
    """Credit a line once, by a quantity or an amount; or the whole invoice, by an amount above zero in its currency."""

    code = "invalid_credit"
    kind = RefusalKind.INVALID
    param = "lines"


class CreditExceedsInvoice(Refusal):
    """The invoice has less left to credit than that."""

    code = "credit_exceeds_invoice"
    param = "amount"

    def summary(self) -> str:
        if self.details.get("left") == 0:
            return "Nothing is left of the invoice to credit."
        return super().summary()


class CreditAlreadyRefunded(Refusal):
    """What was refunded without a credit note is not given back again: credit no more than what is left of it."""

    code = "credit_already_refunded"
    param = "amount"


class NothingToRefund(Refusal):
    """No payment through a gateway is left to refund on the invoice: give it back to the customer's balance."""

    code = "nothing_to_refund"
    param = "give_back"


class TooManyCreditNotes(Refusal):
    """An invoice has at most 100 credit notes: credit the rest with fewer, larger ones."""

    code = "too_many_credit_notes"
    param = "invoice"


class CreditNoteNotVoidable(Refusal):
    """Something rests on the credit note already: what it gave back was used or refunded, or its invoice is paid."""

    code = "credit_note_not_voidable"

    def summary(self) -> str:
        match self.details:
            case {"status": CreditNoteStatus.VOID}:
                return "The credit note is void already."
            case {"invoice_status": str()}:
                return "The credit note lowered what was due on an invoice that is paid now: bill what is owed anew."
            case {"refund": str()}:
                return "The credit note's money was refunded, or that is under way: bill what is owed anew."
            case {"balance": int()}:
                return "The customer's balance no longer holds what the credit note gave: bill what is owed anew."
            case _:
                return super().summary()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """`refunded` is what a refund returns or returned; `refund_status` is None where there is none. What it gave the
    customer's balance is the rest of what it gave back."""

    credit_note_id: str
    invoice_id: str
    customer_id: str
    number: str
    status: CreditNoteStatus
    credited: Credited
    refunded: Money
    refund_status: GivenBackStatus | None
    payment_id: str | None
    refund_id: str | None
    reason: str | None
    test_clock_id: str | None
    metadata: Metadata
    created_at: datetime
    voided_at: datetime | None

    @property
    def to_balance(self) -> Money:
        """What it gave the customer's balance; one that is void took it back."""
        return self.credited.given_back - self.refunded

    @property
    def is_in_force(self) -> bool:
        """Whether it credits anything: it is not void."""
        return self.status is CreditNoteStatus.ISSUED

    @property
    def tax(self) -> Money:
        """All tax that it credits."""
        return sum_money((total.tax for total in self.credited.tax), self.credited.total.currency)


def evolve(note: CreditNote | None, event: CreditNoteEvent) -> CreditNote:
    if isinstance(event, CreditNoteIssued):
        return CreditNote(
            credit_note_id=event.credit_note_id,
            invoice_id=event.invoice_id,
            customer_id=event.customer_id,
            number=event.number,
            status=CreditNoteStatus.ISSUED,
            credited=event.credited,
            refunded=event.refunded,
            refund_status=None if event.refund_id is None else GivenBackStatus.PENDING,
            payment_id=event.payment_id,
            refund_id=event.refund_id,
            reason=event.reason,
            test_clock_id=event.test_clock_id,
            metadata=event.metadata,
            created_at=event.issued_at,
            voided_at=None,
        )
    assert note is not None, "a credit note begins with credit_note.issued"
    match event:
        case CreditNoteRefunded():
            return replace(note, refund_status=GivenBackStatus.SUCCEEDED)
        case CreditNoteRefundFailed():
            nothing = Money.zero(event.amount.currency)
            return replace(note, refund_status=GivenBackStatus.FAILED, refunded=nothing)
        case CreditNoteVoided():
            return replace(note, status=CreditNoteStatus.VOID, voided_at=event.voided_at)
        case CreditNoteMetadataSet():
            return replace(note, metadata=event.metadata)


def all_after(notes: tuple[CreditNote, ...], event: CreditNoteEvent) -> tuple[CreditNote, ...]:
    """An invoice's credit notes after the event."""
    if isinstance(event, CreditNoteIssued):
        return (*notes, evolve(None, event))
    return tuple(evolve(note, event) if note.credit_note_id == event.credit_note_id else note for note in notes)


def named(notes: tuple[CreditNote, ...], credit_note_id: str) -> CreditNote:
    """The invoice's credit note of this id. Raises CreditNoteNotFound."""
    for note in notes:
        if note.credit_note_id == credit_note_id:
            return note
    raise CreditNoteNotFound(credit_note=credit_note_id)


def postings(event: CreditNoteEvent, customer_id: str, owed_on: Account) -> Entry | None:
    """Issued: what it credits, from revenue or deferred revenue and from the tax payable of each jurisdiction, to what
    is owed as far as that goes, and what was paid to the customer's balance, from where a refund takes it. Void: back.
    Of an invoice of another system all of it comes from opening balances, where its total stands.
    """
    match event:
        case CreditNoteIssued():
            return _credit_entry(event.credited, customer_id, owed_on)
        case CreditNoteVoided():
            given = _credit_entry(event.taken_back, customer_id, owed_on)
            return None if given is None else reversal(given)
        case _:
            return None


def _credit_entry(credited: Credited, customer_id: str, owed_on: Account) -> Entry | None:
    sides: tuple[tuple[Account, Money, str | None], ...] = (
        *_booked_on(credited),
        (owed_on, -credited.reduces_due, None),
        (CUSTOMER_BALANCE, -credited.given_back, None),
    )
    return entry(
        (credit if amount.is_negative else debit)(account, abs(amount), customer_id, jurisdiction)
        for account, amount, jurisdiction in sides
    )


def _booked_on(credited: Credited) -> list[tuple[Account, Money, str | None]]:
    """Where what is credited was booked."""
    if credited.is_opening:
        return [(OPENING_BALANCES, credited.total, None)]
    currency = credited.total.currency
    deferred = sum_money((line.net for line in credited.lines if line.is_deferred), currency)
    earned = sum_money((line.net for line in credited.lines if not line.is_deferred), currency)
    return [
        (DEFERRED_REVENUE, deferred, None),
        (REVENUE, earned, None),
        *((TAX_PAYABLE, amount, place) for place, amount in tax_by_jurisdiction(credited.tax).items()),
    ]


def claims(event: CreditNoteEvent) -> tuple[Claim, ...]:
    """A credit note's id names one credit note of one invoice for ever."""
    if not isinstance(event, CreditNoteIssued):
        return ()
    note_id = event.credit_note_id
    return (Take(CLAIM, note_id, event.invoice_id, lambda: CreditNoteAlreadyExists(credit_note=note_id)),)


EVENTS: dict[str, type] = {
    "credit_note.issued": CreditNoteIssued,
    "credit_note.refunded": CreditNoteRefunded,
    "credit_note.refund_failed": CreditNoteRefundFailed,
    "credit_note.voided": CreditNoteVoided,
    "credit_note.metadata_set": CreditNoteMetadataSet,
}
