"""What a quantity costs under a price, and why."""

from decimal import Decimal
from fractions import Fraction

from domain.kernel.money import ExactAmount, Money, times
from domain.kernel.rounding import EXACT, Rounding, exactly, round_to_int
from domain.pricing.bounds import bound_portions
from domain.pricing.breakdown import Breakdown, Portion, PortionKind, plain
from domain.pricing.graduated import graduated_portions
from domain.pricing.graduated_percentage import graduated_percentage_portions
from domain.pricing.measured import (
    ChargedEvents,
    Measured,
    checked_decimal,
    event_amounts_of,
    total_amount_of,
    units_of,
)
from domain.pricing.models import (
    NOTHING,
    WHOLE_PERIOD,
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
from domain.pricing.percentage import charged_events, percentage_portions
from domain.pricing.volume import volume_portions


def amount_of(price: Price, measured: Measured, rounding: Rounding, period_share: Fraction = WHOLE_PERIOD) -> Money:
    """The amount due for a period's measured quantity: computed exactly, rounded once to minor units by `rounding`.

    `measured` is a number of units; for Percentage the events' amounts, or what it made of them; for
    GraduatedPercentage a number or the amounts, in minor units. `period_share` prorates minimum, maximum and
    commitment, nothing else. A negative quantity gives back what its units cost, before any bounds, and never a tier's
    flat amount or a part of a block: those belong to the period, and the first tier's flat amount is due at zero and
    below. Rounding a line once, half up away from zero, is what vectors 17 to 21 show of other engines' suites.
    Raises WrongMeasure, InvalidQuantity, NotRoundable.
    """
    if isinstance(price, Flat):
        return price.amount
    if isinstance(price, PerUnit) and not price.free_units and isinstance(measured, int | Decimal):
        product = EXACT.multiply(checked_decimal(measured), price.unit_amount)
        return Money(round_to_int(product, rounding), price.currency)
    exact = exact_amount_of(price, measured, rounding, period_share)
    return Money(round_to_int(exact.amount, rounding), price.currency)


def exact_amount_of(
    price: Price, measured: Measured, rounding: Rounding, period_share: Fraction = WHOLE_PERIOD
) -> ExactAmount:
    """What `amount_of` rounds: for a caller who still multiplies by a share before the one rounding.

    `rounding` is how a prepaid commitment was rounded when it was billed. Raises WrongMeasure, InvalidQuantity.
    """
    return ExactAmount(_sum(_portions(price, measured, period_share, rounding, period_is_over=True)), price.currency)


def licensed_amount_of(price: Price, quantity: Decimal | int, share: Fraction, rounding: Rounding) -> Money:
    """The amount due for that share of a period of a price that is not measured: seats, a fee.

    The whole period's exact amount × share, rounded once. A share shrinks a licensed price, never a measured quantity.
    Raises WrongMeasure, InvalidQuantity, NotRoundable.
    """
    if share is WHOLE_PERIOD or share == WHOLE_PERIOD:  # nearly always the very same: fractions compare slowly
        return amount_of(price, quantity, rounding)
    return times(exact_amount_of(price, quantity, rounding), share, rounding)


def explain(
    price: Price,
    measured: Measured,
    rounding: Rounding,
    period_share: Fraction = WHOLE_PERIOD,
    *,
    period_is_over: bool = True,
) -> Breakdown:
    """Why `amount_of` the same arguments is what it is, tier by tier: exact portions and the one rounding at the end.

    The portions and `rounding_difference` sum to `amount` exactly; amounts in minor units. Before the period is over
    nothing is raised to what it promises at least (see `bound_portions`).
    """
    return _breakdown(
        price, _portions(price, measured, period_share, rounding, period_is_over=period_is_over), rounding
    )


def explain_licensed(price: Price, quantity: Decimal | int, share: Fraction, rounding: Rounding) -> Breakdown:
    """Why `licensed_amount_of` the same arguments is what it is: the whole period, less the share not billed."""
    portions = _portions(price, quantity, WHOLE_PERIOD, rounding, period_is_over=True)
    if share != WHOLE_PERIOD:
        whole, less = _sum(portions), share - WHOLE_PERIOD
        portions.append(Portion(PortionKind.SHARE_NOT_BILLED, less, whole, whole * less))
    return _breakdown(price, portions, rounding)


def _breakdown(price: Price, portions: list[Portion], rounding: Rounding) -> Breakdown:
    exact = _sum(portions)
    rounded = round_to_int(exact, rounding)
    return Breakdown(
        portions=tuple(portions), rounding_difference=rounded - exact, amount=Money(rounded, price.currency)
    )


def _portions(
    price: Price, measured: Measured, period_share: Fraction, rounding: Rounding, *, period_is_over: bool
) -> list[Portion]:
    if not isinstance(price, BoundedPrice):
        return _model_portions(price, measured)
    portions = _model_portions(price.model, measured)
    usage = _sum(portions)
    return portions + bound_portions(price, usage, period_share, rounding, period_is_over=period_is_over)


def _model_portions(model: PriceModel, measured: Measured) -> list[Portion]:
    match model:
        case Flat():
            return [plain(PortionKind.FLAT, Fraction(model.amount.amount))]
        case Percentage():
            if not isinstance(measured, ChargedEvents):
                measured = charged_events(model, event_amounts_of(measured))
            return percentage_portions(model, measured)
        case GraduatedPercentage():
            total = total_amount_of(measured)
            if total >= 0:
                return graduated_percentage_portions(model, total)
            return _given_back(
                graduated_percentage_portions(model, -total), graduated_percentage_portions(model, NOTHING)
            )
        case _:
            quantity = units_of(measured)
            if quantity >= 0 or isinstance(model, Package):
                return _unit_portions(model, quantity)
            return _given_back(_unit_portions(model, -quantity), _unit_portions(model, NOTHING))


def _unit_portions(model: PerUnit | Graduated | Volume | Package, quantity: Fraction) -> list[Portion]:
    free, charged = NOTHING, quantity
    if model.free_units:
        free = min(abs(quantity), exactly(model.free_units))
        free = -free if quantity < 0 else free
        charged = quantity - free
    match model:
        case PerUnit():
            rate = exactly(model.unit_amount)
            portions = [Portion(PortionKind.UNITS, charged, rate, charged * rate)]
        case Graduated():
            portions = graduated_portions(model, charged)
        case Volume():
            portions = volume_portions(model, charged)
        case Package():
            portions = package_portions(model, charged)
    if free:
        portions.insert(0, Portion(PortionKind.FREE_UNITS, free, NOTHING, NOTHING))
    return portions


def _given_back(mirror_image: list[Portion], at_zero: list[Portion]) -> list[Portion]:
    """What a negative quantity comes to: its units' part of the mirror image, and the flat amount due at zero."""
    flat = [portion for portion in at_zero if portion.kind is PortionKind.TIER_FLAT]
    return flat + [
        Portion(portion.kind, -portion.quantity, portion.rate, -portion.amount, portion.tier)
        for portion in mirror_image
        if portion.kind is not PortionKind.TIER_FLAT
    ]


def _sum(portions: list[Portion]) -> Fraction:
    return sum((portion.amount for portion in portions), NOTHING)
