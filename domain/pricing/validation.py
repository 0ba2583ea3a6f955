"""Which prices may be offered. Run when a price is made, never when history is replayed."""

from collections.abc import Sequence
from decimal import Decimal

from domain.kernel.currency import exponent_of
from domain.kernel.refusal import Refusal, RefusalKind
from domain.pricing.measured import MAX_QUANTITY_DIGITS
from domain.pricing.models import (
    BoundedPrice,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    PriceModel,
    RateTier,
    Tier,
    Volume,
)

MAX_TIERS = 100
MAX_DECIMALS = 12
"""Decimals of a unit amount or rate: a trillionth of a cent is as fine as a price may be."""
MAX_MINOR_UNITS = 10**15
"""No amount in a price is larger, so that a priced line still fits 64 bits for any sensible quantity."""


class InvalidPrice(Refusal):
    """The price cannot be offered as it stands."""

    code = "invalid_price"
    kind = RefusalKind.INVALID
    param = "model"


class InvalidTierTable(InvalidPrice):
    """The tiers do not cover every quantity exactly once."""

    code = "invalid_tier_table"
    param = "tiers"


class NoTiers(InvalidTierTable):
    """The price has no tiers, or too many."""

    code = "no_tiers"


class TierDoesNotStartAtZero(InvalidTierTable):
    """The first tier leaves out the quantities before it."""

    code = "tier_does_not_start_at_zero"


class TierGap(InvalidTierTable):
    """Between this tier and the one before it are quantities that neither prices."""

    code = "tier_gap"


class TierOverlap(InvalidTierTable):
    """This tier prices quantities that the one before it prices, too."""

    code = "tier_overlap"


class EmptyTier(InvalidTierTable):
    """The tier ends where it starts, or before."""

    code = "empty_tier"


class TierWithoutEndBeforeLast(InvalidTierTable):
    """A tier that has no end is followed by another."""

    code = "tier_without_end_before_last"


class LastTierHasEnd(InvalidTierTable):
    """The last tier must have no end, else large quantities have no price."""

    code = "last_tier_has_end"


def check_price(price: Price) -> None:
    """Refuse a price that does not price every quantity, or that holds amounts out of range.

    Raises UnknownCurrency, InvalidPrice, and for tier tables one of the subclasses of InvalidTierTable. Each is about
    the field at its path in a price with bounds, `model.tiers.2.up_to` or `minimum`; its `tier`, for people, is counted
    from 1. Amounts and rates may not be negative: a credit is a line, not a price.
    """
    if isinstance(price, BoundedPrice):
        _check_model(price.model)
        _check_bounds(price)
    else:
        _check_model(price)


def _check_model(model: PriceModel) -> None:
    exponent_of(model.currency)
    match model:
        case Flat():
            if not 0 <= model.amount.amount <= MAX_MINOR_UNITS:
                raise InvalidPrice(field="amount", reason=_MINOR_UNITS).at("model.amount.amount")
        case PerUnit():
            _check_decimal("unit_amount", model.unit_amount)
            _check_decimal("free_units", model.free_units)
        case Graduated() | Volume():
            _check_decimal("free_units", model.free_units)
            _check_ranges(model.tiers)
            for number, tier in enumerate(model.tiers, start=1):
                _check_decimal("unit_amount", tier.unit_amount, number)
                _check_minor_units("flat_amount", tier.flat_amount, number)
        case Package():
            _check_decimal("free_units", model.free_units)
            _check_decimal("package_size", model.package_size)
            if model.package_size <= 0:
                raise _invalid("package_size", "must be above zero")
            _check_minor_units("package_amount", model.package_amount)
        case Percentage():
            _check_percentage(model)
        case GraduatedPercentage():
            _check_ranges(model.tiers)
            for number, rate_tier in enumerate(model.tiers, start=1):
                _check_decimal("percent", rate_tier.percent, number)
                _check_minor_units("flat_amount", rate_tier.flat_amount, number)


def _check_percentage(model: Percentage) -> None:
    _check_decimal("percent", model.percent)
    _check_decimal("fixed_amount", model.fixed_amount)
    if model.free_events < 0:
        raise _invalid("free_events", "must not be negative")
    if model.event_minimum is not None:
        _check_minor_units("event_minimum", model.event_minimum)
    if model.event_maximum is not None:
        _check_minor_units("event_maximum", model.event_maximum)
        if model.event_minimum is not None and model.event_minimum > model.event_maximum:
            raise _invalid("event_minimum", "is above event_maximum")


