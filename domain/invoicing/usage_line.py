"""A line that bills usage: what a meter counted of the customer in the line's period, once that is closed."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.invoicing.late_usage import LateUsage
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding, round_to_int
from domain.pricing.measured import ChargedEvents, Measured
from domain.pricing.models import Percentage, Price, model_of
from domain.pricing.percentage import charged_events

TOLD_DECIMALS: Final = 9
"""With how many decimals a line tells a quantity that does not come out even, such as a third of an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSnapshot:
    """What the closing of the period counted, exactly: `quantity`, of so many `events`.

    It is the meter's and customer's closing of this number, covers the records of the `partition` below the offset
    `covers` and no others, and its rows have this SHA-256, so that a replay comes to the same. `charged` is
    what a percentage of single events made of them.
    """

    closing: int
    partition: int
    covers: int
    sha256: str
    quantity: Fraction
    events: int
    charged: ChargedEvents | None = None

    @property
    def rated(self) -> Fraction:
        """How much is priced: corrections may outweigh events, and yet nobody is owed for using less than nothing."""
        return max(self.quantity, Fraction(0))

    @property
    def measured(self) -> Measured:
        """What is priced: how much it is, or what a percentage made of the single events."""
        return self.rated if self.charged is None else self.charged


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSlice:
    """A line that billed what a period came to so far, while it ran."""

    invoice_id: str
    line_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageProgress:
    """The line is one of those that bill one period together: it bills what the period came to (`charge`) when it was
    counted, less what those `before` it billed of that (`billed_before`; of invoices that were voided by then nothing
    is). Both are None until it is counted. Whatever else the period comes to is billed by the line that `is_last`.
    """

    before: tuple[UsageSlice, ...] = ()
    is_last: bool
    charge: Money | None = None
    billed_before: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineUsage:
    """The meter, and what it counted; None: that is not known yet. The usage that `after_invoice_id` bills of the same
    meter comes before it, and is closed first. A line of `late` usage bills a period that is billed already: its
    snapshot is of all that is known of that. Where several lines bill one period (`progress`), the snapshot is of all
    that the period had come to.
    """

    meter_id: str
    after_invoice_id: str | None = None
    snapshot: UsageSnapshot | None = None
    late: LateUsage | None = None
    progress: UsageProgress | None = None


def priced(snapshot: UsageSnapshot, price: Price, amounts: tuple[Decimal, ...]) -> UsageSnapshot:
    """The snapshot with what is priced of it; `amounts` are those of its single events, where the meter keeps them."""
    model = model_of(price)
    return replace(snapshot, charged=charged_events(model, amounts) if isinstance(model, Percentage) else None)


def told_quantity(quantity: Fraction) -> Decimal:
    """The quantity as a line tells it: exactly, or half up to TOLD_DECIMALS decimals."""
    scaled = round_to_int(quantity * 10**TOLD_DECIMALS, Rounding.HALF_UP)
    whole, rest = divmod(abs(scaled), 10**TOLD_DECIMALS)
    sign = "-" if scaled < 0 else ""
    return Decimal(f"{sign}{whole}.{rest:0{TOLD_DECIMALS}d}".rstrip("0").rstrip("."))
