"""What a commitment, a minimum and a maximum do to the exact amount of a price."""

from decimal import Decimal
from fractions import Fraction

from domain.kernel.money import Money, times
from domain.kernel.rounding import EXACT, Rounding
from domain.pricing.breakdown import Portion, PortionKind
from domain.pricing.models import ONE, ZERO, BoundedPrice, Commitment


def bound_portions(
    price: BoundedPrice, usage_amount: Decimal, period_share: Fraction, rounding: Rounding
) -> list[Portion]:
    """What the bounds add to `usage_amount` (exact minor units of the model), in order: commitment, minimum, maximum.

    `period_share` is the part of the whole period that is billed; commitment, minimum and maximum are multiplied by
    it and rounded to minor units by `rounding`, the usage is not. A negative usage amount is raised to the minimum
    like any other that is below it, and under a commitment comes to nothing. That bounds shrink with a period cut short
    is the billing domain's own policy.
    """
    portions: list[Portion] = []
    amount = usage_amount
    if price.commitment is not None:
        portions.extend(_commitment_portions(price.commitment, amount, period_share, rounding))
    for portion in portions:
        amount = EXACT.add(amount, portion.amount)
    if price.minimum is not None:
        minimum = _prorated(price.minimum, period_share, rounding)
        if amount < minimum:
            portions.append(_plain(PortionKind.MINIMUM, EXACT.subtract(minimum, amount)))
            amount = minimum
    if price.maximum is not None:
        maximum = _prorated(price.maximum, period_share, rounding)
        if amount > maximum:
            portions.append(_plain(PortionKind.MAXIMUM, EXACT.subtract(maximum, amount)))
    return portions


def committed_amount(commitment: Commitment, period_share: Fraction, rounding: Rounding = Rounding.HALF_UP) -> Money:
    """The commitment for that share of a period, rounded to minor units: what a prepaid one bills in advance."""
    return times(commitment.amount, period_share, rounding)


def unused_commitment(
    commitment: Commitment, usage_amount: Decimal, period_share: Fraction, rounding: Rounding = Rounding.HALF_UP
) -> Decimal:
    """What usage of that amount (exact minor units) leaves of the commitment, never below zero, exact minor units."""
    left = EXACT.subtract(committed_amount(commitment, period_share, rounding).amount, max(usage_amount, ZERO))
    return max(left, ZERO)


def _commitment_portions(
    commitment: Commitment, usage_amount: Decimal, period_share: Fraction, rounding: Rounding
) -> list[Portion]:
    committed = _prorated(commitment.amount, period_share, rounding)
    portions: list[Portion] = []
    if not commitment.prepaid:
        portions.append(_plain(PortionKind.COMMITMENT, committed))
    covered = min(usage_amount, committed)
    if covered:
        portions.append(_plain(PortionKind.COVERED_BY_COMMITMENT, -covered))
    overage = EXACT.subtract(usage_amount, covered)
    if overage and commitment.overage_factor != ONE:
        surcharge_rate = EXACT.subtract(commitment.overage_factor, ONE)
        surcharge = EXACT.multiply(overage, surcharge_rate)
        portions.append(Portion(PortionKind.OVERAGE_SURCHARGE, overage, surcharge_rate, surcharge))
    return portions


def _prorated(bound: Money, period_share: Fraction, rounding: Rounding) -> Decimal:
    return Decimal(times(bound, period_share, rounding).amount)


def _plain(kind: PortionKind, amount: Decimal) -> Portion:
    return Portion(kind, ONE, amount, amount)
