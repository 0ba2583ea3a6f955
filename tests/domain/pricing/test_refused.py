"""Prices that may not be offered and quantities that cannot be priced, each with the refusal that names the fault."""

from dataclasses import replace
from decimal import Decimal

import pytest

from domain.invoicing.progressive import charge_to_date
from domain.kernel.currency import CurrencyCode, UnknownCurrency
from domain.kernel.money import CurrencyMismatch, Money
from domain.kernel.refusal import RefusalKind
from domain.pricing.measured import EventAmounts, InvalidQuantity, Measured, WrongMeasure
from domain.pricing.models import (
    BoundedPrice,
    Commitment,
    Flat,
    Graduated,
    PerUnit,
    Price,
    RateTier,
    Tier,
)
from domain.pricing.validation import (
    MAX_MINOR_UNITS,
    MAX_TIERS,
    EmptyTier,
    InvalidPrice,
    InvalidTierTable,
    LastTierHasEnd,
    NoTiers,
    TierDoesNotStartAtZero,
    TierGap,
    TierOverlap,
    TierWithoutEndBeforeLast,
    check_price,
)
from testing.examples.half_up import HALF_UP, amount_of
from testing.examples.pricing import (
    JPY,
    USD,
    event_amounts,
    graduated,
    graduated_percentage,
    package,
    per_unit,
    percentage,
    usd,
    volume,
)

Bounds = tuple[str | int, str | int | None]


def ranges(*bounds: Bounds) -> tuple[Tier, ...]:
    return tuple(
        Tier(above=Decimal(above), up_to=None if up_to is None else Decimal(up_to), unit_amount=Decimal(1))
        for above, up_to in bounds
    )


TIER_FAULTS: list[tuple[type[InvalidTierTable], list[Bounds], str, dict[str, str | int | None]]] = [
    (NoTiers, [], "tiers", {"tiers": 0, "at_most": 100}),
    (TierDoesNotStartAtZero, [(1, None)], "tiers.0.above", {"tier": 1, "above": "1"}),
    (TierGap, [(0, 5), (6, None)], "tiers.1.above", {"tier": 2, "above": "6", "previous_up_to": "5"}),
    (
        TierGap,
        [(0, 5), (5, 9), ("9.5", None)],
        "tiers.2.above",
        {"tier": 3, "above": "9.5", "previous_up_to": "9"},
    ),
    (TierOverlap, [(0, 5), (4, None)], "tiers.1.above", {"tier": 2, "above": "4", "previous_up_to": "5"}),
    (EmptyTier, [(0, 5), (5, 5), (5, None)], "tiers.1.up_to", {"tier": 2, "above": "5", "up_to": "5"}),
    (EmptyTier, [(0, 5), (5, 3), (3, None)], "tiers.1.up_to", {"tier": 2, "above": "5", "up_to": "3"}),
    (TierWithoutEndBeforeLast, [(0, 5), (5, None), (9, None)], "tiers.1.up_to", {"tier": 2}),
    (LastTierHasEnd, [(0, 5), (5, 9)], "tiers.1.up_to", {"tier": 2, "up_to": "9"}),
]


@pytest.mark.parametrize(("refusal", "bounds", "path", "details"), TIER_FAULTS)
@pytest.mark.parametrize("model", ["graduated", "volume", "graduated_percentage"])
def test_a_faulty_tier_table_is_refused_at_the_bound_that_is_wrong(
    model: str, refusal: type[InvalidTierTable], bounds: list[Bounds], path: str, details: dict[str, str | int | None]
) -> None:
    tiers = ranges(*bounds)
    prices: dict[str, Price] = {
        "graduated": replace(graduated((None, 1, 0)), tiers=tiers),
        "volume": replace(volume((None, 1, 0)), tiers=tiers),
        "graduated_percentage": replace(
            graduated_percentage((None, 1, 0)),
            tiers=tuple(RateTier(above=tier.above, up_to=tier.up_to, percent=Decimal(1)) for tier in tiers),
        ),
    }
    with pytest.raises(refusal) as refused:
        check_price(prices[model])
    assert refused.value.details == details
    assert refused.value.kind is RefusalKind.INVALID
    assert refused.value.param == f"model.{path}"


def test_a_price_may_have_a_hundred_tiers_and_no_more() -> None:
    bounds: list[Bounds] = [(number, number + 1) for number in range(MAX_TIERS - 1)]
    check_price(replace(graduated((None, 1, 0)), tiers=ranges(*bounds, (MAX_TIERS - 1, None))))
    with pytest.raises(NoTiers):
        check_price(
            replace(graduated((None, 1, 0)), tiers=ranges(*bounds, (MAX_TIERS - 1, MAX_TIERS), (MAX_TIERS, None)))
        )


