"""What is decided about drafts: making one, changing it, adding items to it and taking them off."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.catalog.product import living
from domain.customers.customer import (
    Customer,
    NotCustomersCurrency,
    check_currency,
    customer_time,
    open_for_business,
    time_of,
)
from domain.invoicing.billing_settings import billing_settings, check_days_until_due, check_memo
from domain.invoicing.draft import (
    AddInvoiceItem,
    ChangeDraft,
    DraftInvoice,
    DraftTerms,
    InvoiceDraftChanged,
    InvoiceDrafted,
    InvoiceItemAdded,
    InvoiceItemIsSubscriptions,
    InvoiceItemNotFound,
    InvoiceItemRemoved,
    InvoiceNotDraft,
    RemoveInvoiceItem,
)
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import (
    InvalidInvoiceLines,
    InvalidLinePeriod,
    InvoiceLine,
    InvoiceLineKind,
    check_lines,
    check_period,
)
from domain.invoicing.issuing import foreseen_lines, with_waiting_items
from domain.invoicing.settlement import InvoiceIsCredited
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.frozen import replace
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.kernel.tenant_settings import rounding_of
from domain.kernel.unchanged import changed


def draft_invoice(command: DraftInvoice, streams: Streams, now: datetime) -> Decision:
    """A draft for the customer, after checking its lines. It waits until somebody finalizes it.

    Raises InvalidInvoiceLines, InvalidLinePeriod, NotCustomersCurrency, ProductNotFound, UnknownNumberSeries,
    InvalidInvoiceTerms.
    """
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    INVOICE.check_new(streams, command.invoice_id)
    check_currency(customer, command.currency)
    settings = billing_settings(streams)
    days_until_due = settings.days_until_due if command.days_until_due is None else command.days_until_due
    check_days_until_due(days_until_due)
    memo = settings.memo if command.memo is None else command.memo
    check_memo(memo)
    series = settings.series_of_invoices(command.series or settings.invoice_series)
    for nth, line in enumerate(command.lines):
        check_period(line, nth)
    lines = tuple(of_its_product(line, streams) for line in command.lines)
    waiting: list[Change] = []
    if command.with_waiting_items:
        lines, waiting = with_waiting_items(lines, customer, command.invoice_id)
    terms = DraftTerms(finalizes_at=None, days_until_due=days_until_due, rounding=rounding_of(streams))
    drafted = InvoiceDrafted(
        invoice_id=command.invoice_id,
        customer_id=command.customer_id,
        subscription_id=None,
        collection=command.collection,
        currency=command.currency,
        lines=lines,
        terms=terms,
        series=series.name,
        memo=memo,
        test_clock_id=customer.test_clock_id,
        metadata=command.metadata,
        created_at=at,
    )
    _check_total(lines, drafted, terms.rounding)
    return Decision(at, [INVOICE.change(drafted), *waiting])


def change_draft(command: ChangeDraft, streams: Streams, now: datetime) -> Decision:
    """Raises InvoiceNotDraft, InvalidInvoiceTerms."""
    draft, terms, at = _open(streams, command.invoice_id, now)
    event = InvoiceDraftChanged(
        invoice_id=draft.invoice_id,
        memo=changed(command.memo, draft.memo),
        days_until_due=changed(command.days_until_due, terms.days_until_due),
    )
    check_memo(event.memo)
    check_days_until_due(event.days_until_due)
    if (event.memo, event.days_until_due) == (draft.memo, terms.days_until_due):
        return Decision(at, [])
    return Decision(at, [INVOICE.change(event)])


def add_invoice_item(command: AddInvoiceItem, streams: Streams, now: datetime) -> Decision:
    """New business: a customer who was deleted gets none.

    Raises InvoiceNotDraft, InvalidInvoiceLines, InvalidLinePeriod, ProductNotFound.
    """
    draft, terms, at = _open(streams, command.invoice_id, now)
    customer = open_for_business(streams, draft.customer_id)
    line = checked_item(command.line, customer, streams)
    _check_total((*draft.lines, line), draft, terms.rounding)
    return Decision(at, [INVOICE.change(InvoiceItemAdded(invoice_id=draft.invoice_id, line=line))])


def remove_invoice_item(command: RemoveInvoiceItem, streams: Streams, now: datetime) -> Decision:
    """Raises InvoiceNotDraft, InvoiceItemNotFound, InvoiceItemIsSubscriptions, InvalidInvoiceLines where what is left
    makes no invoice, and InvoiceIsCredited where its discounts would take off other lines what was given back of them.
    """
    draft, terms, at = _open(streams, command.invoice_id, now)
    line = next((line for line in draft.lines if line.line_id == command.line_id), None)
    if line is None:
        raise InvoiceItemNotFound(item=command.line_id)
    if line.kind is not InvoiceLineKind.ONE_OFF:
        raise InvoiceItemIsSubscriptions(item=command.line_id)
    left = tuple(each for each in draft.lines if each is not line)
    _check_total(left, draft, terms.rounding)
    given_back = {each.line_id: each.amount for each in draft.unused_credits}
    for each in foreseen_lines(streams, replace(draft, lines=left)) if given_back else ():
        if each.line_id in given_back and each.discounted < given_back[each.line_id]:
            raise InvoiceIsCredited(invoice=draft.invoice_id, credited=given_back[each.line_id].amount)
    return Decision(at, [INVOICE.change(InvoiceItemRemoved(invoice_id=draft.invoice_id, line_id=command.line_id))])


def checked_item(line: InvoiceLine, customer: Customer, streams: Streams) -> InvoiceLine:
    """A single item, with its product's tax category. Raises NotCustomersCurrency, InvalidLinePeriod, ProductNotFound;
    what is wrong is told by its path in the item.
    """
    try:
        check_currency(customer, line.amount.currency)
    except NotCustomersCurrency as refused:
        raise refused.at("amount.currency") from None
    try:
        check_period(line, 0)
    except InvalidLinePeriod as refused:
        raise refused.at((refused.param or "").rpartition(".")[2]) from None
    return of_its_product(line, streams)


def of_its_product(line: InvoiceLine, streams: Streams) -> InvoiceLine:
    """The line with its product's tax category. Raises ProductNotFound."""
    if line.product_id is None:
        return line
    return replace(line, tax_category=living(streams, line.product_id).tax_category)


