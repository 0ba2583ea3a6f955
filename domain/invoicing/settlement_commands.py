"""What is decided about settling invoices: money that came past every gateway, and giving up what nobody will pay."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.balance import CustomerBalanceCredited
from domain.customers.customer import CUSTOMER, NotCustomersCurrency, customer_time, time_of
from domain.invoicing.invoice import INVOICE, Invoice, InvoiceStatus, payable
from domain.invoicing.settlement import (
    InvalidPaymentAmount,
    InvoiceMarkedUncollectible,
    InvoiceNotCollectible,
    InvoicePaid,
    InvoicePartlyPaid,
    InvoiceRecovered,
    MarkInvoiceUncollectible,
    PayInvoiceOutOfBand,
)
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
    if amount.currency != invoice.currency:
        refused = NotCustomersCurrency(
            customer=customer.customer_id, customers_currency=invoice.currency, currency=amount.currency
        )
        raise refused.at("amount.currency")
    if amount.amount <= 0:
        raise InvalidPaymentAmount(amount=amount.amount)
    return Decision(at, received(invoice, amount, None, at))


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
    if not surplus.is_zero:
        credited = CustomerBalanceCredited(
            customer_id=invoice.customer_id,
            amount=surplus,
            invoice_id=invoice.invoice_id,
            refund_id=None,
            credited_at=at,
        )
        changes.append(CUSTOMER.change(credited))
    return changes


HANDLERS: Final[Mapping[type, Handler]] = {
    PayInvoiceOutOfBand: pay_invoice_out_of_band,
    MarkInvoiceUncollectible: mark_invoice_uncollectible,
}
