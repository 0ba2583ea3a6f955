"""What is decided about settling invoices: money that came past every gateway, or had not come after all, what the
customer's balance pays, and giving up what nobody will pay."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import (
    CUSTOMER,
    Customer,
    NotCustomersCurrency,
    balance_moved,
    customer_time,
    time_of,
)
from domain.invoicing.invoice import INVOICE, payable
from domain.invoicing.settlement import (
    ApplyCustomerBalance,
    InvalidPaymentAmount,
    InvoiceBalanceApplied,
    InvoiceIsCredited,
    InvoiceMarkedUncollectible,
    InvoiceNotCollectible,
    InvoicePaid,
    InvoicePartlyPaid,
    InvoicePaymentReversed,
    InvoiceRecovered,
    InvoiceRefundFailed,
    MarkInvoiceUncollectible,
    NothingToApply,
    NotPaidOutOfBand,
    PayInvoiceOutOfBand,
    ReversePaymentOutOfBand,
    SurplusIsSpent,
    paid_by_nothing,
)
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Handler, Streams


def pay_invoice_out_of_band(command: PayInvoiceOutOfBand, streams: Streams, now: datetime) -> Decision:
    """Record money that came past every gateway, whatever else is under way for the invoice: it has come.

    Raises NotCustomersCurrency, InvalidPaymentAmount.
    """
    invoice = payable(streams, command.invoice_id)
    customer = CUSTOMER.of(streams, invoice.customer_id)
    at = customer_time(streams, customer, now)
    amount = invoice.amount_due if command.amount is None else command.amount
    _check_amount(invoice, amount)
    return Decision(at, received(invoice, amount, None, at))


def reverse_payment_out_of_band(command: ReversePaymentOutOfBand, streams: Streams, now: datetime) -> Decision:
    """What came above what was due is taken back first; of the rest so much is due again, or written off again.

    Raises NotCustomersCurrency, InvalidPaymentAmount, NotPaidOutOfBand, InvoiceIsCredited (what was paid was given back
    already), SurplusIsSpent.
    """
    invoice = INVOICE.of(streams, command.invoice_id)
    customer = CUSTOMER.of(streams, invoice.customer_id)
    at = customer_time(streams, customer, now)
    recorded = invoice.paid_out_of_band + invoice.overpaid_out_of_band
    amount = recorded if command.amount is None else command.amount
    if recorded.is_zero:
        raise NotPaidOutOfBand(invoice=invoice.invoice_id, recorded=0)
    _check_amount(invoice, amount)
    if amount > recorded:
        raise NotPaidOutOfBand(invoice=invoice.invoice_id, wanted=amount.amount, recorded=recorded.amount)
    surplus = min(amount, invoice.overpaid_out_of_band)
    if amount > surplus and not invoice.amount_given_back.is_zero:
        raise InvoiceIsCredited(invoice=invoice.invoice_id, credited=invoice.amount_credited.amount)
    if surplus > customer.balance:
        raise SurplusIsSpent(invoice=invoice.invoice_id, surplus=surplus.amount, balance=customer.balance.amount)
    taken_back = InvoicePaymentReversed(
        invoice_id=invoice.invoice_id, amount=amount - surplus, surplus=surplus, reversed_at=at
    )
    moved = balance_moved(invoice.customer_id, surplus, at, invoice_id=invoice.invoice_id)
    return Decision(at, [INVOICE.change(taken_back), *moved])


def _check_amount(invoice: Invoice, amount: Money) -> None:
    """Raises NotCustomersCurrency, InvalidPaymentAmount."""
    if amount.currency != invoice.currency:
        refused = NotCustomersCurrency(
            customer=invoice.customer_id, customers_currency=invoice.currency, currency=amount.currency
        )
        raise refused.at("amount.currency")
    if amount.amount <= 0:
        raise InvalidPaymentAmount(amount=amount.amount)


def apply_customer_balance(command: ApplyCustomerBalance, streams: Streams, now: datetime) -> Decision:
    """Raises InvoiceNotOpen, NothingToApply."""
    invoice = payable(streams, command.invoice_id)
    customer = CUSTOMER.of(streams, invoice.customer_id)
    at = customer_time(streams, customer, now)
    changes = balance_applied(invoice, customer, at)
    if not changes:
        raise NothingToApply(invoice=invoice.invoice_id, customer=customer.customer_id)
    return Decision(at, changes)


def balance_applied(invoice: Invoice, customer: Customer, at: datetime) -> list[Change]:
    """What the customer's balance pays of an invoice that may be paid; nothing, where there is none."""
    pays = min(invoice.amount_due, customer.balance)
    if pays.is_zero:
        return []
    changes: list[Change] = []
    if invoice.status is InvoiceStatus.UNCOLLECTIBLE:
        recovered = InvoiceRecovered(invoice_id=invoice.invoice_id, amount=pays, recovered_at=at)
        changes.append(INVOICE.change(recovered))
    applied = InvoiceBalanceApplied(invoice_id=invoice.invoice_id, amount=pays, applied_at=at)
    changes.append(INVOICE.change(applied))
    if pays == invoice.amount_due:
        changes.append(INVOICE.change(paid_by_nothing(invoice.invoice_id, invoice.currency, at)))
    return [*changes, *balance_moved(invoice.customer_id, pays, at, invoice_id=invoice.invoice_id)]