def _check_bounds(price: BoundedPrice) -> None:
    commitment = price.commitment
    for field, bound in (
        ("minimum", price.minimum),
        ("maximum", price.maximum),
        ("commitment", None if commitment is None else commitment.amount),
    ):
        if bound is None:
            continue
        path = "commitment.amount" if field == "commitment" else field
        if not 0 <= bound.amount <= MAX_MINOR_UNITS:
            raise InvalidPrice(field=field, reason=_MINOR_UNITS).at(f"{path}.amount")
        if bound.currency != price.currency:
            refused = InvalidPrice(field=field, reason="not in the price's currency", currency=bound.currency)
            raise refused.at(f"{path}.currency")
    if price.minimum is not None and price.maximum is not None and price.minimum > price.maximum:
        raise InvalidPrice(field="minimum", reason="is above maximum").at("minimum")
    if commitment is None:
        return
    if _is_out_of_range(commitment.overage_factor):
        raise InvalidPrice(field="overage_factor", reason=_range_of(commitment.overage_factor)).at(
            "commitment.overage_factor"
        )
    if price.minimum is not None:
        raise InvalidPrice(field="minimum", reason="a commitment already is a minimum").at("minimum")
    if price.maximum is not None and price.maximum < commitment.amount and not commitment.prepaid:
        raise InvalidPrice(field="maximum", reason="is below the commitment").at("maximum")


def _check_ranges(tiers: Sequence[Tier | RateTier]) -> None:
    if not 1 <= len(tiers) <= MAX_TIERS:
        raise NoTiers(tiers=len(tiers), at_most=MAX_TIERS).at("model.tiers")
    reached = Decimal(0)
    for number, tier in enumerate(tiers, start=1):
        _check_decimal("above", tier.above, number)
        above, up_to = tier.above, tier.up_to
        if number == 1 and above != 0:
            raise TierDoesNotStartAtZero(tier=number, above=str(above)).at(_path("above", number))
        if above > reached:
            gap = TierGap(tier=number, above=str(above), previous_up_to=str(reached))
            raise gap.at(_path("above", number))
        if above < reached:
            overlap = TierOverlap(tier=number, above=str(above), previous_up_to=str(reached))
            raise overlap.at(_path("above", number))
        if up_to is None:
            if number != len(tiers):
                raise TierWithoutEndBeforeLast(tier=number).at(_path("up_to", number))
            return
        _check_decimal("up_to", up_to, number)
        if up_to <= above:
            raise EmptyTier(tier=number, above=str(above), up_to=str(up_to)).at(_path("up_to", number))
        reached = up_to
    raise LastTierHasEnd(tier=len(tiers), up_to=str(reached)).at(_path("up_to", len(tiers)))


_MINOR_UNITS = f"must be from 0 to {MAX_MINOR_UNITS} minor units"


def _check_minor_units(field: str, amount: int, tier: int | None = None) -> None:
    if not 0 <= amount <= MAX_MINOR_UNITS:
        raise _invalid(field, _MINOR_UNITS, tier)


def _check_decimal(field: str, value: Decimal, tier: int | None = None) -> None:
    if _is_out_of_range(value):
        raise _invalid(field, _range_of(value), tier)


def _is_out_of_range(value: Decimal) -> bool:
    if not value.is_finite() or value < 0 or value.adjusted() >= MAX_QUANTITY_DIGITS:
        return True
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent < -MAX_DECIMALS


def _range_of(value: Decimal) -> str:
    """What a number that is out of range must be."""
    if not value.is_finite() or value < 0:
        return "must be a number of zero or more"
    return f"at most {MAX_QUANTITY_DIGITS} digits before the point and {MAX_DECIMALS} after it"


def _invalid(field: str, reason: str, tier: int | None = None) -> InvalidPrice:
    """The refusal of a field of the model, or of one of its tiers (counted from 1)."""
    return InvalidPrice(field=field, tier=tier, reason=reason).at(_path(field, tier))


def _path(field: str, tier: int | None) -> str:
    """Where it lies: paths count from 0."""
    return f"model.{field}" if tier is None else f"model.tiers.{tier - 1}.{field}"
