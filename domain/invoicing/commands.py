"""What is decided about invoices as a whole: finalizing with the next number, voiding."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import balance_moved, open_for_business, time_of
from domain.invoicing.billing_settings import check_days_until_due
from domain.invoicing.draft import InvoiceNotDraft
from domain.invoicing.finalization import (
    InvoiceCannotBeVoided,
    InvoiceIsRatedAgain,
    InvoiceVoided,
    VoidInvoice,
)
from domain.invoicing.giving_back import unused_credited
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvalidInvoiceLines
from domain.invoicing.issuing import finalized_anew, finalized_by_answer, finalized_draft
from domain.invoicing.rerating import rerated_no_more
from domain.invoicing.settlement import InvoiceIsCredited, InvoiceIsPartlyPaid
from domain.invoicing.slices import cut_short_by, rated_by_later
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.tax_request import (
    FinalizeWithTax,
    InvoiceAwaitsNoTax,
    InvoiceTaxUnanswered,
    RecordTaxUnanswered,
    TaxRequest,
)
from domain.invoicing.usage_commands import hurried
from domain.kernel.consequences import After
from domain.kernel.stream import Change, Decision, Handler, Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeInvoice:
    """Give a draft its number and post it. `days_until_due` counts for invoices paid by hand; None: as it was drafted.
    `due_at` is the instant at which its timer does it; None: by hand. `by_table`: its tax is that of the table, even
    where a calculator outside computes taxes.
    """

    invoice_id: str
    days_until_due: int | None = None
    due_at: datetime | None = None
    by_table: bool = False


def finalize_invoice(command: FinalizeInvoice, streams: Streams, now: datetime) -> Decision:
    """A draft whose time is over becomes what its timer makes of it, at that instant, whoever comes first. One that
    waits for its tax is brought on by hand alone; one that waits for usage takes, by hand, what is counted by then.
    """
    draft = INVOICE.of(streams, command.invoice_id)
    if draft.status is not InvoiceStatus.DRAFT or draft.terms is None:
        raise InvoiceNotDraft(invoice=draft.invoice_id, status=draft.status)
    if draft.lacks_usage:
        if command.due_at is not None:
            raise InvoiceNotDraft(invoice=draft.invoice_id, status=draft.status, waiting_for=draft.waiting_for)
        if command.days_until_due is not None:
            check_days_until_due(command.days_until_due)
        return hurried(draft, command.days_until_due, streams, now)
    ends_at, asked, by_table = draft.terms.finalizes_at, draft.awaited_tax, command.by_table
    if command.due_at is not None and (command.due_at != ends_at or asked is not None):
        raise InvoiceNotDraft(invoice=draft.invoice_id, status=draft.status)
    if asked is not None:
        if command.days_until_due is not None:
            check_days_until_due(command.days_until_due)
        changes = finalized_anew(streams, draft, by_table=by_table, days_until_due=command.days_until_due)
        return Decision(asked.finalizes_at, changes)
    if ends_at is not None and (command.due_at is not None or ends_at <= time_of(streams, draft.customer_id, now)):
        return Decision(ends_at, finalized_draft(streams, draft, by_table=by_table, at=ends_at))
    if draft.subscription_id is None:
        open_for_business(streams, draft.customer_id)
    if command.days_until_due is not None:
        check_days_until_due(command.days_until_due)
    at = time_of(streams, draft.customer_id, now)
    days = command.days_until_due
    return Decision(at, finalized_draft(streams, draft, days_until_due=days, by_table=by_table, at=at))


def finalize_with_tax(command: FinalizeWithTax, streams: Streams, now: datetime) -> Decision:
    """Of the instant of which it was to be, however late the answer comes.

    Raises InvoiceAwaitsNoTax, TaxAnswerUnfit, InvalidInvoiceLines.
    """
    draft, asked = _awaiting(streams, command.invoice_id, command.attempt)
    return Decision(asked.finalizes_at, finalized_by_answer(streams, draft, command.answer))


def record_tax_unanswered(command: RecordTaxUnanswered, streams: Streams, now: datetime) -> Decision:
    """Why an invoice still waits for its tax; said once for as long as it stays the same. Raises InvoiceAwaitsNoTax."""
    draft, asked = _awaiting(streams, command.invoice_id, command.attempt)
    at = time_of(streams, draft.customer_id, now)
    if asked.unanswered == command.reason:
        return Decision(at, [])
    event = InvoiceTaxUnanswered(invoice_id=draft.invoice_id, reason=command.reason, tried_at=at)
    return Decision(at, [INVOICE.change(event)])


def _awaiting(streams: Streams, invoice_id: str, attempt: int) -> tuple[Invoice, TaxRequest]:
    draft = INVOICE.of(streams, invoice_id)
    asked = draft.awaited_tax
    if asked is None or asked.attempt != attempt:
        raise InvoiceAwaitsNoTax(invoice=invoice_id, status=draft.status)
    return draft, asked


def void_invoice(command: VoidInvoice, streams: Streams, now: datetime) -> Decision:
    """Take an invoice back on which nothing was paid: what it posted is reversed, and what the customer's balance paid
    of it is there again. Its number stays taken, and so does the period it billed. A draft whose time is over is
    finalized first.
    """
    invoice = INVOICE.of(streams, command.invoice_id)
    at = time_of(streams, invoice.customer_id, now)
    changes = _overdue_finalization(streams, invoice, at)
    if changes:
        invoice = INVOICE.of(After(streams, changes), command.invoice_id)
    if invoice.is_settled:
        raise InvoiceCannotBeVoided(invoice=command.invoice_id, status=invoice.status)
    if not invoice.amount_paid.is_zero:
        raise InvoiceIsPartlyPaid(invoice=command.invoice_id, paid=invoice.amount_paid.amount)
    if not invoice.amount_credited.is_zero:
        raise InvoiceIsCredited(invoice=command.invoice_id, credited=invoice.amount_credited.amount)
    if invoice.unused_credits:
        given_back = sum(each.amount.amount for each in invoice.unused_credits)
        raise InvoiceIsCredited(invoice=command.invoice_id, credited=given_back)
    rated = rated_by_later(invoice, streams)
    if rated and not command.ends_with_clock:
        raise InvoiceIsRatedAgain(invoice=command.invoice_id, by=rated[-1].by_invoice_id)
    taken_back = () if invoice.tax is None else invoice.tax.totals
    voided = INVOICE.change(InvoiceVoided(invoice_id=command.invoice_id, tax_taken_back=taken_back, voided_at=at))
    moved = balance_moved(invoice.customer_id, -invoice.amount_applied, at, invoice_id=invoice.invoice_id)
    taken_again = unused_credited(invoice.lines, invoice.invoice_id, at, sign=-1)
    after = After(streams, changes)
    rerated = rerated_no_more(invoice.lines, invoice.invoice_id, after, at)
    cut_short = cut_short_by(invoice, after, at)
    return Decision(at, [*changes, voided, *moved, *taken_again, *rerated, *cut_short])


def _overdue_finalization(streams: Streams, invoice: Invoice, at: datetime) -> list[Change]:
    """What the timer of a draft was to do by then, if it is still to come; nothing where it cannot."""
    ends_at = None if invoice.terms is None else invoice.terms.finalizes_at
    is_over = ends_at is not None and ends_at <= at and invoice.waiting_for is None
    if invoice.status is not InvoiceStatus.DRAFT or not is_over or ends_at is None:
        return []
    try:
        changes = finalized_draft(streams, invoice, at=ends_at)
    except InvalidInvoiceLines:
        return []
    return [change._replace(effective_at=change.effective_at or ends_at) for change in changes]


HANDLERS: Final[Mapping[type, Handler]] = {
    FinalizeInvoice: finalize_invoice,
    FinalizeWithTax: finalize_with_tax,
    RecordTaxUnanswered: record_tax_unanswered,
    VoidInvoice: void_invoice,
}
