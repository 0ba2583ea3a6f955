"""Why a line of usage comes to its amount: its period by the price as it was sold, less what was billed before."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from domain.invoicing.invoice_line import InvoiceLine, LinePricing
from domain.invoicing.unused_credit import GivesBack
from domain.invoicing.usage_line import LineUsage, UsageSnapshot
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.pricing.amount import explain
from domain.pricing.breakdown import Breakdown, Portion, PortionKind, plain

_NOTHING = Fraction(0)


def priced_by(lines: Iterable[InvoiceLine]) -> list[LinePricing | None]:
    """What priced each line of an invoice: of the credits that give one period's late usage back, the first says it."""
    known: dict[tuple[str, str], LinePricing] = {}
    found: list[LinePricing | None] = []
    for line in lines:
        late = line.late
        if late is None:
            found.append(line.pricing)
            continue
        period = late.invoice_id, late.line_id
        if line.pricing is not None:
            known[period] = line.pricing
        found.append(known.get(period))
    return found


def explain_usage(line: InvoiceLine, usage: LineUsage, by: LinePricing) -> Breakdown:
    """By what was measured exactly; usage that is not counted yet comes to nothing."""
    if usage.snapshot is None:
        return Breakdown(portions=(), rounding_difference=_NOTHING, amount=line.amount)
    whole = _whole_period(line, usage, usage.snapshot, by)
    before = _billed_before(usage, whole, line.amount)
    if before.is_zero and usage.late is None:
        return whole
    portions = (*whole.portions, _less(before), *_elsewhere(line.amount - (whole.amount - before)))
    return replace(whole, portions=portions, amount=line.amount)


def explain_credit(line: InvoiceLine, of: GivesBack, gross: Money, by: LinePricing | None) -> Breakdown:
    """What gives back so much (`gross`, before discounts) of a line of usage: late usage by what its period comes to
    now, less what was billed of it and what other lines give back of that; and what discounts had left unpaid.
    """
    portions: Sequence[Portion] = (plain(PortionKind.GIVEN_BACK, Fraction(-gross.amount)),)
    rounded = _NOTHING
    late = line.late
    if line.usage is not None and line.usage.snapshot is not None and late is not None and by is not None:
        whole = _whole_period(line, line.usage, line.usage.snapshot, by)
        rounded = whole.rounding_difference
        other = _elsewhere(-gross - (whole.amount - late.billed_before))
        portions = (*whole.portions, _less(late.billed_before), *other)
    unpaid = gross.amount * (1 - of.paid_part)
    if unpaid:
        portions = (*portions, plain(PortionKind.NOT_PAID, unpaid))
    rounded += line.amount.amount + gross.amount * of.paid_part
    return Breakdown(portions=tuple(portions), rounding_difference=rounded, amount=line.amount)


def _whole_period(line: InvoiceLine, usage: LineUsage, snapshot: UsageSnapshot, by: LinePricing) -> Breakdown:
    """All that the period had come to; a figure below zero counts as zero, and is told."""
    is_cut_short = usage.late is not None and usage.late.is_cut_short
    is_over = not (line.bills_so_far or is_cut_short)
    found = explain(by.price, snapshot.measured, by.rounding, by.share, period_is_over=is_over)
    is_told = any(portion.kind is PortionKind.NEVER_CHARGED for portion in found.portions)
    if snapshot.quantity >= 0 or is_told:
        return found
    below = Portion(PortionKind.NOT_BELOW_ZERO, snapshot.quantity, _NOTHING, _NOTHING)
    return replace(found, portions=(below, *found.portions))


def _billed_before(usage: LineUsage, whole: Breakdown, amount: Money) -> Money:
    if usage.late is not None:
        return usage.late.billed_before
    if usage.progress is None:
        return Money.zero(amount.currency)
    return whole.amount - amount if usage.progress.billed_before is None else usage.progress.billed_before


def _less(before: Money) -> Portion:
    return plain(PortionKind.BILLED_BEFORE, Fraction(-before.amount))


def _elsewhere(amount: Money) -> tuple[Portion, ...]:
    return () if amount.is_zero else (plain(PortionKind.GIVEN_BACK_ELSEWHERE, Fraction(amount.amount)),)
