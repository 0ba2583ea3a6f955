"""An independent, deliberately naive way to the same amounts: fractions throughout, no class or function of `domain`.

Prices are plain tuples here; where the real code walks the tiers, this one adds up changes of slope, tries every tier,
or counts blocks one by one. Splits hand out one minor unit at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

Row = tuple[Fraction, Fraction | None, Fraction, int]
"""A tier: above, up to (None: no end), unit amount or percent, flat amount."""


def half_up(value: Fraction) -> int:
    """Halves away from zero, by the school's rule."""
    whole = int(abs(value) + Fraction(1, 2))
    return -whole if value < 0 else whole


def half_even(value: Fraction) -> int:
    below = value.numerator // value.denominator
    over = value - below
    if over == Fraction(1, 2):
        return below if below % 2 == 0 else below + 1
    return below if over < Fraction(1, 2) else below + 1


def mirrored(quantity: Fraction, positive: Fraction) -> Fraction:
    return -positive if quantity < 0 else positive


def charged(quantity: Fraction, free: Fraction) -> Fraction:
    return max(Fraction(0), abs(quantity) - free)


def per_unit(quantity: Fraction, unit_amount: Fraction, free: Fraction) -> Fraction:
    return mirrored(quantity, charged(quantity, free) * unit_amount)


def graduated(quantity: Fraction, rows: Sequence[Row], free: Fraction) -> Fraction:
    """A sum of ramps: at each bound the slope changes from the tier before to this one."""
    units = charged(quantity, free)
    amount, slope = Fraction(0), Fraction(0)
    for index, (above, _, unit_amount, flat) in enumerate(rows):
        amount += (unit_amount - slope) * max(Fraction(0), units - above)
        slope = unit_amount
        if index == 0 or (units > above and quantity > 0):
            amount += mirrored(quantity, Fraction(flat))
    return mirrored(quantity, amount)


def volume(quantity: Fraction, rows: Sequence[Row], free: Fraction) -> Fraction:
    units = charged(quantity, free)
    reached = [row for index, row in enumerate(rows) if index == 0 or units > row[0]][-1]
    if quantity < 0:
        return rows[0][3] - units * reached[2]
    return units * reached[2] + reached[3]


def package(quantity: Fraction, size: Fraction, amount: int, free: Fraction) -> Fraction:
    units, blocks = charged(quantity, free), 0
    if quantity < 0:
        while (blocks + 1) * size <= units:
            blocks += 1
        return Fraction(-blocks * amount)
    while blocks * size < units:
        blocks += 1
    return Fraction(blocks * amount)


def percentage(
    events: Sequence[Fraction],
    percent: Fraction,
    fixed: Fraction,
    free_events: int,
    minimum: int | None,
    maximum: int | None,
) -> Fraction:
    """Events stand on a pile; a negative one takes off the topmost and gives back something if that was charged."""
    amount = Fraction(0)
    pile: list[str] = []
    for event in events:
        if event >= 0:
            pile.append("free" if len(pile) < free_events else "charged")
            topmost = pile[-1]
        else:
            topmost = pile.pop() if pile else "free"
        if topmost == "free":
            continue
        cost = abs(event) * percent / 100 + fixed
        cost = cost if minimum is None else max(cost, Fraction(minimum))
        cost = cost if maximum is None else min(cost, Fraction(maximum))
        amount += mirrored(event, cost)
    return max(amount, Fraction(0))


def graduated_percentage(total: Fraction, rows: Sequence[Row]) -> Fraction:
    return graduated(total, [(above, end, percent / 100, flat) for above, end, percent, flat in rows], Fraction(0))


def bounded(
    usage: Fraction,
    share: Fraction,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    commitment: tuple[int, Fraction, bool] | None = None,
) -> Fraction:
    amount = usage
    if commitment is not None:
        promised, factor, prepaid = commitment
        covers = Fraction(half_up(promised * share)) if prepaid else promised * share
        beyond = max(Fraction(0), usage - covers)
        amount = beyond * factor + (0 if prepaid else covers)
    if minimum is not None:
        amount = max(amount, minimum * share)
    if maximum is not None:
        amount = min(amount, maximum * share)
    return amount


