"""Package: every started block of units costs the same."""

from decimal import Decimal

from domain.kernel.rounding import EXACT
from domain.pricing.breakdown import Portion, PortionKind
from domain.pricing.models import ONE, ZERO, Package


def package_portions(price: Package, charged: Decimal) -> list[Portion]:
    """The started blocks in `charged` units (zero or more, free units already taken off), exactly.

    A started block costs a whole one (vector 20, from another engine's suite). Never falls as the quantity rises.
    """
    if charged <= ZERO:
        return []
    whole_blocks, rest = EXACT.divmod(charged, price.package_size)
    blocks = EXACT.add(whole_blocks, ONE) if rest else whole_blocks
    rate = Decimal(price.package_amount)
    return [Portion(PortionKind.PACKAGES, blocks, rate, EXACT.multiply(blocks, rate))]
