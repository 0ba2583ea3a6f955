"""Graduated percentage: each tier takes its rate of its own slice of the amount."""

from decimal import Decimal

from domain.kernel.percent import percent_of
from domain.kernel.rounding import EXACT
from domain.pricing.breakdown import Portion, PortionKind
from domain.pricing.models import ONE, ZERO, GraduatedPercentage


def graduated_percentage_portions(price: GraduatedPercentage, total: Decimal) -> list[Portion]:
    """What each tier reached by `total` minor units (zero or more) adds, exactly.

    Bounds and flat amounts follow the graduated model: a bound belongs to the lower tier, the first tier's flat
    amount is due at zero. Continuous except where a tier above the first has a flat amount; never falls.
    """
    portions: list[Portion] = []
    for number, tier in enumerate(price.tiers, start=1):
        if number > 1 and total <= tier.above:
            break
        if tier.flat_amount:
            flat = Decimal(tier.flat_amount)
            portions.append(Portion(PortionKind.TIER_FLAT, ONE, flat, flat, number))
        upper = total if tier.up_to is None or total < tier.up_to else tier.up_to
        slice_amount = EXACT.subtract(upper, tier.above)
        if slice_amount > ZERO:
            amount = percent_of(slice_amount, tier.percent)
            portions.append(Portion(PortionKind.PERCENT, slice_amount, tier.percent, amount, number))
    return portions
