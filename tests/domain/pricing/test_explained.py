"""Single prices and what their breakdowns say, portion by portion."""

from decimal import Decimal
from fractions import Fraction

import pytest

from domain.invoicing.progressive import charge_to_date
from domain.kernel.rounding import Rounding
from domain.pricing.amount import amount_of, explain
from domain.pricing.bounds import committed_amount, unused_commitment
from domain.pricing.measured import Measured
from domain.pricing.models import BoundedPrice, Commitment, Flat, Price
from testing.examples.pricing import (
    event_amounts,
    graduated,
    graduated_percentage,
    package,
    per_unit,
    percentage,
    usd,
    volume,
)

Shown = tuple[str, str, str, str, int | None]
"""Kind, quantity, rate, amount, tier."""


def shown(price: Price, measured: Measured, share: Fraction = Fraction(1)) -> list[Shown]:
    return [
        (portion.kind.value, str(portion.quantity), str(portion.rate), str(portion.amount), portion.tier)
        for portion in explain(price, measured, period_share=share).portions
    ]


def test_flat_is_the_same_for_any_quantity() -> None:
    price = Flat(amount=usd(1999))
    assert amount_of(price) == amount_of(price, 7) == amount_of(price, -7) == usd(1999)
    assert shown(price, 7) == [("flat", "1", "1999", "1999", None)]


def test_one_unit_is_priced_where_nothing_is_said() -> None:
    assert amount_of(per_unit(7)) == explain(per_unit(7)).amount == usd(7)


def test_per_unit_leaves_out_free_units() -> None:
    assert shown(per_unit("2.5", 3), 10) == [("free_units", "3", "0", "0", None), ("units", "7", "2.5", "17.5", None)]
    assert shown(per_unit("2.5", 3), 2) == [("free_units", "2", "0", "0", None), ("units", "0", "2.5", "0.0", None)]
    assert amount_of(per_unit("2.5", 3), 10) == usd(18)
    assert amount_of(per_unit("2.5", 3), -10) == usd(-18)
    assert amount_of(per_unit("2.5")) == usd(3)


def test_the_rounding_is_shown_as_its_own_figure() -> None:
    breakdown = explain(per_unit("0.5"), 5)
    assert breakdown.amount == usd(3)
    assert breakdown.rounding_difference == Decimal("0.5")
    to_even = explain(per_unit("0.5"), 5, Rounding.HALF_EVEN)
    assert (to_even.amount, to_even.rounding_difference) == (usd(2), Decimal("-0.5"))
    assert amount_of(per_unit("0.5"), 5, Rounding.HALF_EVEN) == usd(2)
    assert amount_of(graduated((None, "0.5", 0)), 5, Rounding.HALF_EVEN) == usd(2)


def test_graduated_shows_each_slice_and_flat_amount_by_its_tier() -> None:
    price = graduated((5, 10, 100), (10, 5, 0), (None, "2.5", 50), free_units=2)
    assert shown(price, 14) == [
        ("free_units", "2", "0", "0", None),
        ("tier_flat", "1", "100", "100", 1),
        ("tier_units", "5", "10", "50", 1),
        ("tier_units", "5", "5", "25", 2),
        ("tier_flat", "1", "50", "50", 3),
        ("tier_units", "2", "2.5", "5.0", 3),
    ]
    assert shown(price, 7) == [
        ("free_units", "2", "0", "0", None),
        ("tier_flat", "1", "100", "100", 1),
        ("tier_units", "5", "10", "50", 1),
    ]
    assert shown(price, 0) == [("tier_flat", "1", "100", "100", 1)]


def test_a_negative_quantity_turns_the_sign_of_every_portion() -> None:
    assert shown(graduated((5, 10, 100), (None, 5, 0)), -6) == [
        ("tier_flat", "-1", "100", "-100", 1),
        ("tier_units", "-5", "10", "-50", 1),
        ("tier_units", "-1", "5", "-5", 2),
    ]