def bounded(
    minimum: Money | None = None, maximum: Money | None = None, commitment: Commitment | None = None
) -> BoundedPrice:
    return BoundedPrice(model=per_unit(1), minimum=minimum, maximum=maximum, commitment=commitment)


GOOD: list[Price] = [
    Flat(amount=usd(0)),
    Flat(amount=usd(MAX_MINOR_UNITS)),
    per_unit(0),
    per_unit("0.000000000001", "0.5"),
    per_unit("9e29"),
    graduated((5, 10, 100), (None, 5, 50), free_units=3),
    volume((5, 10, 100), (None, 5, 50), free_units=3),
    package(0, "0.1", "0.1"),
    percentage(0, 0, 0, 0, 0),
    percentage("2.5", "30.5", 3, 10, 10),
    graduated_percentage((5, 10, 100), (None, 5, 50)),
    bounded(usd(0), usd(0)),
    bounded(commitment=Commitment(amount=usd(100), overage_factor=Decimal(0))),
    bounded(maximum=usd(99), commitment=Commitment(amount=usd(100))),
    bounded(maximum=usd(100), commitment=Commitment(amount=usd(100), prepaid=False)),
]


@pytest.mark.parametrize("price", GOOD)
def test_a_sound_price_is_not_refused(price: Price) -> None:
    check_price(price)


IN_RANGE = "must be from 0 to 1000000000000000 minor units"
NOT_NEGATIVE = "must be a number of zero or more"
SHORT = "at most 30 digits before the point and 12 after it"

BAD: list[tuple[Price, str, str]] = [
    (Flat(amount=usd(-1)), "amount", IN_RANGE),
    (Flat(amount=usd(MAX_MINOR_UNITS + 1)), "amount", IN_RANGE),
    (per_unit("-0.1"), "unit_amount", NOT_NEGATIVE),
    (per_unit("NaN"), "unit_amount", NOT_NEGATIVE),
    (per_unit("Infinity"), "unit_amount", NOT_NEGATIVE),
    (per_unit("1e30"), "unit_amount", SHORT),
    (per_unit("1e-13"), "unit_amount", SHORT),
    (per_unit(1, -1), "free_units", NOT_NEGATIVE),
    (graduated((None, -1, 0)), "unit_amount", NOT_NEGATIVE),
    (graduated((None, 1, -1)), "flat_amount", IN_RANGE),
    (graduated((None, 1, 0), free_units=-1), "free_units", NOT_NEGATIVE),
    (graduated(("NaN", 1, 0), (None, 1, 0)), "up_to", NOT_NEGATIVE),
    (volume((None, 1, 0), free_units=-1), "free_units", NOT_NEGATIVE),
    (package(1, 0), "package_size", "must be above zero"),
    (package(1, -1), "package_size", NOT_NEGATIVE),
    (package(-1, 1), "package_amount", IN_RANGE),
    (package(1, 1, -1), "free_units", NOT_NEGATIVE),
    (percentage(-1), "percent", NOT_NEGATIVE),
    (percentage(1, -1), "fixed_amount", NOT_NEGATIVE),
    (percentage(1, 1, -1), "free_events", "must not be negative"),
    (percentage(1, event_minimum=-1), "event_minimum", IN_RANGE),
    (percentage(1, event_maximum=-1), "event_maximum", IN_RANGE),
    (percentage(1, event_minimum=2, event_maximum=1), "event_minimum", "is above event_maximum"),
    (graduated_percentage((None, -1, 0)), "percent", NOT_NEGATIVE),
    (graduated_percentage((None, 1, -1)), "flat_amount", IN_RANGE),
    (BoundedPrice(model=per_unit(-1)), "unit_amount", NOT_NEGATIVE),
    (bounded(usd(-1)), "minimum", IN_RANGE),
    (bounded(None, usd(-1)), "maximum", IN_RANGE),
    (bounded(usd(2), usd(1)), "minimum", "is above maximum"),
    (bounded(Money(1, JPY)), "minimum", "not in the price's currency"),
    (bounded(None, Money(1, JPY)), "maximum", "not in the price's currency"),
    (bounded(commitment=Commitment(amount=usd(-1))), "commitment", IN_RANGE),
    (bounded(commitment=Commitment(amount=Money(1, JPY))), "commitment", "not in the price's currency"),
    (bounded(commitment=Commitment(amount=usd(1), overage_factor=Decimal(-1))), "overage_factor", NOT_NEGATIVE),
    (bounded(usd(1), None, Commitment(amount=usd(1))), "minimum", "a commitment already is a minimum"),
    (bounded(None, usd(99), Commitment(amount=usd(100), prepaid=False)), "maximum", "is below the commitment"),
]