# --- an invoice -------------------------------------------------------------------------------------------------------


@dataclass
class Bill:
    """The naive invoice, line by line, in minor units."""

    discounts: list[int] = field(default_factory=list)
    taxes: list[dict[str, int]] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    draws: list[tuple[str, int]] = field(default_factory=list)
    due: int = 0


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Whole units by proportion, then one unit at a time to whoever is furthest below their exact share."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    exact = [Fraction(total * weight, whole) for weight in weights]
    parts = [int(share) for share in exact]
    while sum(parts) < total:
        lacking = [share - part for share, part in zip(exact, parts, strict=True)]
        parts[lacking.index(max(lacking))] += 1
    return parts


def invoice(
    amounts: Sequence[int],
    products: Sequence[str],
    rates: Sequence[dict[str, Fraction]],
    *,
    inclusive: bool,
    coupons: Sequence[tuple[str, Fraction, Sequence[str]]],
    grants: Sequence[tuple[str, int, int]],
) -> Bill:
    """Positive lines only. Coupons: ("percent" or "fixed", figure, products). Grants: (id, days left, minor units)."""
    left = list(amounts)
    for kind in ("percent", "fixed"):
        for coupon_kind, figure, only in coupons:
            if coupon_kind != kind:
                continue
            weights = [
                amount if not only or product in only else 0 for amount, product in zip(left, products, strict=True)
            ]
            whole = sum(weights)
            discount = half_up(whole * figure / 100) if kind == "percent" else min(int(figure), whole)
            left = [amount - part for amount, part in zip(left, split(discount, weights), strict=True)]
    bill = Bill(discounts=[before - after for before, after in zip(amounts, left, strict=True)])
    bill.taxes = [{} for _ in amounts]
    if inclusive:
        _included(bill, left, rates)
    else:
        _on_top(bill, left, rates)
    for amount, taxes in zip(left, bill.taxes, strict=True):
        bill.totals.append(amount if inclusive else amount + sum(taxes.values()))
    bill.due = sum(bill.totals)
    for grant_id, _, value in sorted(grants, key=lambda grant: (grant[1], grant[0])):
        paid = min(bill.due, value)
        if paid:
            bill.draws.append((grant_id, paid))
            bill.due -= paid
    return bill


def _on_top(bill: Bill, left: Sequence[int], rates: Sequence[dict[str, Fraction]]) -> None:
    for name in {name for line_rates in rates for name in line_rates}:
        weights = [amount if name in line_rates else 0 for amount, line_rates in zip(left, rates, strict=True)]
        percent = next(line_rates[name] for line_rates in rates if name in line_rates)
        parts = split(half_up(sum(weights) * percent / 100), weights)
        for taxes, line_rates, part in zip(bill.taxes, rates, parts, strict=True):
            if name in line_rates:
                taxes[name] = part


def _included(bill: Bill, left: Sequence[int], rates: Sequence[dict[str, Fraction]]) -> None:
    done: list[list[str]] = []
    for line_rates in rates:
        names = list(line_rates)
        if not names or names in done:
            continue
        done.append(names)
        weights = [amount if list(other) == names else 0 for amount, other in zip(left, rates, strict=True)]
        together = sum(line_rates.values(), Fraction(0))
        tax = half_up(sum(weights) * together / (100 + together))
        scale = 10**12
        by_rate = split(tax, [int(percent * scale) for percent in line_rates.values()])
        for name, part in zip(names, by_rate, strict=True):
            for taxes, other, share in zip(bill.taxes, rates, split(part, weights), strict=True):
                if list(other) == names:
                    taxes[name] = share


# --- usage ------------------------------------------------------------------------------------------------------------


def unit_seconds(levels: Sequence[tuple[int, Fraction]], start: int, end: int, carried_in: Fraction) -> Fraction:
    """The gauge's level added up second by second; levels are (second, value) in order of time."""
    total, level = Fraction(0), carried_in
    for second in range(start, end):
        for at, value in levels:
            if at <= second:
                level = value
        total += level
    return total
