"""What of an invoice was paid and has not gone back, and what of a payment has become its customer's balance: the most
that can still be returned, and where it lies."""

from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice
from domain.kernel.money import Money, sum_money
from domain.kernel.stream import Streams
from domain.payments.payment import PAYMENT, Payment


def payments_of(invoice: Invoice, streams: Streams) -> list[Payment]:
    """The payments through gateways whose money came for the invoice, the earliest first."""
    return [PAYMENT.of(streams, payment_id) for payment_id in invoice.paid_by]


def kept_of(invoice: Invoice, streams: Streams) -> Money:
    """What was paid of it, by whatever, less what credit notes gave back, and refunds took back."""
    allowed = sum_money((payment.allowed for payment in payments_of(invoice, streams)), invoice.currency)
    paid = invoice.amount_paid + invoice.amount_applied
    return paid - invoice.amount_given_back - invoice.amount_reopened - allowed


def in_balance(payment: Payment, streams: Streams) -> Money:
    """What of the payment has become the customer's balance, and was not refunded since: a surplus, and what credit
    notes gave back to the balance of the invoice that it pays, less what refunds of its other payments took of that."""
    nothing = Money.zero(payment.amount.currency)
    lies = payment.surplus - payment.taken_from_balance
    if payment.is_applied and payment.invoice_id is not None:
        invoice = INVOICE.of(streams, payment.invoice_id)
        given = sum_money((note.to_balance for note in invoice.credit_notes if note.is_in_force), nothing.currency)
        for other in payments_of(invoice, streams):
            if other.payment_id != payment.payment_id:
                given -= max(other.taken_from_balance - other.surplus, nothing)
        lies += max(given, nothing)
    return max(lies, nothing)
