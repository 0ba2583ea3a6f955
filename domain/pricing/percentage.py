"""Percentage: a rate of each event's amount and a fixed amount for each event."""

from collections.abc import Sequence
from decimal import Decimal

from domain.kernel.percent import percent_of
from domain.kernel.rounding import EXACT
from domain.pricing.breakdown import Portion, PortionKind
from domain.pricing.models import ZERO, Percentage


def percentage_portions(price: Percentage, amounts: Sequence[Decimal]) -> list[Portion]:
    """What the events cost together, exactly; `amounts` are minor units, in order of time.

    The first `free_events` are free of the rate and of the fixed amount (vector 21, from another engine's suite).
    An event with a negative amount gives back what its mirror image costs. Never falls as events of positive amounts
    are added.
    """
    charged_amounts = amounts[price.free_events :]
    free = min(price.free_events, len(amounts))
    base, signed_events = ZERO, 0
    raised_by, cut_by = ZERO, ZERO
    bounded = price.event_minimum is not None or price.event_maximum is not None
    for amount in charged_amounts:
        sign = -1 if amount < ZERO else 1
        base = EXACT.add(base, amount)
        signed_events += sign
        if not bounded:
            continue
        cost = EXACT.add(percent_of(abs(amount), price.percent), price.fixed_amount)
        if price.event_minimum is not None and cost < price.event_minimum:
            raised_by = EXACT.add(raised_by, EXACT.multiply(sign, EXACT.subtract(price.event_minimum, cost)))
        elif price.event_maximum is not None and cost > price.event_maximum:
            cut_by = EXACT.add(cut_by, EXACT.multiply(sign, EXACT.subtract(price.event_maximum, cost)))
    portions: list[Portion] = []
    if free:
        portions.append(Portion(PortionKind.FREE_EVENTS, Decimal(free), ZERO, ZERO))
    if charged_amounts:
        portions.append(Portion(PortionKind.PERCENT, base, price.percent, percent_of(base, price.percent)))
        if price.fixed_amount:
            fixed = EXACT.multiply(signed_events, price.fixed_amount)
            portions.append(Portion(PortionKind.FIXED_PER_EVENT, Decimal(signed_events), price.fixed_amount, fixed))
    if raised_by:
        portions.append(Portion(PortionKind.EVENT_MINIMUM, Decimal(1), raised_by, raised_by))
    if cut_by:
        portions.append(Portion(PortionKind.EVENT_MAXIMUM, Decimal(1), cut_by, cut_by))
    return portions
