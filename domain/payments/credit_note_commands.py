"""What is decided about credit notes: issued with their number and, where it is wanted, their refund; void again."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import CUSTOMER, balance_moved, time_of
from domain.invoicing.billing_settings import billing_settings
from domain.invoicing.credit_note import (
    MAX_CREDIT_NOTES,
    ChangeCreditNoteMetadata,
    CreditAlreadyRefunded,
    CreditNoteAlreadyExists,
    CreditNoteIssued,
    CreditNoteMetadataSet,
    CreditNoteNotVoidable,
    CreditNoteVoided,
    GiveBack,
    GivenBackStatus,
    InvoiceNotCreditable,
    IssueCreditNote,
    NothingToRefund,
    TooManyCreditNotes,
    VoidCreditNote,
    named,
)
from domain.invoicing.crediting import credited
from domain.invoicing.invoice import INVOICE
from domain.invoicing.number_series import CREDIT_NOTES
from domain.invoicing.numbering import take_number
from domain.invoicing.settlement import paid_by_nothing
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.identifiers import REFUND, derived_id
from domain.kernel.metadata import with_change
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.kernel.tenant_settings import rounding_of
from domain.payments.kept import kept_of, payments_of
from domain.payments.payment import PAYMENT, Payment
from domain.payments.refund import RefundRequested


def issue_credit_note(command: IssueCreditNote, streams: Streams, now: datetime) -> Decision:
    """Credit an invoice. What is due falls first; what was paid is given back, by choice through the payment that paid
    it, as far as that goes: the rest, which the customer's balance or money past every gateway paid, becomes balance.

    Raises the refusals of `credited`.
    """
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    if invoice.status in {InvoiceStatus.DRAFT, InvoiceStatus.VOID}:
        raise InvoiceNotCreditable(invoice=invoice.invoice_id, status=invoice.status)
    if any(note.credit_note_id == command.credit_note_id for note in invoice.credit_notes):
        raise CreditNoteAlreadyExists(credit_note=command.credit_note_id)
    if len(invoice.credit_notes) >= MAX_CREDIT_NOTES:
        raise TooManyCreditNotes(invoice=invoice.invoice_id)
    figures = credited(invoice, command.lines, command.amount, rounding_of(streams))
    payment = _refundable(invoice, streams)
    refunded = _to_refund(command.give_back, figures.given_back, invoice, payment, kept_of(invoice, streams))
    number_taken, number = take_number(
        streams,
        billing_settings(streams),
        CREDIT_NOTES.name,
        invoice_id=invoice.invoice_id,
        credit_note_id=command.credit_note_id,
        at=at,
    )
    has_refund = payment is not None and not refunded.is_zero
    issued = CreditNoteIssued(
        invoice_id=invoice.invoice_id,
        credit_note_id=command.credit_note_id,
        customer_id=invoice.customer_id,
        number=number,
        credited=figures,
        refunded=refunded,
        payment_id=payment.payment_id if payment is not None and has_refund else None,
        refund_id=derived_id(REFUND, command.credit_note_id, "refund") if has_refund else None,
        reason=command.reason,
        test_clock_id=invoice.test_clock_id,
        metadata=command.metadata,
        issued_at=at,
    )
    to_balance = balance_moved(
        invoice.customer_id,
        -figures.given_back,
        at,
        invoice_id=invoice.invoice_id,
        credit_note_id=command.credit_note_id,
    )
    changes = [number_taken, INVOICE.change(issued), *to_balance]
    if invoice.is_payable and figures.reduces_due == invoice.amount_due:
        changes.append(INVOICE.change(paid_by_nothing(invoice.invoice_id, invoice.currency, at)))
    return Decision(at, [*changes, *_refund(issued, at)])


def _refundable(invoice: Invoice, streams: Streams) -> Payment | None:
    """Of the payments through gateways that paid the invoice the one that can return most; of two alike the earlier."""
    return max(payments_of(invoice, streams), key=lambda payment: _left_of(payment).amount, default=None)


def _left_of(payment: Payment) -> Money:
    """What it can return of its invoice: what it captured above that is not the invoice's to give back."""
    return min(payment.refundable, payment.amount - payment.surplus)