@pytest.mark.parametrize(("price", "field", "reason"), BAD)
def test_a_price_out_of_range_is_refused_by_the_name_of_the_field(price: Price, field: str, reason: str) -> None:
    with pytest.raises(InvalidPrice) as refused:
        check_price(price)
    details = refused.value.details
    assert (details["field"], details["reason"]) == (field, reason)
    assert refused.value.param is not None
    assert field in refused.value.param.split(".")
    assert details.get("currency") == ("JPY" if "currency" in reason else None)
    assert refused.value.kind is RefusalKind.INVALID


@pytest.mark.parametrize(
    "price",
    [
        graduated((5, 1, 0), (None, -1, 0)),
        volume((5, 1, 0), (None, 1, -1)),
        graduated_percentage((5, 1, 0), (None, -1, 0)),
        graduated_percentage((5, 1, 0), (None, 1, -1)),
        graduated((5, 1, 0), ("1e30", 1, 0), (None, 1, 0)),
    ],
)
def test_a_figure_out_of_range_in_a_tier_names_the_tier(price: Price) -> None:
    with pytest.raises(InvalidPrice) as refused:
        check_price(price)
    assert refused.value.details["tier"] == 2
    assert refused.value.param == f"model.tiers.1.{refused.value.details['field']}"


def test_a_lower_bound_that_is_no_number_names_the_tier() -> None:
    with pytest.raises(InvalidPrice) as refused:
        check_price(replace(graduated((None, 1, 0)), tiers=ranges((0, 5), ("NaN", None))))
    assert refused.value.details == {"field": "above", "tier": 2, "reason": NOT_NEGATIVE}


def test_a_price_in_no_currency_is_refused() -> None:
    with pytest.raises(UnknownCurrency):
        check_price(replace(per_unit(1), currency=CurrencyCode("ZZZ")))


@pytest.mark.parametrize("price", [per_unit(1), per_unit(1, 1), graduated((None, 1, 0)), volume((None, 1, 0))])
@pytest.mark.parametrize("quantity", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e30"), Decimal("1e-31"), 10**30])
def test_a_quantity_out_of_range_is_refused(price: Graduated, quantity: Measured) -> None:
    with pytest.raises(InvalidQuantity):
        amount_of(price, quantity)


@pytest.mark.parametrize(
    ("quantity", "named"), [(Decimal("NaN"), "NaN"), (Decimal("1e30"), "1E+30"), (10**50, "1" + "0" * 39)]
)
def test_a_refused_quantity_is_named_in_forty_characters_at_most(quantity: Measured, named: str) -> None:
    with pytest.raises(InvalidQuantity) as refused:
        amount_of(per_unit(1), quantity)
    assert refused.value.details == {"quantity": named}


@pytest.mark.parametrize("quantity", [Decimal("9e29"), Decimal("1e-30"), Decimal("-9e29"), 10**30 - 1, Decimal(0)])
def test_the_largest_and_smallest_quantities_are_priced(quantity: Measured) -> None:
    assert isinstance(amount_of(per_unit(1, 1), quantity), Money)


def test_events_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidQuantity):
        amount_of(percentage(1), event_amounts(1, "1e30"))
    with pytest.raises(InvalidQuantity):
        amount_of(graduated_percentage((None, 1, 0)), event_amounts("NaN"))
    with pytest.raises(InvalidQuantity):
        amount_of(graduated_percentage((None, 1, 0)), Decimal("1e30"))


@pytest.mark.parametrize("price", [per_unit(1), graduated((None, 1, 0)), volume((None, 1, 0)), package(1, 1)])
def test_units_cannot_be_counted_in_amounts_of_events(price: Price) -> None:
    with pytest.raises(WrongMeasure) as refused:
        amount_of(price, EventAmounts((Decimal(1),)))
    assert refused.value.details == {"wanted": "a quantity", "got": "amounts of events"}


def test_a_percentage_of_events_cannot_be_taken_of_a_bare_quantity() -> None:
    with pytest.raises(WrongMeasure) as refused:
        amount_of(percentage(1), 5)
    assert refused.value.details == {"wanted": "amounts of events", "got": "a quantity"}


def test_progressive_billing_does_not_mix_currencies() -> None:
    with pytest.raises(CurrencyMismatch):
        charge_to_date(per_unit(1), 5, Money(1, JPY), HALF_UP, is_last=True)


def test_currencies_are_those_of_the_price() -> None:
    assert bounded().currency == USD
    assert Flat(amount=Money(5, JPY)).currency == JPY
    assert amount_of(PerUnit(currency=JPY, unit_amount=Decimal(3)), 2) == Money(6, JPY)
