"""Graduated: each tier prices its own slice of the quantity."""

from fractions import Fraction

from domain.kernel.rounding import exactly
from domain.pricing.breakdown import Portion, PortionKind, plain
from domain.pricing.models import Graduated


def graduated_portions(price: Graduated, charged: Fraction) -> list[Portion]:
    """What each tier reached by `charged` units (zero or more, free units already taken off) adds, exactly.

    A bound belongs to the lower tier. The first tier's flat amount is due at zero usage, a later tier's once the
    quantity exceeds the bound before it (vectors 17 and 18, from other engines' suites). Continuous in the quantity
    except where a tier above the first has a flat amount; never falls.
    """
    portions: list[Portion] = []
    for number, tier in enumerate(price.tiers, start=1):
        above = exactly(tier.above)
        if number > 1 and charged <= above:
            break
        if tier.flat_amount:
            portions.append(plain(PortionKind.TIER_FLAT, Fraction(tier.flat_amount), number))
        end = charged if tier.up_to is None else exactly(tier.up_to)
        units = min(charged, end) - above
        if units > 0:
            rate = exactly(tier.unit_amount)
            portions.append(Portion(PortionKind.TIER_UNITS, units, rate, units * rate, number))
    return portions
