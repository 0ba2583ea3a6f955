"""Progressive billing: a period's charge billed in several slices, each the difference to what was billed before."""

from dataclasses import dataclass
from fractions import Fraction

from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import explain
from domain.pricing.breakdown import Breakdown
from domain.pricing.measured import Measured
from domain.pricing.models import WHOLE_PERIOD, Price


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressiveCharge:
    """`due` = the whole period's amount so far, explained by `so_far`, less `billed_before`; below zero is a credit."""

    so_far: Breakdown
    billed_before: Money
    due: Money


def charge_to_date(
    price: Price,
    measured_so_far: Measured,
    billed_before: Money,
    rounding: Rounding,
    period_share: Fraction = WHOLE_PERIOD,
    *,
    is_last: bool,
) -> ProgressiveCharge:
    """What is still to be billed when the period has measured that much and `billed_before` was billed for it.

    The whole is priced and rounded once and the difference taken, so the slices sum to what one bill at the end
    would say, whatever their number (vector 19: a late unit that changes the tier of all, from another engine's suite).
    What the period promises at least, a minimum or a commitment not yet billed, counts once, on its last slice.
    Raises CurrencyMismatch when the two are in different currencies.
    """
    so_far = explain(price, measured_so_far, rounding, period_share, period_is_over=is_last)
    return ProgressiveCharge(so_far=so_far, billed_before=billed_before, due=so_far.amount - billed_before)
