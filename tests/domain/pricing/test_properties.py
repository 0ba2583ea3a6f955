"""What holds for all prices, whatever the figures."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from domain.invoicing.progressive import charge_to_date
from domain.kernel.rounding import EXACT, Rounding
from domain.pricing.amount import exact_amount_of, explain_licensed, licensed_amount_of
from domain.pricing.breakdown import Breakdown
from domain.pricing.measured import EventAmounts
from domain.pricing.models import (
    BoundedPrice,
    Flat,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    Tier,
    Volume,
)
from domain.pricing.percentage import charged_events
from testing.examples.half_up import amount_of, explain
from testing.examples.pricing import USD, usd
from tests.domain.price_strategies import (
    bounded_prices,
    event_lists,
    flats,
    free_units,
    graduated_percentages,
    graduateds,
    minor_units,
    packages,
    per_units,
    percentages,
    quantities,
    roundings,
    shares,
    signed_quantities,
    tier_tables,
    unit_models,
    volumes,
)


def explains(breakdown: Breakdown) -> bool:
    exact = sum((Fraction(portion.amount) for portion in breakdown.portions), Fraction(0))
    difference = Fraction(breakdown.rounding_difference)
    return exact + difference == breakdown.amount.amount and abs(difference) <= Fraction(1, 2)


@given(st.one_of(unit_models, bounded_prices()), signed_quantities, roundings, shares)
def test_a_breakdown_sums_to_the_price_of_a_quantity(
    price: Price, quantity: Decimal, rounding: Rounding, share: Fraction
) -> None:
    breakdown = explain(price, quantity, rounding, share)
    assert breakdown.amount == amount_of(price, quantity, rounding, share)
    assert explains(breakdown)


@given(percentages, event_lists, roundings)
def test_a_breakdown_sums_to_the_price_of_events(price: Percentage, events: EventAmounts, rounding: Rounding) -> None:
    breakdown = explain(price, events, rounding)
    assert breakdown.amount == amount_of(price, events, rounding)
    assert explains(breakdown)


@given(graduateds, quantities)
def test_the_slices_of_graduated_tiers_tile_the_charged_quantity(price: Graduated, quantity: Decimal) -> None:
    units = [portion.quantity for portion in explain(price, quantity).portions if portion.kind.value.endswith("units")]
    assert sum(map(Fraction, units), Fraction(0)) == Fraction(quantity)


@given(tier_tables(), free_units, st.integers(1, 9))
def test_graduated_is_continuous_except_for_the_flat_amounts_of_tiers(
    tiers: tuple[Tier, ...], free: Decimal, digits: int
) -> None:
    """Just above a bound costs as much more as the step is worth in the next tier, and that tier's flat amount."""
    price = Graduated(currency=USD, tiers=tiers, free_units=free)
    step = Decimal(1).scaleb(-digits - 1)  # smaller than any tier
    for before, after in pairwise(tiers):
        assert before.up_to is not None
        bound = EXACT.add(before.up_to, free)
        here = explain(price, bound)
        beyond = explain(price, EXACT.add(bound, step))
        jump = sum((Fraction(p.amount) for p in beyond.portions), Fraction(0)) - sum(
            (Fraction(p.amount) for p in here.portions), Fraction(0)
        )
        assert jump == Fraction(step) * Fraction(after.unit_amount) + after.flat_amount


@given(
    st.one_of(flats, per_units, graduateds, packages, graduated_percentages),
    st.none() | minor_units.map(usd),
    quantities,
    quantities,
    roundings,
)
def test_more_never_costs_less_except_under_volume(
    model: Flat | PerUnit | Graduated | Package | GraduatedPercentage,
    minimum: None,
    quantity: Decimal,
    more: Decimal,
    rounding: Rounding,
) -> None:
    price = BoundedPrice(model=model, minimum=minimum)
    assert amount_of(price, quantity, rounding) <= amount_of(price, EXACT.add(quantity, more), rounding)


def test_volume_promises_no_such_thing() -> None:
    price = Volume(
        currency=USD,
        tiers=(Tier(up_to=Decimal(15), unit_amount=Decimal(10)), Tier(above=Decimal(15), up_to=None)),
    )
    assert amount_of(price, 16) < amount_of(price, 15)


@given(percentages, st.lists(quantities, max_size=5), quantities)
def test_another_event_never_makes_a_percentage_cheaper(
    price: Percentage, amounts: list[Decimal], another: Decimal
) -> None:
    before = amount_of(price, EventAmounts(tuple(amounts)))
    assert before <= amount_of(price, EventAmounts((*amounts, another)))


@given(per_units, quantities, roundings)
def test_a_negative_quantity_of_units_mirrors_the_positive_one(
    price: PerUnit, quantity: Decimal, rounding: Rounding
) -> None:
    assert amount_of(price, EXACT.minus(quantity), rounding) == -amount_of(price, quantity, rounding)


