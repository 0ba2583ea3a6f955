"""What of an invoice stands on the receivable account: its part of that subledger, moved by the invoice's events.

It is `amount_due` of an open invoice and nothing of any other; here it is folded by itself, so that whoever wants to
know what was owed when needs none of the invoice's lines.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.invoicing import imported, settlement
from domain.invoicing.credit_note import CreditNoteIssued, CreditNoteVoided
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided
from domain.invoicing.imported import InvoiceImported, InvoicePaymentImported
from domain.invoicing.settlement import (
    InvoiceBalanceApplied,
    InvoiceMarkedUncollectible,
    InvoicePaid,
    InvoicePartlyPaid,
    InvoicePaymentReversed,
    InvoiceRecovered,
    InvoiceRefundFailed,
    InvoiceReopened,
)
from domain.kernel.frozen import replace
from domain.kernel.money import Money

BEGINNINGS: Final = frozenset({"invoice.finalized", "invoice.imported"})
"""The events by which an invoice is owed; an invoice has one of them, or is a draft."""
EVENTS: Final = frozenset(
    {
        *BEGINNINGS,
        *imported.EVENTS,
        *settlement.EVENTS,
        "credit_note.issued",
        "credit_note.voided",
        "invoice.voided",
    }
)

ReceivableEvent = (
    InvoiceFinalized
    | InvoiceImported
    | InvoicePaymentImported
    | InvoicePaid
    | InvoicePartlyPaid
    | InvoicePaymentReversed
    | InvoiceReopened
    | InvoiceRefundFailed
    | InvoiceBalanceApplied
    | InvoiceMarkedUncollectible
    | InvoiceRecovered
    | CreditNoteIssued
    | CreditNoteVoided
    | InvoiceVoided
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivable:
    """`amount` stands on the receivable account. Once the invoice was written off, what is due on it stands in bad
    debt, whatever comes for it later."""

    invoice_id: str
    customer_id: str
    due_at: datetime
    amount: Money
    is_written_off: bool = False


def evolve(receivable: Receivable | None, event: ReceivableEvent) -> Receivable | None:
    """After an event of the invoice; None of a draft, on which nothing is owed. It never refuses."""
    match event:
        case InvoiceFinalized():
            return _owed(event, event.amount_due)
        case InvoiceImported():
            return _owed(event, event.total)
    if receivable is None or receivable.is_written_off:
        return receivable
    nothing = Money.zero(receivable.amount.currency)
    match event:
        case InvoiceMarkedUncollectible():
            return replace(receivable, amount=nothing, is_written_off=True)
        case InvoiceVoided():
            return replace(receivable, amount=nothing)
        case InvoicePaymentReversed() | InvoiceReopened() | InvoiceRecovered():
            moved = event.amount
        case CreditNoteIssued():
            moved = -event.credited.reduces_due
        case CreditNoteVoided():
            moved = event.taken_back.reduces_due
        case _:
            moved = -event.amount
    return replace(receivable, amount=receivable.amount + moved)


def _owed(event: InvoiceFinalized | InvoiceImported, amount: Money) -> Receivable:
    return Receivable(invoice_id=event.invoice_id, customer_id=event.customer_id, due_at=event.due_at, amount=amount)
