"""A customer's balance: what they have with us that their next invoices draw on.

An overpayment raises it, an invoice of less than nothing, and a credit note of what was paid; an invoice draws on it
when it is finalized or when it is applied to one, and so do the refund of what lies in it and the reversal of what was
recorded above an invoice. Its events are the customer's: a finalization reads that
stream anyway, and two that would draw on the same balance are decided one after the other. It never falls below zero.
What moves the money posts it: the invoice, its credit note, the payment or the refund that the event names.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerBalanceCredited:
    """By what was paid above an invoice, by one of less than nothing or a void one, by a credit note, or by a refund
    that failed (`refund_id`)."""

    customer_id: str
    amount: Money
    invoice_id: str | None
    refund_id: str | None
    credit_note_id: str | None = None
    credited_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerBalanceDrawn:
    """For an invoice or what was paid above it by mistake, by a refund, or by a credit note that is void."""

    customer_id: str
    amount: Money
    invoice_id: str | None
    refund_id: str | None
    credit_note_id: str | None = None
    drawn_at: datetime


CustomerBalanceEvent = CustomerBalanceCredited | CustomerBalanceDrawn


def after(balance: Money, event: CustomerBalanceEvent) -> Money:
    """The balance that the event leaves."""
    match event:
        case CustomerBalanceCredited():
            return balance + event.amount
        case CustomerBalanceDrawn():
            return balance - event.amount


EVENTS: dict[str, type] = {
    "customer.balance_credited": CustomerBalanceCredited,
    "customer.balance_drawn": CustomerBalanceDrawn,
}
