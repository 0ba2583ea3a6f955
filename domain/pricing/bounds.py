"""What a commitment, a minimum and a maximum do to the exact amount of a price."""

from fractions import Fraction

from domain.kernel.money import Money, times
from domain.kernel.rounding import Rounding, exactly
from domain.pricing.breakdown import Portion, PortionKind, plain
from domain.pricing.models import NOTHING, ONE, BoundedPrice, Commitment


def bound_portions(
    price: BoundedPrice, usage_amount: Fraction, period_share: Fraction, rounding: Rounding, *, period_is_over: bool
) -> list[Portion]:
    """What the bounds add to `usage_amount` (exact minor units of the model), in order: commitment, minimum, maximum.

    `period_share` is the part of the whole period that is billed; commitment, minimum and maximum are multiplied by
    it, exactly, and the usage is not. Only a prepaid commitment is rounded, by `rounding`: it was billed as a line of
    its own, and what that line came to is what it covers. What a period promises at least (a minimum, a commitment not
    yet billed) is due when the period is over, so before that nothing is raised to it. A negative usage amount is
    raised to the minimum like any other that is below it, and under a commitment comes to nothing. That bounds shrink
    with a period cut short is the billing domain's own policy.
    """
    portions: list[Portion] = []
    if price.commitment is not None:
        portions.extend(
            _commitment_portions(price.commitment, usage_amount, period_share, rounding, period_is_over=period_is_over)
        )
    amount = sum((portion.amount for portion in portions), usage_amount)
    if price.minimum is not None and period_is_over:
        minimum = price.minimum.amount * period_share
        if amount < minimum:
            portions.append(plain(PortionKind.MINIMUM, minimum - amount))
            amount = minimum
    if price.maximum is not None:
        maximum = price.maximum.amount * period_share
        if amount > maximum:
            portions.append(plain(PortionKind.MAXIMUM, maximum - amount))
    return portions


def committed_amount(commitment: Commitment, period_share: Fraction, rounding: Rounding) -> Money:
    """The commitment for that share of a period, rounded to minor units: what a prepaid one bills in advance."""
    return times(commitment.amount, period_share, rounding)


def unused_commitment(
    commitment: Commitment, usage_amount: Fraction, period_share: Fraction, rounding: Rounding
) -> Fraction:
    """What usage of that amount (exact minor units) leaves of the commitment, never below zero, exact minor units."""
    return max(_covers(commitment, period_share, rounding) - max(usage_amount, NOTHING), NOTHING)


def _covers(commitment: Commitment, period_share: Fraction, rounding: Rounding) -> Fraction:
    """How much usage it covers, in minor units."""
    if commitment.prepaid:
        return Fraction(committed_amount(commitment, period_share, rounding).amount)
    return commitment.amount.amount * period_share


def _commitment_portions(
    commitment: Commitment, usage_amount: Fraction, period_share: Fraction, rounding: Rounding, *, period_is_over: bool
) -> list[Portion]:
    covers = _covers(commitment, period_share, rounding)
    covered = min(usage_amount, covers)
    portions: list[Portion] = []
    if not commitment.prepaid:
        due = covers if period_is_over else max(covered, NOTHING)
        portions.append(plain(PortionKind.COMMITMENT, due))
    if covered:
        portions.append(plain(PortionKind.COVERED_BY_COMMITMENT, -covered))
    overage = usage_amount - covered
    if overage and commitment.overage_factor != ONE:
        surcharge_rate = exactly(commitment.overage_factor) - 1
        portions.append(Portion(PortionKind.OVERAGE_SURCHARGE, overage, surcharge_rate, overage * surcharge_rate))
    return portions
