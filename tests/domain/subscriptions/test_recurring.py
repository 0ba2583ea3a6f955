"""What a subscription's monthly recurring revenue is: items of any interval, discounts, included tax, its state."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.discounts.computation import AmountOff, Discount, PercentOff
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.rounding import STANDARD_ROUNDING
from domain.pricing.models import (
    BoundedPrice,
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Price,
    RateTier,
    Tier,
    Volume,
)
from domain.subscriptions.recurring import RecurringDiscount, RecurringItem, monthly_revenue, recurring_revenue
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import evolve
from testing.examples.streams import USD, flat, usd
from testing.examples.subscriptions import created, item

YEAR, QUARTER, MONTH = Interval(IntervalUnit.YEAR), Interval(IntervalUnit.QUARTER), Interval(IntervalUnit.MONTH)
TIERS = (Tier(up_to=Decimal(5), unit_amount=Decimal(100)), Tier(above=Decimal(5), up_to=None, unit_amount=Decimal(50)))


def running(
    *items: Any, interval: Interval = MONTH, status: SubscriptionStatus = SubscriptionStatus.ACTIVE
) -> Subscription:
    return replace(evolve(None, created(*items, interval=interval)), status=status)


def percent(of: int) -> PercentOff:
    return PercentOff(percent=Decimal(of))


def fixed(amount: int) -> AmountOff:
    return AmountOff(amount=usd(amount))


def off(discount: Discount, **facts: Any) -> RecurringDiscount:
    return RecurringDiscount(off=discount, **facts)


def test_items_of_several_intervals_are_summed_and_rounded_once() -> None:
    items = (
        item("a", flat(100)),
        replace(item("b", flat(1_000)), interval=QUARTER),
        replace(item("c", flat(1_001)), interval=YEAR),
    )
    assert recurring_revenue(running(*items)) == usd(517), "100 + 333 1/3 + 83 5/12 is 516.75"


@pytest.mark.parametrize(
    ("price", "amount"),
    [
        (flat(700), 700),
        (PerUnit(currency=USD, unit_amount=Decimal("10.5")), 84),
        (Graduated(currency=USD, tiers=TIERS), 650),
        (Volume(currency=USD, tiers=TIERS), 400),
        (Package(currency=USD, package_size=Decimal(5), package_amount=300), 600),
        (BoundedPrice(model=PerUnit(currency=USD, unit_amount=Decimal(10)), minimum=usd(100)), 100),
        (BoundedPrice(model=PerUnit(currency=USD, unit_amount=Decimal(10)), maximum=usd(50)), 50),
        (Percentage(currency=USD, percent=Decimal(3)), 0),
        (GraduatedPercentage(currency=USD, tiers=(RateTier(up_to=None, percent=Decimal(3)),)), 0),
        (BoundedPrice(model=Percentage(currency=USD, percent=Decimal(3)), minimum=usd(100)), 0),
    ],
)
def test_each_licensed_price_counts_with_its_quantity_and_a_percentage_counts_nothing(
    price: Price, amount: int
) -> None:
    quantity = Decimal(8) if price != flat(700) else Decimal(1)
    assert recurring_revenue(running(replace(item(price=price), quantity=quantity))) == usd(amount)


@pytest.mark.parametrize("status", list(SubscriptionStatus))
def test_what_is_not_active_or_past_due_has_none(status: SubscriptionStatus) -> None:
    counts = status in {SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE}
    assert recurring_revenue(running(item(price=flat(100)), status=status)) == usd(100 if counts else 0)


def test_percentages_come_off_before_fixed_amounts() -> None:
    subscription = running(item(price=flat(1_000)))
    assert recurring_revenue(subscription, [off(fixed(100)), off(percent(50))]) == usd(400)


def test_a_fixed_amount_comes_off_as_often_as_what_it_touches_is_billed() -> None:
    yearly = running(item(price=flat(12_000)), interval=YEAR)
    assert recurring_revenue(yearly, [off(fixed(1_200))]) == usd(900)
    both = running(item("a", flat(1_000)), replace(item("b", flat(12_000)), interval=YEAR, product_id="setup"))
    assert recurring_revenue(both, [off(fixed(120))]) == usd(1_880)
    assert recurring_revenue(both, [off(fixed(1_200), product_ids=("setup",))]) == usd(1_900)


def test_no_discount_takes_more_than_there_is() -> None:
    assert recurring_revenue(running(item(price=flat(1_000))), [off(fixed(5_000)), off(percent(100))]) == usd(0)


def test_a_discount_of_some_products_or_prices_leaves_the_others() -> None:
    both = running(item("a", flat(1_000)), replace(item("b", flat(500)), product_id="other"))
    assert recurring_revenue(both, [off(percent(10), product_ids=("other",))]) == usd(1_450)
    assert recurring_revenue(both, [off(percent(10), price_ids=frozenset({"a"}))]) == usd(1_400)


def test_an_inclusive_price_counts_without_its_tax_by_its_category_after_discounts() -> None:
    inclusive = running(
        replace(item("a", flat(1_190)), tax_inclusive=True),
        replace(item("b", flat(1_070)), tax_inclusive=True, tax_category="books"),
        replace(item("c", flat(300)), tax_category="books"),
    )
    known: dict[str | None, Decimal] = {None: Decimal(19), "books": Decimal(7)}
    assert recurring_revenue(inclusive, [], known) == usd(1_000 + 1_000 + 300)
    assert recurring_revenue(inclusive, [off(percent(50))], known) == usd(500 + 500 + 150)
    assert recurring_revenue(inclusive, [], {}) == usd(1_190 + 1_070 + 300), "nothing is known to be contained"


amounts = st.integers(0, 10**8).map(Fraction)


@given(amounts=st.lists(amounts, min_size=1, max_size=5), percents=st.lists(st.integers(1, 100), max_size=3))
def test_percentages_are_a_factor_of_the_exact_sum(amounts: list[Fraction], percents: list[int]) -> None:
    items = [
        RecurringItem(
            price_id=str(nth), product_id="p", tax_category=None, tax_inclusive=False, interval=MONTH, monthly=amount
        )
        for nth, amount in enumerate(amounts)
    ]
    factor = Fraction(1)
    for each in percents:
        factor *= Fraction(100 - each, 100)
    exact = sum(amounts, Fraction(0)) * factor
    found = monthly_revenue(items, [off(percent(each)) for each in percents], {}, STANDARD_ROUNDING)
    assert abs(found - exact) <= Fraction(1, 2)
    assert Money(found, USD).amount >= 0