@given(
    st.one_of(graduateds, volumes, packages, graduated_percentages),
    quantities,
    st.decimals("0.000001", "0.001", places=6),
)
def test_a_tiny_correction_gives_back_next_to_nothing(
    price: Graduated | Volume | Package | GraduatedPercentage, quantity: Decimal, tiny: Decimal
) -> None:
    """No flat amount and no block goes with it: what a negative quantity gives back grows from nothing with it."""
    at_zero, below = amount_of(price, 0), amount_of(price, EXACT.minus(tiny))
    assert usd(0) <= at_zero - below <= usd(6)
    assert amount_of(price, EXACT.minus(quantity)) <= at_zero
    assert at_zero - amount_of(price, EXACT.minus(quantity)) <= amount_of(price, quantity)


@given(percentages, event_lists, roundings)
def test_events_never_come_to_less_than_nothing(price: Percentage, events: EventAmounts, rounding: Rounding) -> None:
    assert amount_of(price, events, rounding) >= usd(0)


@given(percentages, event_lists)
def test_no_more_events_are_free_than_the_price_gives_nor_than_there_are(
    price: Percentage, events: EventAmounts
) -> None:
    free = charged_events(price, events.amounts).free
    net = 0
    for amount in events.amounts:
        net = max(net - 1, 0) if amount < 0 else net + 1
    assert free == min(net, price.free_events)


@given(percentages, st.lists(quantities, max_size=4))
def test_events_that_were_all_taken_back_again_cost_nothing(price: Percentage, amounts: list[Decimal]) -> None:
    taken_back = [EXACT.minus(amount) for amount in reversed(amounts) if amount]
    charged = [amount for amount in amounts if amount]
    assert amount_of(price, EventAmounts((*charged, *taken_back))) == usd(0)


@given(st.one_of(unit_models, bounded_prices()), quantities, shares, roundings)
def test_a_licensed_share_is_within_half_a_unit_of_the_exact_share(
    price: Price, quantity: Decimal, share: Fraction, rounding: Rounding
) -> None:
    """One rounding: two would be further off now and then."""
    exact = exact_amount_of(price, quantity, rounding).amount * share
    billed = licensed_amount_of(price, quantity, share, rounding).amount
    assert abs(billed - exact) <= Fraction(1, 2)
    breakdown = explain_licensed(price, quantity, share, rounding)
    assert breakdown.amount.amount == billed
    assert explains(breakdown)


@given(st.one_of(per_units, graduateds, volumes), st.fractions(0, 1000, max_denominator=10**6), roundings)
def test_a_quantity_that_does_not_come_out_even_is_priced_as_it_is(
    price: PerUnit | Graduated | Volume, quantity: Fraction, rounding: Rounding
) -> None:
    exact = exact_amount_of(price, quantity, rounding).amount
    assert abs(amount_of(price, quantity, rounding).amount - exact) <= Fraction(1, 2)


@given(st.one_of(unit_models, bounded_prices()), st.lists(quantities, min_size=1, max_size=5), roundings)
def test_progressive_slices_sum_to_one_bill_at_the_end(
    price: Price, readings: list[Decimal], rounding: Rounding
) -> None:
    billed = usd(0)
    for number, reading in enumerate(readings, start=1):
        billed += charge_to_date(price, reading, billed, rounding, is_last=number == len(readings)).due
    assert billed == amount_of(price, readings[-1], rounding)


@given(bounded_prices(), quantities, roundings)
def test_a_slice_before_the_last_is_never_raised_to_what_the_period_promises(
    price: BoundedPrice, reading: Decimal, rounding: Rounding
) -> None:
    factor = Decimal(1) if price.commitment is None else max(price.commitment.overage_factor, Decimal(1))
    usage = Fraction(factor) * exact_amount_of(price.model, reading, rounding).amount
    assert charge_to_date(price, reading, usd(0), rounding, is_last=False).due.amount <= ceil(usage)


@given(unit_models, quantities, minor_units, st.integers(0, 10**8), shares)
def test_a_bounded_price_stays_within_its_bounds(
    model: Graduated, quantity: Decimal, minimum: int, above: int, share: Fraction
) -> None:
    price = BoundedPrice(model=model, minimum=usd(minimum), maximum=usd(minimum + above))
    amount = amount_of(price, quantity, period_share=share)
    lowest = BoundedPrice(model=Flat(amount=usd(0)), minimum=usd(minimum))
    highest = BoundedPrice(model=Flat(amount=usd(10**9)), maximum=usd(minimum + above))
    assert amount_of(lowest, period_share=share) <= amount <= amount_of(highest, period_share=share)
