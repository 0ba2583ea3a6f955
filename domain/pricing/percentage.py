"""Percentage: a rate of each event's amount and a fixed amount for each event."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from domain.kernel.percent import factor_of, percent_of
from domain.kernel.rounding import EXACT, exactly
from domain.pricing.breakdown import Portion, PortionKind, plain
from domain.pricing.measured import ChargedEvents
from domain.pricing.models import NOTHING, ZERO, Percentage


def charged_events(price: Percentage, amounts: Sequence[Decimal]) -> ChargedEvents:
    """What the events come to together, exactly; `amounts` are minor units, in order of time.

    The first `free_events` are free of the rate and of the fixed amount (vector 21, from another engine's suite).
    An event with a negative amount vacates the last place taken: a free one is free again and gives back nothing, for a
    charged one it gives back what its mirror image costs.
    """
    charged, free = _charged(amounts, price.free_events)
    base, signed_events, raised_by, cut_by = ZERO, 0, ZERO, ZERO
    bounded = price.event_minimum is not None or price.event_maximum is not None
    factor = factor_of(price.percent)
    for amount in charged:
        sign = -1 if amount < ZERO else 1
        base = EXACT.add(base, amount)
        signed_events += sign
        if not bounded:
            continue
        cost = EXACT.fma(abs(amount), factor, price.fixed_amount)
        if price.event_minimum is not None and cost < price.event_minimum:
            raised_by = EXACT.add(raised_by, EXACT.multiply(sign, EXACT.subtract(price.event_minimum, cost)))
        elif price.event_maximum is not None and cost > price.event_maximum:
            cut_by = EXACT.add(cut_by, EXACT.multiply(sign, EXACT.subtract(price.event_maximum, cost)))
    return ChargedEvents(
        free=free,
        charged=len(charged),
        base=Fraction(base),
        events=signed_events,
        raised_by=Fraction(raised_by),
        cut_by=Fraction(cut_by),
    )


def percentage_portions(price: Percentage, of: ChargedEvents) -> list[Portion]:
    """What the events cost together, exactly. They never come to less than nothing: what was not charged is not given
    back (this project's policy). Never falls as events of positive amounts are added.
    """
    portions: list[Portion] = []
    if of.free:
        portions.append(Portion(PortionKind.FREE_EVENTS, Fraction(of.free), NOTHING, NOTHING))
    if of.charged:
        rate, amount_taken = exactly(price.percent), percent_of(of.base, price.percent)
        portions.append(Portion(PortionKind.PERCENT, of.base, rate, amount_taken))
        if price.fixed_amount:
            fixed, events = exactly(price.fixed_amount), Fraction(of.events)
            portions.append(Portion(PortionKind.FIXED_PER_EVENT, events, fixed, events * fixed))
    if of.raised_by:
        portions.append(plain(PortionKind.EVENT_MINIMUM, of.raised_by))
    if of.cut_by:
        portions.append(plain(PortionKind.EVENT_MAXIMUM, of.cut_by))
    total = sum((portion.amount for portion in portions), NOTHING)
    if total < 0:
        portions.append(plain(PortionKind.NEVER_CHARGED, -total))
    return portions


def _charged(amounts: Sequence[Decimal], free_events: int) -> tuple[list[Decimal], int]:
    """The events that cost something, or give back what was charged; and how many free places are taken in the end."""
    charged: list[Decimal] = []
    places_taken = 0
    for amount in amounts:
        if amount < ZERO:
            if places_taken > free_events:
                charged.append(amount)
            places_taken = max(places_taken - 1, 0)
        else:
            if places_taken >= free_events:
                charged.append(amount)
            places_taken += 1
    return charged, min(places_taken, free_events)
