"""Periods of usage that several lines bill, each what the period came to so far less what those before it billed."""

from datetime import datetime

from domain.discounts.discount import DISCOUNT
from domain.invoicing.discounting import off_before, used_by_end
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.late_usage import InvoiceUsageCutShort, Part, Rerated, given_back, less
from domain.invoicing.progressive import charge_to_date
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_credit import usage_credit
from domain.invoicing.usage_line import UsageProgress, UsageSlice, UsageSnapshot
from domain.kernel.frozen import replace
from domain.kernel.identifiers import INVOICE_LINE, derived_id
from domain.kernel.money import Money, sum_money
from domain.kernel.stream import Change, Streams


def billed_by(progress: UsageProgress, streams: Streams) -> list[Part]:
    """What the lines before it billed of the period; nothing of an invoice that is void, or not counted yet."""
    return [part for each in progress.before for part in billed_by_slice(each, INVOICE.of(streams, each.invoice_id))]


def billed_by_slice(slice_: UsageSlice, invoice: Invoice) -> list[Part]:
    """The same of one of them, which is on this invoice."""
    line = invoice.valid_line(slice_.line_id)
    return [] if line is None or line.amount.is_zero else [Part(slice_.invoice_id, slice_.line_id, line.amount)]


def billed_before(line: InvoiceLine, streams: Streams) -> Money:
    """What lines before this one billed of its period."""
    progress = line.progress
    parts = () if progress is None else billed_by(progress, streams)
    return sum_money((part.amount for part in parts), line.amount.currency)


def charged(
    line: InvoiceLine, progress: UsageProgress, snapshot: UsageSnapshot, before: Money
) -> tuple[Money, UsageProgress]:
    """What a line bills of a period of which so much was billed `before`, never less than nothing, and what it says of
    that. What the period promises at least counts on its last line.
    """
    by = line.pricing
    assert by is not None, "a price is sold with a meter"
    found = charge_to_date(by.price, snapshot.measured, before, by.rounding, by.share, is_last=progress.is_last)
    amount = max(found.due, Money.zero(before.currency))
    return amount, replace(progress, charge=found.so_far.amount, billed_before=before)


def credits_of(line: InvoiceLine, streams: Streams, invoice_id: str) -> list[InvoiceLine]:
    """What a period's last line gives back of those before it, where they billed more than the period came to: of what
    was billed last first.
    """
    progress = line.progress
    if progress is None or not progress.is_last or progress.charge is None or progress.billed_before is None:
        return []
    surplus = progress.billed_before - progress.charge
    if surplus.amount <= 0:
        return []
    back = given_back(billed_by(progress, streams), surplus)
    found = (
        usage_credit(line, part, derived_id(INVOICE_LINE, invoice_id, f"slices/{line.line_id}/{nth}"), streams)
        for nth, part in enumerate(back)
    )
    return [each for each in found if each is not None]


def parts_after(line: InvoiceLine, invoice: Invoice, streams: Streams) -> list[Part]:
    """The lines that bill the period of a counted line of this invoice, the first one first."""
    progress = line.progress
    own = [] if line.amount.is_zero else [Part(invoice.invoice_id, line.line_id, line.amount)]
    if progress is None:
        return own
    return [*less(billed_by(progress, streams), _credited_beside(progress, invoice)), *own]


def billed_with(line: InvoiceLine, invoice: Invoice) -> Money:
    """What a counted line of this invoice and those before it bill of its period: the charge, or more where less was
    left of those before than was to be given back.
    """
    progress = line.progress
    if progress is None or progress.billed_before is None:
        return line.amount
    credited = (part.amount for part in _credited_beside(progress, invoice))
    return progress.billed_before + line.amount - sum_money(credited, invoice.currency)


def _credited_beside(progress: UsageProgress, invoice: Invoice) -> list[Part]:
    """What the invoice of a period's last line gives back of the lines before it."""
    before = {(each.invoice_id, each.line_id) for each in progress.before}
    return [
        Part(of.invoice_id, of.line_id, of.gross)
        for line in invoice.lines
        if (of := line.gives_back) is not None
        and line.late is None
        and of.invoice_id is not None
        and of.gross is not None
        and (of.invoice_id, of.line_id) in before
    ]


def cut_short_by(voided: Invoice, streams: Streams, at: datetime) -> list[Change]:
    """That periods end with the last lines that bill them and are not void, as those are void that billed the rest: so
    what comes late for their own time is still billed, and what is taken back of it given back. Not where a later
    invoice has billed some of that with the rest.
    """
    ends_with: dict[str, list[str]] = {}
    used_by: dict[str, str] = {}
    rated = {each.line_id for each in rated_by_later(voided, streams)}
    for line in voided.lines:
        progress = line.progress
        if progress is None or line.line_id in rated or not (progress.is_last or line.line_id in voided.cut_short):
            continue
        last = _last_valid(progress, streams)
        if last is not None:
            ends_with.setdefault(last.invoice_id, []).append(last.line_id)
            for discount_id in _discounts_ended(line, voided, INVOICE.of(streams, last.invoice_id), streams):
                used_by.setdefault(discount_id, last.invoice_id)
    changes: list[Change] = []
    for invoice_id, line_ids in ends_with.items():
        event = InvoiceUsageCutShort(
            invoice_id=invoice_id,
            line_ids=tuple(line_ids),
            voided_invoice_id=voided.invoice_id,
            discount_ids=tuple(each for each, by in used_by.items() if by == invoice_id),
            cut_short_at=at,
        )
        changes += [INVOICE.change(event), *used_by_end(invoice_id, event.discount_ids, streams, at)]
    return changes


def _last_valid(progress: UsageProgress, streams: Streams) -> UsageSlice | None:
    """The last of the lines before it that is not void."""
    invoices = ((each, INVOICE.of(streams, each.invoice_id)) for each in reversed(progress.before))
    return next((each for each, invoice in invoices if invoice.status is not InvoiceStatus.VOID), None)


def _discounts_ended(line: InvoiceLine, voided: Invoice, ending: Invoice, streams: Streams) -> list[str]:
    """Those that took something off a period that ends with another invoice, and use it by that. Where the void one had
    used it, or where the other is still to be discounted, which uses it then, there are none.
    """
    if _is_discounted(voided) or not _is_discounted(ending):
        return []
    return [
        discount_id
        for discount_id, off in off_before(line, streams).items()
        if not off.is_zero and DISCOUNT.of(streams, discount_id).periods_left
    ]


def _is_discounted(invoice: Invoice) -> bool:
    """Whether its discounts were taken off, and counted: a draft that waits for its tax is as if it were finalized."""
    return invoice.finalized_at is not None or invoice.awaited_tax is not None


def rated_by_later(invoice: Invoice, streams: Streams) -> list[Rerated]:
    """What later invoices that are not void billed, or gave back, of its periods."""
    return [
        each
        for each in invoice.rerated
        if not each.amount.is_zero and INVOICE.of(streams, each.by_invoice_id).status is not InvoiceStatus.VOID
    ]
