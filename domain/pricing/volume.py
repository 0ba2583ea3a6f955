"""Volume: the tier reached prices the whole quantity."""

from decimal import Decimal

from domain.kernel.rounding import EXACT
from domain.pricing.breakdown import Portion, PortionKind
from domain.pricing.models import ONE, ZERO, Volume


def volume_portions(price: Volume, charged: Decimal) -> list[Portion]:
    """What the one tier reached by `charged` units (zero or more, free units already taken off) costs, exactly.

    A bound belongs to the lower tier (vector 19, from another engine's suite). One unit more may make everything
    cheaper, so the amount is not monotone in the quantity.
    """
    portions: list[Portion] = []
    for number, tier in enumerate(price.tiers, start=1):
        if tier.up_to is not None and charged > tier.up_to:
            continue
        if tier.flat_amount:
            flat = Decimal(tier.flat_amount)
            portions.append(Portion(PortionKind.TIER_FLAT, ONE, flat, flat, number))
        if charged > ZERO:
            amount = EXACT.multiply(charged, tier.unit_amount)
            portions.append(Portion(PortionKind.TIER_UNITS, charged, tier.unit_amount, amount, number))
        break
    return portions