def _open(streams: Streams, invoice_id: str, now: datetime) -> tuple[Invoice, DraftTerms, datetime]:
    """The draft, if it may still be changed at its customer's time. Raises InvoiceNotFound, InvoiceNotDraft."""
    draft = INVOICE.of(streams, invoice_id)
    at = time_of(streams, draft.customer_id, now)
    if draft.status is not InvoiceStatus.DRAFT or draft.terms is None:
        raise InvoiceNotDraft(invoice=invoice_id, status=draft.status)
    if draft.awaited_tax is not None:
        raise InvoiceNotDraft(invoice=invoice_id, status=draft.status, waiting_for=draft.waiting_for)
    ends_at = draft.terms.finalizes_at
    if ends_at is not None and ends_at <= at:
        raise InvoiceNotDraft(invoice=invoice_id, status=draft.status, finalizes_at=ends_at)
    return draft, draft.terms, at


def _check_total(lines: tuple[InvoiceLine, ...], draft: Invoice | InvoiceDrafted, rounding: Rounding) -> None:
    """A one-off invoice comes to less than nothing by mistake; what a subscription owes its customer is their balance.

    Raises InvalidInvoiceLines.
    """
    total = check_lines(lines, draft.currency, rounding)
    if total.is_negative and draft.subscription_id is None:
        raise InvalidInvoiceLines(total=total.amount)


HANDLERS: Final[Mapping[type, Handler]] = {
    DraftInvoice: draft_invoice,
    ChangeDraft: change_draft,
    AddInvoiceItem: add_invoice_item,
    RemoveInvoiceItem: remove_invoice_item,
}
