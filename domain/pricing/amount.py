"""What a measured quantity costs under a price, and why."""

from decimal import Decimal
from fractions import Fraction

from domain.kernel.money import ExactAmount, Money
from domain.kernel.rounding import EXACT, Rounding, round_to_int
from domain.pricing.bounds import bound_portions
from domain.pricing.breakdown import Breakdown, Portion, PortionKind
from domain.pricing.graduated import graduated_portions
from domain.pricing.graduated_percentage import graduated_percentage_portions
from domain.pricing.measured import Measured, event_amounts_of, total_amount_of, units_of
from domain.pricing.models import (
    ONE,
    WHOLE_PERIOD,
    ZERO,
    BoundedPrice,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceModel,
    Volume,
)
from domain.pricing.package import package_portions
from domain.pricing.percentage import percentage_portions
from domain.pricing.volume import volume_portions


def amount_of(
    price: Price,
    measured: Measured = 1,
    rounding: Rounding = Rounding.HALF_UP,
    period_share: Fraction = WHOLE_PERIOD,
) -> Money:
    """The amount due for a period's quantity: computed exactly, rounded once to minor units by `rounding`.

    `measured` is a number of units; for Percentage the events' amounts; for GraduatedPercentage either, in minor
    units. `period_share` prorates minimum, maximum and commitment, nothing else. A negative quantity costs what its
    mirror image costs with the sign turned, before any bounds. Rounding a line once, half up away from zero, is
    what vectors 17 to 21 show of other engines' suites.
    Raises WrongMeasure, InvalidQuantity, NotRoundable.
    """
    if isinstance(price, Flat):
        return price.amount
    if isinstance(price, PerUnit) and not price.free_units:
        exact = EXACT.multiply(units_of(measured), price.unit_amount)
        return Money(round_to_int(exact, rounding), price.currency)
    return Money(round_to_int(_sum(_portions(price, measured, period_share, rounding)), rounding), price.currency)


def exact_amount_of(price: Price, measured: Measured, period_share: Fraction = WHOLE_PERIOD) -> ExactAmount:
    """What `amount_of` rounds: for a caller who still multiplies by a share before the one rounding.

    Raises WrongMeasure, InvalidQuantity.
    """
    portions = _portions(price, measured, period_share, Rounding.HALF_UP)
    return ExactAmount(Fraction(_sum(portions)), price.currency)


def explain(
    price: Price,
    measured: Measured = 1,
    rounding: Rounding = Rounding.HALF_UP,
    period_share: Fraction = WHOLE_PERIOD,
) -> Breakdown:
    """Why `amount_of` the same arguments is what it is, tier by tier: exact portions and the one rounding at the end.

    The portions and `rounding_difference` sum to `amount` exactly; amounts in minor units.
    """
    portions = _portions(price, measured, period_share, rounding)
    exact = _sum(portions)
    rounded = round_to_int(exact, rounding)
    return Breakdown(
        portions=tuple(portions),
        rounding_difference=EXACT.subtract(rounded, exact),
        amount=Money(rounded, price.currency),
    )


def _portions(price: Price, measured: Measured, period_share: Fraction, rounding: Rounding) -> list[Portion]:
    if isinstance(price, BoundedPrice):
        portions = _model_portions(price.model, measured)
        return portions + bound_portions(price, _sum(portions), period_share, rounding)
    return _model_portions(price, measured)


def _model_portions(model: PriceModel, measured: Measured) -> list[Portion]:
    match model:
        case Flat():
            amount = Decimal(model.amount.amount)
            return [Portion(PortionKind.FLAT, ONE, amount, amount)]
        case Percentage():
            return percentage_portions(model, event_amounts_of(measured))
        case GraduatedPercentage():
            total = total_amount_of(measured)
            return _signed(graduated_percentage_portions(model, abs(total)), total)
        case _:
            quantity = units_of(measured)
            return _signed(_unit_portions(model, abs(quantity)), quantity)


def _unit_portions(model: PerUnit | Graduated | Volume | Package, quantity: Decimal) -> list[Portion]:
    free, charged = ZERO, quantity
    if model.free_units:
        free = min(quantity, model.free_units)
        charged = EXACT.subtract(quantity, free)
    match model:
        case PerUnit():
            amount = EXACT.multiply(charged, model.unit_amount)
            portions = [Portion(PortionKind.UNITS, charged, model.unit_amount, amount)]
        case Graduated():
            portions = graduated_portions(model, charged)
        case Volume():
            portions = volume_portions(model, charged)
        case Package():
            portions = package_portions(model, charged)
    if free:
        portions.insert(0, Portion(PortionKind.FREE_UNITS, free, ZERO, ZERO))
    return portions


def _signed(portions: list[Portion], sign_of: Decimal) -> list[Portion]:
    if sign_of >= ZERO:
        return portions
    return [
        Portion(portion.kind, EXACT.minus(portion.quantity), portion.rate, EXACT.minus(portion.amount), portion.tier)
        for portion in portions
    ]


def _sum(portions: list[Portion]) -> Decimal:
    total = ZERO
    for portion in portions:
        total = EXACT.add(total, portion.amount)
    return total
