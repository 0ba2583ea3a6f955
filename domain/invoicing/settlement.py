"""What settles an invoice, in whole or in part: money that came for it, the customer's balance, and giving up.

The events are of the invoice's stream. What is due follows from them by `balance_of` alone.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.accounts import (
    BAD_DEBT,
    CASH,
    CUSTOMER_BALANCE,
    RECEIVABLE,
    REFUNDS_PAYABLE,
    Account,
    Entry,
    credit,
    debit,
    entry,
    transfer,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PayInvoiceOutOfBand:
    """The money came another way (a cheque, a transfer): `amount` of it, by default all that is due."""

    invoice_id: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePaymentOutOfBand:
    """The money had not come, or not for this invoice: take `amount` of it back, by default all that is recorded."""

    invoice_id: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCustomerBalance:
    """Pay what is due from the customer's balance, as far as that goes."""

    invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkInvoiceUncollectible:
    """Nobody is expected to pay what is due: write it off, its tax included."""

    invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaid:
    """Nothing is due any more: by a payment of ours, or (`payment_id` None) out of band or because nothing was owed.

    `amount` is what was paid now, all that was due; `surplus` what came above it, which is the customer's balance.
    """

    invoice_id: str
    payment_id: str | None
    amount: Money
    surplus: Money
    paid_at: datetime


def paid_by_nothing(invoice_id: str, currency: CurrencyCode, at: datetime) -> InvoicePaid:
    """That an invoice of which nothing is due any more is paid, without any money."""
    nothing = Money.zero(currency)
    return InvoicePaid(invoice_id=invoice_id, payment_id=None, amount=nothing, surplus=nothing, paid_at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePartlyPaid:
    """`amount` came, by a payment of ours or (`payment_id` None) out of band, and something is still due."""

    invoice_id: str
    payment_id: str | None
    amount: Money
    paid_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaymentReversed:
    """What had been recorded out of band was a mistake: `amount` is due again, or written off again, and `surplus` is
    taken off the customer's balance."""

    invoice_id: str
    amount: Money
    surplus: Money
    reversed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceReopened:
    """A refund without a credit note takes back `amount` of what a payment of ours had paid: it is due again, or
    written off again. Nobody charges it unasked."""

    invoice_id: str
    payment_id: str
    refund_id: str
    amount: Money
    reopened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRefundFailed:
    """The refund that had made it due again came to nothing: `amount` of it pays what is due, and `surplus`, for which
    nothing is due any more, is the customer's balance."""

    invoice_id: str
    payment_id: str
    refund_id: str
    amount: Money
    surplus: Money
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceBalanceApplied:
    """The customer's balance paid `amount` of what was due."""

    invoice_id: str
    amount: Money
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceMarkedUncollectible:
    """`amount`, all that was due, is written off."""

    invoice_id: str
    amount: Money
    marked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecovered:
    """`amount` of what was written off comes in after all. What it pays is said by the event behind it."""

    invoice_id: str
    amount: Money
    recovered_at: datetime


SettlementEvent = (
    InvoicePaid
    | InvoicePartlyPaid
    | InvoicePaymentReversed
    | InvoiceReopened
    | InvoiceRefundFailed
    | InvoiceBalanceApplied
    | InvoiceMarkedUncollectible
    | InvoiceRecovered
)


class InvalidPaymentAmount(Refusal):
    """A payment is of more than zero."""

    code = "invalid_payment_amount"
    kind = RefusalKind.INVALID
    param = "amount"


class NotPaidOutOfBand(Refusal):
    """So much did not come out of band for the invoice: `recorded` says how much can be reversed."""

    code = "not_paid_out_of_band"
    param = "amount"

    def summary(self) -> str:
        if self.details.get("recorded") == 0:
            return "Nothing came out of band for the invoice. What a payment of ours paid is refunded."
        return super().summary()


class SurplusIsSpent(Refusal):
    """The surplus is spent: reverse no more than the balance holds, or first void or credit what it paid since."""

    code = "surplus_spent"
    param = "amount"


class NothingToApply(Refusal):
    """The customer's balance holds nothing that could pay the invoice."""

    code = "nothing_to_apply"


class InvoiceIsPartlyPaid(Refusal):
    """Something was paid on the invoice: reverse a mistaken payment, or issue a credit note for what is not owed."""

    code = "invoice_partly_paid"


class InvoiceIsCredited(Refusal):
    """A credit note, or a change of its subscription, gave parts of it back: void that first, or credit the rest."""

    code = "invoice_credited"


class InvoiceNotCollectible(Refusal):
    """Only an open invoice can be marked uncollectible."""

    code = "invoice_not_collectible"


def postings(event: SettlementEvent, customer_id: str, owed_on: Account) -> Entry | None:
    """Out of band: cash to receivable, and to customer balance what came above it; reversed, to where what is due
    stands. Written off: receivable to bad debt, and back what is recovered, which is paid from there like anything due.

    A payment through a gateway is posted by the payment's own event. What its refund makes due again is posted here, to
    refunds payable, and back where that fails.
    """
    match event:
        case InvoicePaid(payment_id=None):
            return entry(
                (
                    debit(CASH, event.amount + event.surplus, customer_id),
                    credit(RECEIVABLE, event.amount, customer_id),
                    credit(CUSTOMER_BALANCE, event.surplus, customer_id),
                )
            )
        case InvoicePaymentReversed():
            return entry(
                (
                    debit(owed_on, event.amount, customer_id),
                    debit(CUSTOMER_BALANCE, event.surplus, customer_id),
                    credit(CASH, event.amount + event.surplus, customer_id),
                )
            )
        case InvoiceRefundFailed():
            return entry(
                (
                    debit(REFUNDS_PAYABLE, event.amount + event.surplus, customer_id),
                    credit(RECEIVABLE, event.amount, customer_id),
                    credit(CUSTOMER_BALANCE, event.surplus, customer_id),
                )
            )
        case InvoiceReopened():
            accounts = owed_on, REFUNDS_PAYABLE
        case InvoicePartlyPaid(payment_id=None):
            accounts = CASH, RECEIVABLE
        case InvoiceBalanceApplied():
            accounts = CUSTOMER_BALANCE, RECEIVABLE
        case InvoiceMarkedUncollectible():
            accounts = BAD_DEBT, RECEIVABLE
        case InvoiceRecovered():
            accounts = RECEIVABLE, BAD_DEBT
        case _:
            return None
    return transfer(event.amount, debit_to=accounts[0], credit_to=accounts[1], customer_id=customer_id)


EVENTS: dict[str, type] = {
    "invoice.paid": InvoicePaid,
    "invoice.partly_paid": InvoicePartlyPaid,
    "invoice.payment_reversed": InvoicePaymentReversed,
    "invoice.reopened": InvoiceReopened,
    "invoice.refund_failed": InvoiceRefundFailed,
    "invoice.balance_applied": InvoiceBalanceApplied,
    "invoice.marked_uncollectible": InvoiceMarkedUncollectible,
    "invoice.recovered": InvoiceRecovered,
}
