"""Volume: the tier reached prices the whole quantity."""

from fractions import Fraction

from domain.kernel.rounding import exactly
from domain.pricing.breakdown import Portion, PortionKind, plain
from domain.pricing.models import Volume


def volume_portions(price: Volume, charged: Fraction) -> list[Portion]:
    """What the one tier reached by `charged` units (zero or more, free units already taken off) costs, exactly.

    A bound belongs to the lower tier (vector 19, from another engine's suite). One unit more may make everything
    cheaper, so the amount is not monotone in the quantity.
    """
    portions: list[Portion] = []
    for number, tier in enumerate(price.tiers, start=1):
        if tier.up_to is not None and charged > exactly(tier.up_to):
            continue
        if tier.flat_amount:
            portions.append(plain(PortionKind.TIER_FLAT, Fraction(tier.flat_amount), number))
        if charged > 0:
            rate = exactly(tier.unit_amount)
            portions.append(Portion(PortionKind.TIER_UNITS, charged, rate, charged * rate, number))
        break
    return portions
