"""What is decided about invoices that wait for usage to be counted: billing it, and not waiting for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import time_of
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL, InvalidInvoiceLines, InvoiceLine
from domain.invoicing.issuing import finalized_draft
from domain.invoicing.state import Invoice
from domain.invoicing.usage_line import UsageSnapshot, told_quantity
from domain.invoicing.usage_request import (
    BillUsage,
    InvoiceAwaitsNoUsage,
    InvoiceUsageCounted,
    InvoiceUsageHurried,
    UsageNotOfInvoice,
)
from domain.kernel.consequences import After
from domain.kernel.frozen import replace
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.pricing.amount import amount_of


def bill_usage(command: BillUsage, streams: Streams, now: datetime) -> Decision:
    """A draft whose time is over is finalized with it, of the instant at which that was, however late it is counted.

    Raises InvoiceAwaitsNoUsage, UsageNotOfInvoice, InvalidInvoiceLines.
    """
    draft = INVOICE.of(streams, command.invoice_id)
    if not draft.lacks_usage:
        raise InvoiceAwaitsNoUsage(invoice=draft.invoice_id, status=draft.status)
    counted = {each.line_id: each.snapshot for each in command.counted}
    awaited = {line.line_id for line in draft.lines if line.lacks_usage}
    if len(counted) != len(command.counted) or counted.keys() != awaited:
        raise UsageNotOfInvoice(invoice=draft.invoice_id, lines=len(awaited), counted=len(command.counted))
    lines = tuple(
        counted_line(line, counted[line.line_id]) if line.line_id in counted else line for line in draft.lines
    )
    changes = [INVOICE.change(InvoiceUsageCounted(invoice_id=draft.invoice_id, lines=lines))]
    at = time_of(streams, draft.customer_id, now)
    ends_at = None if draft.terms is None else draft.terms.finalizes_at
    if ends_at is None or ends_at > at:
        return Decision(at, changes)
    after = After(streams, changes)
    issued = finalized_draft(after, INVOICE.of(after, draft.invoice_id), at=ends_at)
    return Decision(ends_at, [*changes, *issued])


def counted_line(line: InvoiceLine, snapshot: UsageSnapshot) -> InvoiceLine:
    """The line with what was counted, and what that comes to by the price as it was sold.

    Raises InvalidInvoiceLines where that is more than an invoice holds.
    """
    by, usage = line.pricing, line.usage
    assert by is not None, "a price is sold with a meter"
    assert usage is not None, "it bills usage"
    amount = amount_of(by.price, snapshot.rated, by.rounding, by.share)
    if abs(amount.amount) > MAX_INVOICE_TOTAL:
        raise InvalidInvoiceLines(total=amount.amount, most=MAX_INVOICE_TOTAL)
    return replace(line, amount=amount, quantity=told_quantity(snapshot.rated), usage=replace(usage, snapshot=snapshot))


def hurried(draft: Invoice, days_until_due: int | None, streams: Streams, now: datetime) -> Decision:
    """What is counted by now is billed, without a look at what is still under way."""
    at = time_of(streams, draft.customer_id, now)
    assert draft.terms is not None, "it is a draft"
    ends_at = draft.terms.finalizes_at
    event = InvoiceUsageHurried(
        invoice_id=draft.invoice_id,
        days_until_due=draft.terms.days_until_due if days_until_due is None else days_until_due,
        finalizes_at=at if ends_at is None else min(ends_at, at),
        hurried_at=at,
    )
    changes: list[Change] = [INVOICE.change(event)]
    return Decision(at, changes)


HANDLERS: Final[Mapping[type, Handler]] = {
    BillUsage: bill_usage,
}
