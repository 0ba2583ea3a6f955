"""A line that bills usage: what a meter counted of the customer in the line's period, once that is closed."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.kernel.rounding import Rounding, round_to_int

TOLD_DECIMALS: Final = 9
"""With how many decimals a line tells a quantity that does not come out even, such as a third of an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSnapshot:
    """What the closing of the period counted, exactly: `quantity`, of so many `events`.

    It is the meter's and customer's closing of this number, covers the records of the `partition` below the offset
    `covers` and no others, and its rows have this SHA-256, so that a replay comes to the same.
    """

    closing: int
    partition: int
    covers: int
    sha256: str
    quantity: Fraction
    events: int

    @property
    def rated(self) -> Fraction:
        """What is priced: corrections may outweigh events, and yet nobody is owed for using less than nothing."""
        return max(self.quantity, Fraction(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LineUsage:
    """The meter, and what it counted; None: that is not known yet. The usage that `after_invoice_id` bills of the same
    meter comes before it, and is closed first.
    """

    meter_id: str
    after_invoice_id: str | None = None
    snapshot: UsageSnapshot | None = None


def told_quantity(quantity: Fraction) -> Decimal:
    """The quantity, zero or more, as a line tells it: exactly, or half up to TOLD_DECIMALS decimals."""
    whole, rest = divmod(round_to_int(quantity * 10**TOLD_DECIMALS, Rounding.HALF_UP), 10**TOLD_DECIMALS)
    return Decimal(f"{whole}.{rest:0{TOLD_DECIMALS}d}".rstrip("0").rstrip("."))