def mark_invoice_uncollectible(command: MarkInvoiceUncollectible, streams: Streams, now: datetime) -> Decision:
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    if invoice.status is not InvoiceStatus.OPEN:
        raise InvoiceNotCollectible(invoice=command.invoice_id, status=invoice.status)
    marked = InvoiceMarkedUncollectible(invoice_id=invoice.invoice_id, amount=invoice.amount_due, marked_at=at)
    return Decision(at, [INVOICE.change(marked)])


def received(invoice: Invoice, amount: Money, payment_id: str | None, at: datetime) -> list[Change]:
    """What money does that came for an invoice that may be paid: it pays what is due, of an uncollectible one what was
    written off, and what is left of it becomes the customer's balance. `payment_id` None: out of band."""
    due = invoice.amount_due
    pays = min(amount, due)
    surplus = amount - pays
    changes: list[Change] = []
    if invoice.status is InvoiceStatus.UNCOLLECTIBLE:
        recovered = InvoiceRecovered(invoice_id=invoice.invoice_id, amount=pays, recovered_at=at)
        changes.append(INVOICE.change(recovered))
    paid: InvoicePaid | InvoicePartlyPaid
    if pays == due:
        paid = InvoicePaid(
            invoice_id=invoice.invoice_id, payment_id=payment_id, amount=pays, surplus=surplus, paid_at=at
        )
    else:
        paid = InvoicePartlyPaid(invoice_id=invoice.invoice_id, payment_id=payment_id, amount=pays, paid_at=at)
    changes.append(INVOICE.change(paid))
    return [*changes, *balance_moved(invoice.customer_id, -surplus, at, invoice_id=invoice.invoice_id)]


def not_refunded(invoice: Invoice, amount: Money, *, payment_id: str, refund_id: str, at: datetime) -> list[Change]:
    """What becomes of money that was to go back and stays: it pays what is due on the invoice that its refund had made
    due again, of an uncollectible one what was written off, and what is left of it becomes the customer's balance."""
    pays = min(amount, invoice.amount_due)
    failed = InvoiceRefundFailed(
        invoice_id=invoice.invoice_id,
        payment_id=payment_id,
        refund_id=refund_id,
        amount=pays,
        surplus=amount - pays,
        failed_at=at,
    )
    changes: list[Change] = []
    if invoice.status is InvoiceStatus.UNCOLLECTIBLE and not pays.is_zero:
        recovered = InvoiceRecovered(invoice_id=invoice.invoice_id, amount=pays, recovered_at=at)
        changes.append(INVOICE.change(recovered))
    changes.append(INVOICE.change(failed))
    if invoice.is_payable and pays == invoice.amount_due:
        changes.append(INVOICE.change(paid_by_nothing(invoice.invoice_id, invoice.currency, at)))
    return [*changes, *balance_moved(invoice.customer_id, pays - amount, at, refund_id=refund_id)]


HANDLERS: Final[Mapping[type, Handler]] = {
    PayInvoiceOutOfBand: pay_invoice_out_of_band,
    ReversePaymentOutOfBand: reverse_payment_out_of_band,
    ApplyCustomerBalance: apply_customer_balance,
    MarkInvoiceUncollectible: mark_invoice_uncollectible,
}
