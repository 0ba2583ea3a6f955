"""Percentage: a rate of each event's amount and a fixed amount for each event."""

from collections.abc import Sequence
from fractions import Fraction

from domain.kernel.percent import percent_of
from domain.pricing.breakdown import Portion, PortionKind, plain
from domain.pricing.models import NOTHING, Percentage


def percentage_portions(price: Percentage, amounts: Sequence[Fraction]) -> list[Portion]:
    """What the events cost together, exactly; `amounts` are minor units, in order of time.

    The first `free_events` are free of the rate and of the fixed amount (vector 21, from another engine's suite).
    An event with a negative amount vacates the last place taken: a free one is free again and gives back nothing, for a
    charged one it gives back what its mirror image costs. Together the events never come to less than nothing: what was
    not charged is not given back (this project's policy). Never falls as events of positive amounts are added.
    """
    charged = _charged(amounts, price.free_events)
    free = len(amounts) - len(charged)
    raised_by = cut_by = NOTHING
    if price.event_minimum is not None or price.event_maximum is not None:
        for amount in charged:
            cost = percent_of(abs(amount), price.percent) + Fraction(price.fixed_amount)
            if price.event_minimum is not None and cost < price.event_minimum:
                raised_by += _sign(amount) * (price.event_minimum - cost)
            elif price.event_maximum is not None and cost > price.event_maximum:
                cut_by += _sign(amount) * (price.event_maximum - cost)
    portions: list[Portion] = []
    if free:
        portions.append(Portion(PortionKind.FREE_EVENTS, Fraction(free), NOTHING, NOTHING))
    if charged:
        base = sum(charged, NOTHING)
        portions.append(Portion(PortionKind.PERCENT, base, Fraction(price.percent), percent_of(base, price.percent)))
        if price.fixed_amount:
            events, fixed = Fraction(sum(_sign(amount) for amount in charged)), Fraction(price.fixed_amount)
            portions.append(Portion(PortionKind.FIXED_PER_EVENT, events, fixed, events * fixed))
    if raised_by:
        portions.append(plain(PortionKind.EVENT_MINIMUM, raised_by))
    if cut_by:
        portions.append(plain(PortionKind.EVENT_MAXIMUM, cut_by))
    total = sum((portion.amount for portion in portions), NOTHING)
    if total < 0:
        portions.append(plain(PortionKind.NEVER_CHARGED, -total))
    return portions


def _charged(amounts: Sequence[Fraction], free_events: int) -> list[Fraction]:
    """The events that cost something, or give back what was charged."""
    charged: list[Fraction] = []
    places_taken = 0
    for amount in amounts:
        if amount < 0:
            if places_taken > free_events:
                charged.append(amount)
            places_taken = max(places_taken - 1, 0)
        else:
            if places_taken >= free_events:
                charged.append(amount)
            places_taken += 1
    return charged


def _sign(amount: Fraction) -> int:
    return -1 if amount < 0 else 1
