"""Package: every started block of units costs the same."""

from fractions import Fraction

from domain.kernel.rounding import exactly
from domain.pricing.breakdown import Portion, PortionKind
from domain.pricing.models import Package


def package_portions(price: Package, charged: Fraction) -> list[Portion]:
    """The started blocks in `charged` units (free units already taken off), exactly.

    A started block costs a whole one (vector 20, from another engine's suite). Of a negative number of units only whole
    blocks are given back: one that is returned in part was still started. Never falls as the quantity rises.
    """
    if not charged:
        return []
    blocks = Fraction(-(-charged // exactly(price.package_size)))
    rate = Fraction(price.package_amount)
    return [Portion(PortionKind.PACKAGES, blocks, rate, blocks * rate)]
