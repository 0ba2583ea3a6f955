"""Which prices may be offered. Run when a price is made, never when history is replayed."""

from collections.abc import Sequence
from decimal import Decimal

from domain.kernel.currency import exponent_of
from domain.kernel.refusal import Refusal, RefusalKind
from domain.pricing.measured import MAX_QUANTITY_DIGITS
from domain.pricing.models import (
    BoundedPrice,
    CurrencyVariants,
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

    Raises UnknownCurrency, InvalidPrice, and for tier tables one of the subclasses of InvalidTierTable, whose `tier`
    names the tier, counted from 1. Amounts and rates may not be negative: a credit is a line, not a price.
    """
    if isinstance(price, BoundedPrice):
        _check_model(price.model)
        _check_bounds(price)
    else:
        _check_model(price)


def check_variants(prices: CurrencyVariants) -> None:
    """Refuse no variants, two in one currency, or a variant that `check_price` refuses."""
    if not prices.variants:
        raise InvalidPrice(reason="no variant in any currency")
    seen: set[str] = set()
    for price in prices.variants:
        check_price(price)
        if price.currency in seen:
            raise InvalidPrice(reason="two variants in one currency", currency=price.currency)
        seen.add(price.currency)


def _check_model(model: PriceModel) -> None:
    exponent_of(model.currency)
    match model:
        case Flat():
            _check_minor_units("amount", model.amount.amount)
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
                raise InvalidPrice(field="package_size", reason="must be above zero")
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
        raise InvalidPrice(field="free_events", reason="must not be negative")
    if model.event_minimum is not None:
        _check_minor_units("event_minimum", model.event_minimum)
    if model.event_maximum is not None:
        _check_minor_units("event_maximum", model.event_maximum)
        if model.event_minimum is not None and model.event_minimum > model.event_maximum:
            raise InvalidPrice(field="event_minimum", reason="is above event_maximum")


def _check_bounds(price: BoundedPrice) -> None:
    commitment = price.commitment
    for field, bound in (
        ("minimum", price.minimum),
        ("maximum", price.maximum),
        ("commitment", None if commitment is None else commitment.amount),
    ):
        if bound is None:
            continue
        _check_minor_units(field, bound.amount)
        if bound.currency != price.currency:
            raise InvalidPrice(field=field, reason="not in the price's currency", currency=bound.currency)
    if price.minimum is not None and price.maximum is not None and price.minimum > price.maximum:
        raise InvalidPrice(field="minimum", reason="is above maximum")
    if commitment is None:
        return
    _check_decimal("overage_factor", commitment.overage_factor)
    if price.minimum is not None:
        raise InvalidPrice(field="minimum", reason="a commitment already is a minimum")
    if price.maximum is not None and price.maximum < commitment.amount and not commitment.prepaid:
        raise InvalidPrice(field="maximum", reason="is below the commitment")


def _check_ranges(tiers: Sequence[Tier | RateTier]) -> None:
    if not 1 <= len(tiers) <= MAX_TIERS:
        raise NoTiers(tiers=len(tiers), at_most=MAX_TIERS)
    reached = Decimal(0)
    for number, tier in enumerate(tiers, start=1):
        _check_decimal("above", tier.above, number)
        above, up_to = tier.above, tier.up_to
        if number == 1 and above != 0:
            raise TierDoesNotStartAtZero(tier=number, above=str(above))
        if above > reached:
            raise TierGap(tier=number, above=str(above), previous_up_to=str(reached))
        if above < reached:
            raise TierOverlap(tier=number, above=str(above), previous_up_to=str(reached))
        if up_to is None:
            if number != len(tiers):
                raise TierWithoutEndBeforeLast(tier=number)
            return
        _check_decimal("up_to", up_to, number)
        if up_to <= above:
            raise EmptyTier(tier=number, above=str(above), up_to=str(up_to))
        reached = up_to
    raise LastTierHasEnd(tier=len(tiers), up_to=str(reached))


def _check_minor_units(field: str, amount: int, tier: int | None = None) -> None:
    if not 0 <= amount <= MAX_MINOR_UNITS:
        raise InvalidPrice(field=field, tier=tier, reason=f"must be from 0 to {MAX_MINOR_UNITS} minor units")


def _check_decimal(field: str, value: Decimal, tier: int | None = None) -> None:
    if not value.is_finite() or value < 0:
        raise InvalidPrice(field=field, tier=tier, reason="must be a number of zero or more")
    exponent = value.as_tuple().exponent
    if value.adjusted() >= MAX_QUANTITY_DIGITS or (isinstance(exponent, int) and exponent < -MAX_DECIMALS):
        reason = f"at most {MAX_QUANTITY_DIGITS} digits before the point and {MAX_DECIMALS} after it"
        raise InvalidPrice(field=field, tier=tier, reason=reason)
