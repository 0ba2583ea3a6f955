"""The lines of what came late for periods that are billed, and what the invoices that billed them say of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.late_usage import InvoiceUsageRerated, LateReason, LateUsage, Part, Rerated, given_back, parts_of
from domain.invoicing.slices import billed_with, parts_after
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_credit import usage_credit
from domain.invoicing.usage_line import LineUsage, UsageSnapshot, priced, told_quantity
from domain.invoicing.usage_request import RecountedUsage
from domain.kernel.frozen import replace
from domain.kernel.identifiers import INVOICE_LINE, derived_id
from domain.kernel.money import Money, sum_money
from domain.kernel.stream import Change, Streams
from domain.pricing.amount import explain


@dataclass(frozen=True, slots=True)
class _Known:
    """A period as it was last rated."""

    quantity: Fraction
    events: int
    amount: Money


def late_lines(
    of: RecountedUsage, closed: InvoiceLine, snapshot: UsageSnapshot, streams: Streams, invoice_id: str
) -> list[InvoiceLine]:
    """What an invoice bills, or gives back, of a period that an earlier one billed: one line of what is more, or for
    each line that billed it one of what is less, the first of which says the price for all. None where nothing is
    another, of an invoice that was voided, of a period that runs or that a later line bills, and where a later closing
    has told more of it by now.
    """
    invoice = INVOICE.of(streams, of.invoice_id)
    billed = invoice.valid_line(of.line_id)
    if billed is None or billed.pricing is None:
        return []
    is_cut_short = billed.line_id in invoice.cut_short
    if billed.bills_so_far and not is_cut_short:
        return []
    known = _known(invoice, billed)
    if known is None or _rated_with(invoice, billed, streams) > snapshot.closing:
        return []
    by = billed.pricing
    recounted = priced(replace(snapshot, quantity=of.quantity, events=of.events), by.price, of.amounts)
    whole = explain(by.price, recounted.measured, by.rounding, by.share, period_is_over=not is_cut_short)
    more = whole.amount - known.amount
    quantity = recounted.rated - max(known.quantity, Fraction(0))
    if more.is_zero and not quantity:
        return []
    assert billed.usage is not None, "it billed usage"
    late = LateUsage(
        invoice_id=of.invoice_id,
        line_id=of.line_id,
        closed_with=closed.line_id,
        reason=_reason(of.events - known.events),
        quantity=quantity,
        billed_before=known.amount,
        amount=more,
        is_cut_short=is_cut_short,
    )
    line = replace(
        billed,
        line_id=derived_id(INVOICE_LINE, invoice_id, f"late/{billed.line_id}"),
        amount=more,
        quantity=told_quantity(quantity),
        discounts=(),
        tax=None,
        usage=LineUsage(meter_id=billed.usage.meter_id, snapshot=recounted, late=late),
    )
    if not more.is_negative:
        return [line]
    parts = parts_of(parts_after(billed, invoice, streams), _of_line(invoice, billed.line_id))
    credits_ = (_credit(line, part, nth, streams) for nth, part in enumerate(given_back(parts, -more)))
    kept = [each for each in credits_ if each is not None]
    return [replace(each, pricing=None if nth else by) for nth, each in enumerate(kept)]


def rerated_by(lines: Iterable[InvoiceLine], invoice_id: str, at: datetime) -> list[Change]:
    """What the invoices that billed the periods of late lines say of it."""
    told: dict[str, list[Rerated]] = {}
    for line in lines:
        usage = line.usage
        if usage is None or usage.late is None or usage.snapshot is None:
            continue
        rerated = _rerated(line, usage.late, invoice_id, usage.late.amount, usage.snapshot)
        told.setdefault(usage.late.invoice_id, []).append(rerated)
    return _told(told, at)


def rerated_no_more(lines: Iterable[InvoiceLine], invoice_id: str, streams: Streams, at: datetime) -> list[Change]:
    """That an invoice is voided which billed late usage, or gave it back."""
    told: dict[str, list[Rerated]] = {}
    for line in lines:
        usage = line.usage
        if usage is None or usage.late is None:
            continue
        invoice = INVOICE.of(streams, usage.late.invoice_id)
        before = [
            each
            for each in _of_line(invoice, usage.late.line_id)
            if each.by_invoice_id != invoice_id
            and INVOICE.of(streams, each.by_invoice_id).status is not InvoiceStatus.VOID
        ]
        billed = next(each for each in invoice.lines if each.line_id == usage.late.line_id)
        first = None if billed.usage is None else billed.usage.snapshot
        if first is None:
            continue  # an outdated state, from before that was counted: it is decided again
        rerated = _rerated(line, usage.late, invoice_id, -usage.late.amount, before[-1] if before else first)
        told.setdefault(invoice.invoice_id, []).append(rerated)
    return _told(told, at)


def _rerated(
    line: InvoiceLine, late: LateUsage, invoice_id: str, amount: Money, known: Rerated | UsageSnapshot
) -> Rerated:
    of = line.gives_back
    return Rerated(
        line_id=late.line_id,
        by_invoice_id=invoice_id,
        by_line_id=line.line_id,
        amount=amount,
        quantity=known.quantity,
        events=known.events,
        of_invoice_id=None if of is None else of.invoice_id,
        of_line_id=None if of is None else of.line_id,
    )


def _told(rerated: dict[str, list[Rerated]], at: datetime) -> list[Change]:
    return [
        INVOICE.change(InvoiceUsageRerated(invoice_id=invoice_id, rerated=tuple(each), rerated_at=at))
        for invoice_id, each in rerated.items()
    ]


def _known(invoice: Invoice, billed: InvoiceLine) -> _Known | None:
    """The period of a line as it was last rated, by whatever lines; None where it is not counted at all yet."""
    snapshot = None if billed.usage is None else billed.usage.snapshot
    if snapshot is None:
        return None
    rerated = _of_line(invoice, billed.line_id)
    amount = sum_money((billed_with(billed, invoice), *(each.amount for each in rerated)), invoice.currency)
    if not rerated:
        return _Known(snapshot.quantity, snapshot.events, amount)
    return _Known(rerated[-1].quantity, rerated[-1].events, amount)


def _rated_with(invoice: Invoice, billed: InvoiceLine, streams: Streams) -> int:
    """The number of the closing by which a period was rated last, of those that were not voided."""
    found = [0]
    for each in _of_line(invoice, billed.line_id):
        line = INVOICE.of(streams, each.by_invoice_id).valid_line(each.by_line_id)
        if line is not None and line.usage is not None and line.usage.snapshot is not None:
            found.append(line.usage.snapshot.closing)
    return max(found)


def _of_line(invoice: Invoice, line_id: str) -> Sequence[Rerated]:
    return [each for each in invoice.rerated if each.line_id == line_id]


def _reason(events: int) -> LateReason:
    if not events:
        return LateReason.CORRECTED
    return LateReason.LATE if events > 0 else LateReason.VOIDED


def _credit(line: InvoiceLine, part: Part, nth: int, streams: Streams) -> InvoiceLine | None:
    """A part of what is less; None where nothing of it is to be given back."""
    line_id = line.line_id if nth == 0 else derived_id(INVOICE_LINE, line.line_id, str(nth))
    credit = usage_credit(line, part, line_id, streams)
    if credit is None:
        return None
    assert line.usage is not None, "it is of usage"
    assert line.usage.late is not None, "it is of late usage"
    assert credit.gives_back is not None, "it is a credit"
    assert credit.gives_back.gross is not None, "it is of usage"
    return replace(
        credit,
        quantity=line.quantity if nth == 0 else Decimal(0),
        usage=replace(line.usage, late=replace(line.usage.late, amount=-credit.gives_back.gross)),
    )