def _to_refund(give_back: GiveBack, given_back: Money, invoice: Invoice, payment: Payment | None, kept: Money) -> Money:
    """What of it goes back through the payment. Raises CreditAlreadyRefunded, NothingToRefund."""
    nothing = Money.zero(invoice.currency)
    if given_back > kept and not given_back.is_zero:
        raise CreditAlreadyRefunded(invoice=invoice.invoice_id, wanted=given_back.amount, left=kept.amount)
    if give_back is not GiveBack.REFUND or given_back.is_zero:
        return nothing
    left = nothing if payment is None else _left_of(payment)
    if left.is_zero:
        raise NothingToRefund(invoice=invoice.invoice_id)
    return min(given_back, left)


def _refund(issued: CreditNoteIssued, at: datetime) -> list[Change]:
    """It takes what the credit note has just given to the customer's balance; if it fails, that is there again."""
    if issued.payment_id is None or issued.refund_id is None:
        return []
    requested = RefundRequested(
        refund_id=issued.refund_id,
        payment_id=issued.payment_id,
        amount=issued.refunded,
        from_balance=issued.refunded,
        credit_note_id=issued.credit_note_id,
        reason=issued.reason,
        requested_at=at,
    )
    drawn = balance_moved(issued.customer_id, issued.refunded, at, refund_id=issued.refund_id)
    return [PAYMENT.change(requested), *drawn]


def void_credit_note(command: VoidCreditNote, streams: Streams, now: datetime) -> Decision:
    """What it lowered is due again, and what it gave to the customer's balance is taken from there. Its number stays
    taken."""
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    note = named(invoice.credit_notes, command.credit_note_id)
    if not note.is_in_force:
        raise CreditNoteNotVoidable(credit_note=note.credit_note_id, status=note.status)
    if note.refund_status in {GivenBackStatus.PENDING, GivenBackStatus.SUCCEEDED}:
        raise CreditNoteNotVoidable(credit_note=note.credit_note_id, refund=note.refund_id)
    if not note.credited.reduces_due.is_zero and not invoice.is_payable:
        raise CreditNoteNotVoidable(credit_note=note.credit_note_id, invoice_status=invoice.status)
    balance = CUSTOMER.of(streams, invoice.customer_id).balance
    if note.to_balance > balance:
        raise CreditNoteNotVoidable(credit_note=note.credit_note_id, balance=balance.amount)
    voided = CreditNoteVoided(
        invoice_id=invoice.invoice_id, credit_note_id=note.credit_note_id, taken_back=note.credited, voided_at=at
    )
    taken_back = balance_moved(
        invoice.customer_id,
        note.to_balance,
        at,
        invoice_id=invoice.invoice_id,
        credit_note_id=note.credit_note_id,
    )
    return Decision(at, [INVOICE.change(voided), *taken_back])


def change_credit_note_metadata(command: ChangeCreditNoteMetadata, streams: Streams, now: datetime) -> Decision:
    """Raises TooManyMetadataKeys."""
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    note = named(invoice.credit_notes, command.credit_note_id)
    metadata = with_change(note.metadata, command.change)
    if metadata == note.metadata:
        return Decision(at, [])
    kept = CreditNoteMetadataSet(invoice_id=invoice.invoice_id, credit_note_id=note.credit_note_id, metadata=metadata)
    return Decision(at, [INVOICE.change(kept)])


HANDLERS: Final[Mapping[type, Handler]] = {
    IssueCreditNote: issue_credit_note,
    VoidCreditNote: void_credit_note,
    ChangeCreditNoteMetadata: change_credit_note_metadata,
}
