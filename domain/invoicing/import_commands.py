"""What is decided about invoices of another system: bringing them in, and what was paid of them there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import (
    NotCustomersCurrency,
    check_currency,
    customer_time,
    open_for_business,
    time_of,
)
from domain.invoicing.billing_settings import billing_settings
from domain.invoicing.imported import (
    ImportInvoice,
    ImportInvoicePayment,
    InvoiceImported,
    InvoiceNotImported,
    InvoicePaymentImported,
    NotYet,
    NumberOfSeries,
    PaidAboveDue,
)
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.invoice_line import InvalidInvoiceLines, check_lines
from domain.invoicing.number_series import readings
from domain.invoicing.numbering import has_given
from domain.invoicing.settlement import InvalidPaymentAmount
from domain.invoicing.state import InvoiceStatus
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.kernel.tenant_settings import rounding_of


def import_invoice(command: ImportInvoice, streams: Streams, now: datetime) -> Decision:
    """Raises NotCustomersCurrency, InvalidInvoiceLines, NumberOfSeries, NotYet, PaidAboveDue.

    ImportedNumberTaken by its claim.
    """
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    INVOICE.check_new(streams, command.invoice_id)
    check_currency(customer, command.currency)
    total = check_lines(command.lines, command.currency, rounding_of(streams))
    if total.is_negative:
        raise InvalidInvoiceLines(total=total.amount)
    _check_number(command.number, streams)
    _check_past(command.issued_at, at, "issued_at")
    imported = InvoiceImported(
        invoice_id=command.invoice_id,
        customer_id=command.customer_id,
        number=command.number,
        currency=command.currency,
        lines=command.lines,
        total=total,
        test_clock_id=customer.test_clock_id,
        metadata=command.metadata,
        issued_at=command.issued_at,
        due_at=command.due_at,
        imported_at=at,
    )
    paid = command.amount_paid or Money.zero(command.currency)
    if paid.currency != command.currency:
        refused = NotCustomersCurrency(
            customer=customer.customer_id, customers_currency=command.currency, currency=paid.currency
        )
        raise refused.at("amount_paid.currency")
    if paid > total:
        raise PaidAboveDue(paid=paid.amount, due=total.amount).at("amount_paid.amount")
    changes: list[Change] = [INVOICE.change(imported)]
    if not paid.is_zero or total.is_zero:
        paid_at = command.paid_at or command.issued_at
        _check_past(paid_at, at, "paid_at")
        payment = InvoicePaymentImported(
            invoice_id=command.invoice_id, amount=paid, reference=None, paid_at=paid_at, imported_at=at
        )
        changes.append(INVOICE.change(payment))
    return Decision(at, changes)


def import_invoice_payment(command: ImportInvoicePayment, streams: Streams, now: datetime) -> Decision:
    """Raises InvoiceNotImported, InvoiceNotOpen, NotCustomersCurrency, InvalidPaymentAmount, PaidAboveDue, NotYet."""
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    if invoice.opening is None:
        raise InvoiceNotImported(invoice=command.invoice_id)
    if invoice.status is not InvoiceStatus.OPEN:
        raise InvoiceNotOpen(invoice=command.invoice_id, status=invoice.status)
    amount = command.amount
    if amount.currency != invoice.currency:
        refused = NotCustomersCurrency(
            customer=invoice.customer_id, customers_currency=invoice.currency, currency=amount.currency
        )
        raise refused.at("amount.currency")
    if amount.amount <= 0:
        raise InvalidPaymentAmount(amount=amount.amount)
    if amount > invoice.amount_due:
        raise PaidAboveDue(paid=amount.amount, due=invoice.amount_due.amount).at("amount.amount")
    _check_past(command.paid_at, at, "paid_at")
    payment = InvoicePaymentImported(
        invoice_id=command.invoice_id,
        amount=amount,
        reference=command.reference,
        paid_at=command.paid_at,
        imported_at=at,
    )
    return Decision(at, [INVOICE.change(payment)])


def _check_number(number: str, streams: Streams) -> None:
    """Raises NumberOfSeries for one that a series prints some day, or may have printed with a prefix that it had."""
    for series in billing_settings(streams).number_series:
        if readings(series.prefix, number):
            raise NumberOfSeries(number=number, series=series.name, prefix=series.prefix)
        for former in series.former_prefixes:
            if any(has_given(streams, series.name, *reading) for reading in readings(former, number)):
                raise NumberOfSeries(number=number, series=series.name, prefix=former)


def _check_past(time: datetime, now: datetime, param: str) -> None:
    if time > now:
        raise NotYet(now=now).at(param)


HANDLERS: Final[Mapping[type, Handler]] = {
    ImportInvoice: import_invoice,
    ImportInvoicePayment: import_invoice_payment,
}