def test_volume_shows_the_one_tier_that_is_reached() -> None:
    price = volume((5, 10, 100), (10, 5, 7), (None, 1, 0), free_units=1)
    assert shown(price, 6) == [
        ("free_units", "1", "0", "0", None),
        ("tier_flat", "1", "100", "100", 1),
        ("tier_units", "5", "10", "50", 1),
    ]
    assert shown(price, 7)[1:] == [("tier_flat", "1", "7", "7", 2), ("tier_units", "6", "5", "30", 2)]
    assert shown(price, 12)[1:] == [("tier_units", "11", "1", "11", 3)]
    assert shown(price, 0) == [("tier_flat", "1", "100", "100", 1)]


def test_package_shows_started_blocks() -> None:
    assert shown(package(100, 10, 5), 26) == [
        ("free_units", "5", "0", "0", None),
        ("packages", "3", "100", "300", None),
    ]
    assert shown(package(100, 10), 20) == [("packages", "2", "100", "200", None)]
    assert shown(package(100, "0.5"), Decimal("0.6")) == [("packages", "2", "100", "200", None)]
    assert shown(package(100, 10), 0) == []


def test_percentage_shows_rate_fixed_amounts_and_free_events() -> None:
    assert shown(percentage("2.5", 30, free_events=1), event_amounts(1000, 2000, 999)) == [
        ("free_events", "1", "0", "0", None),
        ("percent", "2999", "2.5", "74.975", None),
        ("fixed_per_event", "2", "30", "60", None),
    ]
    assert shown(percentage(1, free_events=3), event_amounts(10)) == [("free_events", "1", "0", "0", None)]
    assert shown(percentage(1), event_amounts()) == []
    assert shown(percentage(1, 30), event_amounts(1000, -400)) == [
        ("percent", "600", "1", "6.00", None),
        ("fixed_per_event", "0", "30", "0", None),
    ]


def test_percentage_bounds_what_one_event_costs() -> None:
    price = percentage(10, 5, event_minimum=20, event_maximum=100)
    assert shown(price, event_amounts(100, 150, 151, 950, 951, 2000)) == [
        ("percent", "4302", "10", "430.20", None),
        ("fixed_per_event", "6", "5", "30", None),
        ("event_minimum", "1", "5.00", "5.00", None),
        ("event_maximum", "1", "-105.10", "-105.10", None),
    ]
    assert amount_of(price, event_amounts(100)) == usd(20)
    assert amount_of(price, event_amounts(-100)) == usd(-20)
    assert amount_of(price, event_amounts(2000)) == usd(100)
    assert amount_of(price, event_amounts(-2000)) == usd(-100)
    assert amount_of(price, event_amounts(0)) == usd(20)


def test_graduated_percentage_takes_each_rate_of_its_own_slice() -> None:
    price = graduated_percentage((1000, 5, 10), (2000, 2, 0), (None, 1, 7))
    assert shown(price, event_amounts(1500, 1000)) == [
        ("tier_flat", "1", "10", "10", 1),
        ("percent", "1000", "5", "50.00", 1),
        ("percent", "1000", "2", "20.00", 2),
        ("tier_flat", "1", "7", "7", 3),
        ("percent", "500", "1", "5.00", 3),
    ]
    assert shown(price, 1000) == [("tier_flat", "1", "10", "10", 1), ("percent", "1000", "5", "50.00", 1)]
    assert amount_of(price, -1000) == usd(-60)
    assert amount_of(price, 0) == usd(10)


def test_a_minimum_raises_and_a_maximum_cuts() -> None:
    price = BoundedPrice(model=per_unit(10), minimum=usd(50), maximum=usd(80))
    assert [amount_of(price, quantity).amount for quantity in (0, 4, 5, 6, 8, 9)] == [50, 50, 50, 60, 80, 80]
    assert shown(price, 4)[1:] == [("minimum", "1", "10", "10", None)]
    assert shown(price, 5)[1:] == []
    assert shown(price, 8)[1:] == []
    assert shown(price, 9)[1:] == [("maximum", "1", "-10", "-10", None)]
    assert amount_of(price, -9) == usd(50)


