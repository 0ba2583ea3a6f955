"""Graduated percentage: each tier takes its rate of its own slice of the amount."""

from fractions import Fraction

from domain.kernel.percent import percent_of
from domain.kernel.rounding import exactly
from domain.pricing.breakdown import Portion, PortionKind, plain
from domain.pricing.models import GraduatedPercentage


def graduated_percentage_portions(price: GraduatedPercentage, total: Fraction) -> list[Portion]:
    """What each tier reached by `total` minor units (zero or more) adds, exactly.

    Bounds and flat amounts follow the graduated model: a bound belongs to the lower tier, the first tier's flat
    amount is due at zero. Continuous except where a tier above the first has a flat amount; never falls.
    """
    portions: list[Portion] = []
    for number, tier in enumerate(price.tiers, start=1):
        above = exactly(tier.above)
        if number > 1 and total <= above:
            break
        if tier.flat_amount:
            portions.append(plain(PortionKind.TIER_FLAT, Fraction(tier.flat_amount), number))
        end = total if tier.up_to is None else exactly(tier.up_to)
        slice_amount = min(total, end) - above
        if slice_amount > 0:
            amount = percent_of(slice_amount, tier.percent)
            portions.append(Portion(PortionKind.PERCENT, slice_amount, exactly(tier.percent), amount, number))
    return portions
