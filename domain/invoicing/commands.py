"""What is decided about invoices: drafting, finalizing with the next number, voiding."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.catalog.product import PRODUCT
from domain.customers.balance import CustomerBalanceCredited, CustomerBalanceDrawn
from domain.customers.customer import CUSTOMER, Customer, check_currency, customer_time, open_for_business, time_of
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.draft import DraftInvoice, InvoiceDrafted, InvoiceNotDraft
from domain.invoicing.finalization import InvoiceCannotBeVoided, InvoiceFinalized, InvoiceVoided, VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceStatus
from domain.invoicing.invoice_line import InvalidInvoiceLines, InvoiceLine, check_lines, check_period
from domain.invoicing.numbering import DEFAULT_SERIES, INVOICE_NUMBERING, number_text, take_number
from domain.invoicing.settlement import InvoiceIsCredited, InvoiceIsPartlyPaid, InvoicePaid
from domain.invoicing.taxation import taxed
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.kernel.tenant_settings import rounding_of
from domain.tax.settings import tax_settings

DEFAULT_DAYS_UNTIL_DUE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeInvoice:
    """Give a draft its number and post it, which is new business. `days_until_due` counts for invoices paid by hand."""

    invoice_id: str
    days_until_due: int = DEFAULT_DAYS_UNTIL_DUE


def draft_invoice(command: DraftInvoice, streams: Streams, now: datetime) -> Decision:
    """A draft for the customer, after checking its lines."""
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    INVOICE.check_new(streams, command.invoice_id)
    check_currency(customer, command.currency)
    for nth, line in enumerate(command.lines):
        check_period(line, nth)
    lines = tuple(_of_its_product(line, streams) for line in command.lines)
    total = check_lines(lines, command.currency, rounding_of(streams))
    if total.is_negative:
        raise InvalidInvoiceLines(total=total.amount)
    drafted = InvoiceDrafted(
        invoice_id=command.invoice_id,
        customer_id=command.customer_id,
        collection=command.collection,
        currency=command.currency,
        lines=lines,
        test_clock_id=customer.test_clock_id,
        metadata=command.metadata,
        created_at=at,
    )
    return Decision(at, [INVOICE.change(drafted)])


def _of_its_product(line: InvoiceLine, streams: Streams) -> InvoiceLine:
    """The line with its product's tax category. Raises ProductNotFound."""
    if line.product_id is None:
        return line
    return replace(line, tax_category=PRODUCT.of(streams, line.product_id).tax_category)


def finalize_invoice(command: FinalizeInvoice, streams: Streams, now: datetime) -> Decision:
    draft = INVOICE.of(streams, command.invoice_id)
    if draft.status is not InvoiceStatus.DRAFT:
        raise InvoiceNotDraft(invoice=draft.invoice_id, status=draft.status)
    customer = open_for_business(streams, draft.customer_id)
    at = customer_time(streams, customer, now)
    changes = finalized(
        streams,
        invoice_id=draft.invoice_id,
        customer=customer,
        subscription_id=None,
        collection=draft.collection,
        currency=draft.currency,
        lines=draft.lines,
        days_until_due=command.days_until_due,
        rounding=rounding_of(streams),
        at=at,
    )
    return Decision(at, changes)


def void_invoice(command: VoidInvoice, streams: Streams, now: datetime) -> Decision:
    """Take an invoice back on which nothing was paid: what it posted is reversed, and what the customer's balance paid
    of it is there again. Its number stays taken, and so does the period it billed."""
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    if invoice.is_settled:
        raise InvoiceCannotBeVoided(invoice=command.invoice_id, status=invoice.status)
    if not invoice.amount_paid.is_zero:
        raise InvoiceIsPartlyPaid(invoice=command.invoice_id, paid=invoice.amount_paid.amount)
    if not invoice.amount_credited.is_zero:
        raise InvoiceIsCredited(invoice=command.invoice_id, credited=invoice.amount_credited.amount)
    taken_back = () if invoice.tax is None else invoice.tax.totals
    voided = INVOICE.change(InvoiceVoided(invoice_id=command.invoice_id, tax_taken_back=taken_back, voided_at=at))
    return Decision(at, [voided, *_balance_moved(invoice.customer_id, -invoice.amount_applied, invoice.invoice_id, at)])


def _balance_moved(customer_id: str, drawn: Money, invoice_id: str, at: datetime) -> list[Change]:
    """The customer's balance after an invoice drew that much on it; below zero it is credited."""
    if drawn.is_zero:
        return []
    if drawn.is_negative:
        credited = CustomerBalanceCredited(
            customer_id=customer_id, amount=-drawn, invoice_id=invoice_id, refund_id=None, credited_at=at
        )
        return [CUSTOMER.change(credited)]
    taken = CustomerBalanceDrawn(
        customer_id=customer_id, amount=drawn, invoice_id=invoice_id, refund_id=None, drawn_at=at
    )
    return [CUSTOMER.change(taken)]


def finalized(
    streams: Streams,
    *,
    invoice_id: str,
    customer: Customer,
    subscription_id: str | None,
    collection: CollectionMethod,
    currency: CurrencyCode,
    lines: tuple[InvoiceLine, ...],
    days_until_due: int,
    rounding: Rounding,
    at: datetime,
) -> list[Change]:
    """The changes that issue an invoice: its number is taken, its lines are final, with their tax, it is posted.

    One that is charged automatically is due at once; one that is paid by hand that many days later. The customer's
    balance pays of it what it can; what it comes to below zero becomes that balance. Where nothing is due it is paid.
    """
    billed = taxed(lines, currency, rounding, settings=tax_settings(streams), customer=customer, at=at)
    taken = take_number(streams, DEFAULT_SERIES, invoice_id)
    by_hand = collection is CollectionMethod.SEND_INVOICE
    event = InvoiceFinalized(
        invoice_id=invoice_id,
        customer_id=customer.customer_id,
        subscription_id=subscription_id,
        number=number_text(taken),
        collection=collection,
        currency=currency,
        lines=billed.lines,
        total=billed.total,
        applied=min(billed.total, customer.balance),
        tax=billed.tax,
        test_clock_id=customer.test_clock_id,
        finalized_at=at,
        due_at=at + timedelta(days=days_until_due) if by_hand else at,
    )
    return [
        INVOICE_NUMBERING.change(taken),
        INVOICE.change(event),
        *_balance_moved(customer.customer_id, event.applied, invoice_id, at),
        *_paid_if_nothing_due(event),
    ]


def _paid_if_nothing_due(event: InvoiceFinalized) -> list[Change]:
    if not event.amount_due.is_zero:
        return []
    nothing = Money.zero(event.currency)
    paid = InvoicePaid(
        invoice_id=event.invoice_id, payment_id=None, amount=nothing, surplus=nothing, paid_at=event.finalized_at
    )
    return [INVOICE.change(paid)]


HANDLERS: Final[Mapping[type, Handler]] = {
    DraftInvoice: draft_invoice,
    FinalizeInvoice: finalize_invoice,
    VoidInvoice: void_invoice,
}
