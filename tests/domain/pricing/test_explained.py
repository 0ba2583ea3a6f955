"""Single prices and what their breakdowns say, portion by portion."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from domain.invoicing.progressive import charge_to_date
from domain.kernel.rounding import Rounding
from domain.pricing.amount import licensed_amount_of
from domain.pricing.bounds import committed_amount, unused_commitment
from domain.pricing.measured import Measured
from domain.pricing.models import BoundedPrice, Commitment, Flat, Price
from testing.examples.half_up import HALF_UP, amount_of, explain
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
        (portion.kind.value, text(portion.quantity), text(portion.rate), text(portion.amount), portion.tier)
        for portion in explain(price, measured, period_share=share).portions
    ]


def text(exact: Fraction) -> str:
    """As a decimal, for figures that come out even."""
    shown_as = Decimal(exact.numerator) / Decimal(exact.denominator)
    assert Fraction(shown_as) == exact
    return f"{shown_as:f}"


def test_flat_is_the_same_for_any_quantity() -> None:
    price = Flat(amount=usd(1999))
    assert amount_of(price) == amount_of(price, 7) == amount_of(price, -7) == usd(1999)
    assert shown(price, 7) == [("flat", "1", "1999", "1999", None)]


def test_one_unit_is_priced_where_nothing_is_said() -> None:
    assert amount_of(per_unit(7)) == explain(per_unit(7)).amount == usd(7)


def test_per_unit_leaves_out_free_units() -> None:
    assert shown(per_unit("2.5", 3), 10) == [("free_units", "3", "0", "0", None), ("units", "7", "2.5", "17.5", None)]
    assert shown(per_unit("2.5", 3), 2) == [("free_units", "2", "0", "0", None), ("units", "0", "2.5", "0", None)]
    assert amount_of(per_unit("2.5", 3), 10) == usd(18)
    assert amount_of(per_unit("2.5", 3), -10) == usd(-18)
    assert amount_of(per_unit("2.5")) == usd(3)


def test_the_rounding_is_shown_as_its_own_figure() -> None:
    breakdown = explain(per_unit("0.5"), 5)
    assert breakdown.amount == usd(3)
    assert breakdown.rounding_difference == Fraction(1, 2)
    to_even = explain(per_unit("0.5"), 5, Rounding.HALF_EVEN)
    assert (to_even.amount, to_even.rounding_difference) == (usd(2), Fraction(-1, 2))
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
        ("tier_units", "2", "2.5", "5", 3),
    ]
    assert shown(price, 7) == [
        ("free_units", "2", "0", "0", None),
        ("tier_flat", "1", "100", "100", 1),
        ("tier_units", "5", "10", "50", 1),
    ]
    assert shown(price, 0) == [("tier_flat", "1", "100", "100", 1)]


def test_a_negative_quantity_gives_back_its_units_and_no_flat_amount() -> None:
    price = graduated((5, 10, 100), (None, 5, 50))
    assert shown(price, -6) == [
        ("tier_flat", "1", "100", "100", 1),
        ("tier_units", "-5", "10", "-50", 1),
        ("tier_units", "-1", "5", "-5", 2),
    ]
    assert amount_of(price, Decimal("-0.001")) == amount_of(price, 0) == amount_of(price, Decimal("0.001")) == usd(100)
    assert amount_of(volume((5, 10, 100), (None, 5, 50)), Decimal("-0.001")) == usd(100)
    assert amount_of(volume((5, 10, 100), (None, 5, 50)), -6) == usd(100 - 30)
    assert amount_of(graduated_percentage((1000, 5, 100), (None, 1, 50)), Decimal("-0.001")) == usd(100)


def test_a_block_that_is_returned_in_part_was_still_started() -> None:
    price = package(100, 10)
    assert [amount_of(price, quantity).amount for quantity in (-1, -9, -10, -11, -20)] == [0, 0, -100, -100, -200]
    assert amount_of(package(100, 10, 5), -15) == usd(-100)
    assert amount_of(price, Decimal("-0.001")) == usd(0)


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
        ("percent", "600", "1", "6", None),
        ("fixed_per_event", "0", "30", "0", None),
    ]


def test_nothing_is_given_back_that_was_not_charged() -> None:
    price = percentage(10, 50, free_events=1)
    assert amount_of(price, event_amounts(10_000, -10_000)) == usd(0)
    assert amount_of(price, event_amounts(10_000, -10_000, 20_000)) == usd(0)
    assert amount_of(price, event_amounts(10_000, 20_000, -20_000)) == usd(0)
    assert amount_of(price, event_amounts(10_000, 20_000, 5_000, -5_000)) == usd(2050)
    assert amount_of(price, event_amounts(-10_000)) == usd(0)
    assert shown(percentage(10, 50), event_amounts(1000, -9000)) == [
        ("percent", "-8000", "10", "-800", None),
        ("fixed_per_event", "0", "50", "0", None),
        ("never_charged", "1", "800", "800", None),
    ]


def test_no_more_events_are_free_than_the_price_gives() -> None:
    """One that is given back makes its place free again, and is no free one itself."""
    price = percentage("2.9", 30, free_events=1, event_maximum=1000)
    given_back = event_amounts(100_000, 500_000, -50_000, -60_000)
    assert amount_of(price, given_back) == usd(0)
    assert [kind for kind, *_ in shown(price, given_back)] == ["percent", "fixed_per_event", "event_maximum"]
    taken_again = event_amounts(100_000, -60_000, 100_000)
    assert shown(price, taken_again) == [("free_events", "1", "0", "0", None)]
    assert shown(price, event_amounts(-100_000, -100_000)) == []


def test_percentage_bounds_what_one_event_costs() -> None:
    price = percentage(10, 5, event_minimum=20, event_maximum=100)
    assert shown(price, event_amounts(100, 150, 151, 950, 951, 2000)) == [
        ("percent", "4302", "10", "430.2", None),
        ("fixed_per_event", "6", "5", "30", None),
        ("event_minimum", "1", "5", "5", None),
        ("event_maximum", "1", "-105.1", "-105.1", None),
    ]
    assert amount_of(price, event_amounts(100)) == usd(20)
    assert amount_of(price, event_amounts(100, 2000, -100)) == usd(100)
    assert amount_of(price, event_amounts(2000)) == usd(100)
    assert amount_of(price, event_amounts(100, 2000, -2000)) == usd(20)
    assert amount_of(price, event_amounts(0)) == usd(20)


def test_graduated_percentage_takes_each_rate_of_its_own_slice() -> None:
    price = graduated_percentage((1000, 5, 10), (2000, 2, 0), (None, 1, 7))
    assert shown(price, event_amounts(1500, 1000)) == [
        ("tier_flat", "1", "10", "10", 1),
        ("percent", "1000", "5", "50", 1),
        ("percent", "1000", "2", "20", 2),
        ("tier_flat", "1", "7", "7", 3),
        ("percent", "500", "1", "5", 3),
    ]
    assert shown(price, 1000) == [("tier_flat", "1", "10", "10", 1), ("percent", "1000", "5", "50", 1)]
    assert amount_of(price, -1000) == usd(10 - 50)
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
        ("overage_surcharge", "30", "0.5", "15", None),
        ("maximum", "1", "-15", "-15", None),
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
    assert charge_to_date(price, 1, usd(0), HALF_UP, Fraction(1, 2), is_last=True).due == usd(3)
    assert charge_to_date(price, 1, usd(0), Rounding.HALF_EVEN, Fraction(1, 2), is_last=True).due == usd(2)
    assert charge_to_date(per_unit("0.5"), 5, usd(1), HALF_UP, is_last=False).due == usd(2)
    assert charge_to_date(per_unit("0.5"), 5, usd(1), Rounding.HALF_EVEN, is_last=False).due == usd(1)


def test_what_a_period_promises_at_least_is_billed_with_its_last_slice() -> None:
    price = BoundedPrice(model=per_unit(10), minimum=usd(500), maximum=usd(900))
    assert charge_to_date(price, 1, usd(0), HALF_UP, is_last=False).due == usd(10)
    assert charge_to_date(price, 20, usd(10), HALF_UP, is_last=False).due == usd(190)
    assert charge_to_date(price, 20, usd(200), HALF_UP, is_last=True).due == usd(300)
    assert charge_to_date(price, 100, usd(200), HALF_UP, is_last=False).due == usd(700)
    promised = Commitment(amount=usd(500), overage_factor=Decimal("1.5"), prepaid=False)
    committed = BoundedPrice(model=per_unit(10), commitment=promised)
    assert charge_to_date(committed, 20, usd(0), HALF_UP, is_last=False).due == usd(200)
    assert charge_to_date(committed, 60, usd(200), HALF_UP, is_last=False).due == usd(450)
    assert charge_to_date(committed, 20, usd(200), HALF_UP, is_last=True).due == usd(300)
    prepaid = BoundedPrice(model=per_unit(10), commitment=replace(promised, prepaid=True))
    assert charge_to_date(prepaid, 60, usd(0), HALF_UP, is_last=False).due == usd(150)


@pytest.mark.parametrize(("rounding", "bound"), [(Rounding.HALF_UP, 3), (Rounding.HALF_EVEN, 2)])
def test_a_prorated_bound_is_rounded_with_the_line_by_the_chosen_rule(rounding: Rounding, bound: int) -> None:
    half, nothing, units = Fraction(1, 2), per_unit(0), per_unit(1)
    assert amount_of(BoundedPrice(model=nothing, minimum=usd(5)), 9, rounding, half) == usd(bound)
    assert amount_of(BoundedPrice(model=units, maximum=usd(5)), 9, rounding, half) == usd(bound)
    prepaid = BoundedPrice(model=units, commitment=Commitment(amount=usd(5)))
    assert amount_of(prepaid, 9, rounding, half) == usd(9 - bound)


def test_a_commitment_that_was_not_billed_is_rounded_with_its_overage_and_not_before() -> None:
    """100 for a third of the period is 33 1/3, used 33.4: what is over is 1/15, twice that and 33 1/3 are 33.47."""
    commitment = Commitment(amount=usd(100), overage_factor=Decimal(2), prepaid=False)
    price = BoundedPrice(model=per_unit("33.4"), commitment=commitment)
    assert amount_of(price, 1, period_share=Fraction(1, 3)) == usd(33)


def test_what_a_commitment_bills_in_advance_and_what_is_left_of_it() -> None:
    commitment = Commitment(amount=usd(101))
    half = Fraction(1, 2)
    assert committed_amount(commitment, Fraction(1), HALF_UP) == usd(101)
    assert committed_amount(commitment, half, HALF_UP) == usd(51)
    assert committed_amount(commitment, half, Rounding.HALF_EVEN) == usd(50)
    assert unused_commitment(commitment, Fraction("40.5"), half, HALF_UP) == Fraction("10.5")
    assert unused_commitment(commitment, Fraction("40.5"), half, Rounding.HALF_EVEN) == Fraction("9.5")
    assert unused_commitment(commitment, Fraction(60), half, HALF_UP) == Fraction(0)
    assert unused_commitment(commitment, Fraction(-60), half, HALF_UP) == Fraction(51)
    not_yet = replace(commitment, prepaid=False)
    assert unused_commitment(not_yet, Fraction("40.5"), half, HALF_UP) == 10


@pytest.mark.parametrize(
    ("unit_amount", "quantity", "share", "billed"),
    [
        ("0.5", 1, Fraction(1, 2), 0),
        ("0.5", 1, Fraction(1), 1),
        ("0.4", 3, Fraction(1, 2), 1),
        ("99.5", 1, Fraction(1, 2), 50),
    ],
)
def test_a_share_of_a_licensed_price_is_rounded_once(
    unit_amount: str, quantity: int, share: Fraction, billed: int
) -> None:
    assert licensed_amount_of(per_unit(unit_amount), quantity, share, HALF_UP) == usd(billed)


def test_inside_bounds_a_share_holds_for_all_of_a_licensed_price() -> None:
    price = BoundedPrice(model=per_unit(10), minimum=usd(50), maximum=usd(81))
    third = Fraction(1, 3)
    assert [licensed_amount_of(price, seats, third, HALF_UP).amount for seats in (1, 6, 9)] == [17, 20, 27]
