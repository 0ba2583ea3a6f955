"""Commands about invoices: drafting, finalizing with the next number, voiding, payment by hand."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.customers import customer as customers
from domain.customers.customer import CUSTOMER, Customer
from domain.customers.test_clock import customer_time
from domain.invoicing import invoice as invoices
from domain.invoicing.invoice import (
    INVOICE,
    CollectionMethod,
    DraftInvoice,
    Invoice,
    InvoiceFinalized,
    InvoiceLine,
    InvoiceNotDraft,
    InvoiceStatus,
    PayInvoiceOutOfBand,
    VoidInvoice,
    check_lines,
    settle_if_nothing_due,
)
from domain.invoicing.numbering import DEFAULT_SERIES, INVOICE_NUMBERING, number_text, take_number
from domain.kernel.currency import CurrencyCode
from domain.kernel.stream import Change, Decision, Streams
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionRecovered

DEFAULT_DAYS_UNTIL_DUE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeInvoice:
    """Give a draft its number and post it. `days_until_due` counts for invoices paid by hand."""

    invoice_id: str
    days_until_due: int = DEFAULT_DAYS_UNTIL_DUE


InvoiceCommand = DraftInvoice | FinalizeInvoice | VoidInvoice | PayInvoiceOutOfBand


def change_invoice(command: InvoiceCommand, streams: Streams, now: datetime) -> Decision:
    """Everything that is done to an invoice by hand, at the customer's time."""
    invoice = streams.get(INVOICE, command.invoice_id)
    if isinstance(command, DraftInvoice):
        customer_id = command.customer_id
        customer = customers.open_for_business(streams.get(CUSTOMER, customer_id), customer_id)
        at = customer_time(streams, customer, now)
        events = invoices.draft(command, invoice, customer.test_clock_id, at)
        return Decision(at, [Change(INVOICE, command.invoice_id, event) for event in events])
    found = invoices.existing(invoice, command.invoice_id)
    customer = customers.existing(streams.get(CUSTOMER, found.customer_id), found.customer_id)
    at = customer_time(streams, customer, now)
    match command:
        case FinalizeInvoice():
            return Decision(at, _finalize_draft(command, found, customer, streams, at))
        case VoidInvoice():
            changes = [Change(INVOICE, found.invoice_id, event) for event in invoices.void(command, found, at)]
        case PayInvoiceOutOfBand():
            paid = invoices.pay_out_of_band(command, found, at)
            changes = [Change(INVOICE, found.invoice_id, event) for event in paid]
    return Decision(at, [*changes, *recovery(found, streams)])


def recovery(invoice: Invoice, streams: Streams) -> list[Change]:
    """The subscription's recovery, if this invoice was what made it past due and is now settled."""
    if invoice.subscription_id is None:
        return []
    subscription = streams.get(SUBSCRIPTION, invoice.subscription_id)
    if subscription is None or invoice.invoice_id not in subscription.past_due_invoice_ids:
        return []
    recovered = SubscriptionRecovered(subscription_id=subscription.subscription_id, invoice_id=invoice.invoice_id)
    return [Change(SUBSCRIPTION, subscription.subscription_id, recovered)]


def _finalize_draft(
    command: FinalizeInvoice, draft: Invoice, customer: Customer, streams: Streams, at: datetime
) -> list[Change]:
    if draft.status is not InvoiceStatus.DRAFT:
        raise InvoiceNotDraft(invoice=draft.invoice_id, status=draft.status)
    return finalized(
        streams,
        invoice_id=draft.invoice_id,
        customer=customer,
        subscription_id=None,
        collection=draft.collection,
        currency=draft.currency,
        lines=draft.lines,
        days_until_due=command.days_until_due,
        at=at,
    )


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
    at: datetime,
) -> list[Change]:
    """The changes that issue an invoice: its number is taken, its lines are final, it is posted.

    One that is charged automatically is due at once; one that is paid by hand that many days later.
    """
    total = check_lines(lines, currency)
    taken = take_number(streams, DEFAULT_SERIES, invoice_id)
    by_hand = collection is CollectionMethod.SEND_INVOICE
    event = InvoiceFinalized(
        invoice_id=invoice_id,
        customer_id=customer.customer_id,
        subscription_id=subscription_id,
        number=number_text(taken),
        collection=collection,
        currency=currency,
        lines=lines,
        total=total,
        test_clock_id=customer.test_clock_id,
        finalized_at=at,
        due_at=at + timedelta(days=days_until_due) if by_hand else at,
    )
    return [
        Change(INVOICE_NUMBERING, taken.series, taken),
        *(Change(INVOICE, invoice_id, change) for change in settle_if_nothing_due(event)),
    ]
