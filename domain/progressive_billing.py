"""Progressive billing: a period's charge billed in several slices, each the difference to what was billed before."""

from dataclasses import dataclass
from fractions import Fraction

from domain.measured_usage import Measured
from domain.money import Money
from domain.price import WHOLE_PERIOD, Price
from domain.price_breakdown import Breakdown
from domain.pricing import explain
from domain.rounding import Rounding


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
    rounding: Rounding = Rounding.HALF_UP,
    period_share: Fraction = WHOLE_PERIOD,
) -> ProgressiveCharge:
    """What is still to be billed when the period has measured that much and `billed_before` was billed for it.

    The whole is priced and rounded once and the difference taken, so the slices sum to what one bill at the end
    would say, whatever their number (vector 19: a late unit that changes the tier of all, from another engine's suite).
    Raises CurrencyMismatch when the two are in different currencies.
    """
    so_far = explain(price, measured_so_far, rounding, period_share)
    return ProgressiveCharge(so_far=so_far, billed_before=billed_before, due=so_far.amount - billed_before)