def test_bounds_are_prorated_and_usage_is_not() -> None:
    price = BoundedPrice(model=per_unit(10), minimum=usd(50), maximum=usd(95))
    half = Fraction(1, 2)
    assert amount_of(price, 1, period_share=half) == usd(25)
    assert amount_of(price, 3, period_share=half) == usd(30)
    assert amount_of(price, 9, period_share=half) == usd(48)
    assert amount_of(price, 9, Rounding.HALF_EVEN, half) == usd(48)
    assert amount_of(price, 9, Rounding.HALF_EVEN, Fraction(1, 10)) == usd(10)
    assert amount_of(BoundedPrice(model=per_unit(0), minimum=usd(5)), 1, Rounding.HALF_EVEN, half) == usd(2)
    assert amount_of(BoundedPrice(model=per_unit(0), minimum=usd(5)), 1, Rounding.HALF_UP, half) == usd(3)


@pytest.mark.parametrize(("quantity", "due"), [(0, 0), (10, 0), (11, 15), (20, 150)])
def test_a_prepaid_commitment_is_drawn_down_and_its_overage_costs_more(quantity: int, due: int) -> None:
    commitment = Commitment(amount=usd(100), overage_factor=Decimal("1.5"))
    assert amount_of(BoundedPrice(model=per_unit(10), commitment=commitment), quantity) == usd(due)


def test_a_commitment_explains_what_it_covers_and_what_is_over() -> None:
    commitment = Commitment(amount=usd(100), overage_factor=Decimal("1.5"), prepaid=False)
    price = BoundedPrice(model=per_unit(10), commitment=commitment, maximum=usd(130))
    assert shown(price, 13) == [
        ("units", "13", "10", "130", None),
        ("commitment", "1", "100", "100", None),
        ("covered_by_commitment", "1", "-100", "-100", None),
        ("overage_surcharge", "30", "0.5", "15.0", None),
        ("maximum", "1", "-15.0", "-15.0", None),
    ]
    assert shown(price, 0) == [("units", "0", "10", "0", None), ("commitment", "1", "100", "100", None)]
    plain = BoundedPrice(model=per_unit(10), commitment=Commitment(amount=usd(100)))
    assert shown(plain, 13, Fraction(1, 2)) == [
        ("units", "13", "10", "130", None),
        ("covered_by_commitment", "1", "-50", "-50", None),
    ]
    assert amount_of(plain, -5) == usd(0)


def test_progressive_billing_prorates_bounds_and_rounds_by_the_chosen_rule() -> None:
    price = BoundedPrice(model=per_unit("0.5"), minimum=usd(5))
    assert charge_to_date(price, 1, usd(0), period_share=Fraction(1, 2)).due == usd(3)
    assert charge_to_date(price, 1, usd(0), Rounding.HALF_EVEN, Fraction(1, 2)).due == usd(2)
    assert charge_to_date(per_unit("0.5"), 5, usd(1)).due == usd(2)
    assert charge_to_date(per_unit("0.5"), 5, usd(1), Rounding.HALF_EVEN).due == usd(1)


@pytest.mark.parametrize(("rounding", "bound"), [(Rounding.HALF_UP, 3), (Rounding.HALF_EVEN, 2)])
def test_every_prorated_bound_is_rounded_by_the_chosen_rule(rounding: Rounding, bound: int) -> None:
    half, nothing, units = Fraction(1, 2), per_unit(0), per_unit(1)
    assert amount_of(BoundedPrice(model=nothing, minimum=usd(5)), 9, rounding, half) == usd(bound)
    assert amount_of(BoundedPrice(model=units, maximum=usd(5)), 9, rounding, half) == usd(bound)
    prepaid = BoundedPrice(model=units, commitment=Commitment(amount=usd(5)))
    assert amount_of(prepaid, 9, rounding, half) == usd(9 - bound)


def test_what_a_commitment_bills_in_advance_and_what_is_left_of_it() -> None:
    commitment = Commitment(amount=usd(101))
    half = Fraction(1, 2)
    assert committed_amount(commitment, Fraction(1)) == usd(101)
    assert committed_amount(commitment, half) == usd(51)
    assert committed_amount(commitment, half, Rounding.HALF_EVEN) == usd(50)
    assert unused_commitment(commitment, Decimal("40.5"), half) == Decimal("10.5")
    assert unused_commitment(commitment, Decimal("40.5"), half, Rounding.HALF_EVEN) == Decimal("9.5")
    assert unused_commitment(commitment, Decimal(60), half) == Decimal(0)
    assert unused_commitment(commitment, Decimal(-60), half) == Decimal(51)
