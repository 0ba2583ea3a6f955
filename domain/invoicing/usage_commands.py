"""What is decided about invoices that wait for usage to be counted: billing it, and not waiting for it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.customers.customer import time_of
from domain.invoicing.giving_back import unused_credited
from domain.invoicing.grace import shortened
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL, InvalidInvoiceLines, InvoiceLine
from domain.invoicing.issuing import finalized_draft
from domain.invoicing.rerating import late_lines, rerated_by
from domain.invoicing.slices import billed_before, charged, credits_of
from domain.invoicing.state import Invoice
from domain.invoicing.usage_line import UsageSnapshot, priced, told_quantity
from domain.invoicing.usage_request import (
    BillUsage,
    CountedUsage,
    InvoiceAwaitsNoUsage,
    InvoiceUsageCounted,
    InvoiceUsageHurried,
    RecountedUsage,
    UsageNotOfInvoice,
)
from domain.kernel.consequences import After
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.pricing.amount import amount_of


def bill_usage(command: BillUsage, streams: Streams, now: datetime) -> Decision:
    """A draft whose time is over is finalized with it, of the instant at which that was, however late it is counted.

    Raises InvoiceAwaitsNoUsage, UsageNotOfInvoice, InvalidInvoiceLines.
    """
    draft = INVOICE.of(streams, command.invoice_id)
    if not draft.lacks_usage:
        raise InvoiceAwaitsNoUsage(invoice=draft.invoice_id, status=draft.status)
    awaited = sorted(line.line_id for line in draft.lines if line.lacks_usage)
    if sorted(each.line_id for each in command.counted) != awaited:
        raise UsageNotOfInvoice(invoice=draft.invoice_id, lines=len(awaited), counted=len(command.counted))
    at = time_of(streams, draft.customer_id, now)
    changes = counted(draft, command.counted, streams, at)
    ends_at = None if draft.terms is None else draft.terms.finalizes_at
    if ends_at is None or ends_at > at:
        return Decision(at, changes)
    after = After(streams, changes)
    issued = finalized_draft(after, INVOICE.of(after, draft.invoice_id), at=ends_at)
    return Decision(ends_at, [*changes, *issued])


def counted(draft: Invoice, figures: tuple[CountedUsage, ...], streams: Streams, at: datetime) -> list[Change]:
    """The draft with what was counted, and what that says of earlier invoices. Raises InvalidInvoiceLines."""
    lines = _counted_lines(draft, figures, streams)
    return [
        INVOICE.change(InvoiceUsageCounted(invoice_id=draft.invoice_id, lines=lines)),
        *rerated_by(lines, draft.invoice_id, at),
        *unused_credited(lines[len(draft.lines) :], draft.invoice_id, at),
    ]


def _counted_lines(draft: Invoice, figures: tuple[CountedUsage, ...], streams: Streams) -> tuple[InvoiceLine, ...]:
    """Its lines with what was counted, and behind them what they give back and what came late. For a period on the
    invoice itself it is not late. Of the closings that tell of one period the last knows all that the others do, and it
    alone is billed.
    """
    snapshots = {each.line_id: each.snapshot for each in figures}
    amounts = {each.line_id: each.amounts for each in figures}
    late: dict[tuple[str, str], tuple[RecountedUsage, str]] = {}
    for each in sorted(figures, key=lambda each: each.snapshot.closing):
        for of in each.late:
            if of.invoice_id == draft.invoice_id:
                known = snapshots[of.line_id]
                snapshots[of.line_id] = replace(known, quantity=of.quantity, events=of.events)
                amounts[of.line_id] = of.amounts
            else:
                late[of.invoice_id, of.line_id] = of, each.line_id
    lines = [
        counted_line(line, snapshots[line.line_id], amounts[line.line_id], billed_before(line, streams))
        if line.line_id in snapshots
        else line
        for line in draft.lines
    ]
    by_id = {line.line_id: line for line in lines}
    for each in figures:
        lines += credits_of(by_id[each.line_id], streams, draft.invoice_id)
    for of, line_id in late.values():
        lines += late_lines(of, by_id[line_id], snapshots[line_id], streams, draft.invoice_id)
    return tuple(lines)


def counted_line(
    line: InvoiceLine, counted_: UsageSnapshot, amounts: tuple[Decimal, ...], before: Money
) -> InvoiceLine:
    """The line with what was counted, and what that comes to by the price as it was sold, less what was billed of the
    period `before`. `amounts` are those of the single events, where the meter keeps them.

    Raises InvalidInvoiceLines where that is more than an invoice holds.
    """
    by, usage = line.pricing, line.usage
    assert by is not None, "a price is sold with a meter"
    assert usage is not None, "it bills usage"
    snapshot, progress = priced(counted_, by.price, amounts), usage.progress
    if progress is None:
        amount = amount_of(by.price, snapshot.measured, by.rounding, by.share)
    else:
        amount, progress = charged(line, progress, snapshot, before)
    if abs(amount.amount) > MAX_INVOICE_TOTAL:
        raise InvalidInvoiceLines(total=amount.amount, most=MAX_INVOICE_TOTAL)
    counted = replace(usage, snapshot=snapshot, progress=progress)
    return replace(line, amount=amount, quantity=told_quantity(snapshot.rated), usage=counted)


def hurried(draft: Invoice, days_until_due: int | None, streams: Streams, now: datetime) -> Decision:
    """A draft's time is over, and its usage closed with all that was accepted by now. Once it is over what is counted
    by now is billed, without a look at what is still under way.
    """
    at = time_of(streams, draft.customer_id, now)
    if ended := shortened(draft, streams, to=at, at=at, days_until_due=days_until_due):
        return Decision(at, ended)
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
