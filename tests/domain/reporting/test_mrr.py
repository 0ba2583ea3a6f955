"""Monthly recurring revenue and its five movements."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.money import CurrencyMismatch, Money
from domain.kernel.rounding import Rounding
from domain.reporting.mrr import MrrMovements, NegativeRecurringRevenue, movements
from testing.examples.half_up import monthly_recurring
from testing.oracles import money as oracle_money
from tests.domain.random_cases import CASES, seeded

USD, EUR = currency_code("USD"), currency_code("EUR")
states = st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**7).map(lambda amount: Money(amount, USD)))


def moved(**amounts: int) -> MrrMovements:
    figures = {"new": 0, "expansion": 0, "contraction": 0, "churn": 0, "reactivation": 0, **amounts}
    return MrrMovements(**{name: Money(amount, USD) for name, amount in figures.items()})


def between(before: dict[str, int], after: dict[str, int], *, paid_before: bool = False) -> MrrMovements:
    return movements(
        {key: Money(amount, USD) for key, amount in before.items()},
        {key: Money(amount, USD) for key, amount in after.items()},
        USD,
        paid_before=paid_before,
    )


def test_a_first_subscription_is_new_and_a_return_is_reactivation() -> None:
    assert between({}, {"a": 100, "b": 50}) == moved(new=150)
    assert between({"free": 0}, {"free": 0, "a": 100}) == moved(new=100)
    assert between({}, {"a": 100}, paid_before=True) == moved(reactivation=100)


def test_the_last_subscription_to_end_is_churn_also_when_a_free_one_stays() -> None:
    assert between({"a": 100, "b": 50}, {}) == moved(churn=-150)
    assert between({"a": 100}, {"a": 0}, paid_before=True) == moved(churn=-100)


def test_in_between_every_subscription_moves_by_itself() -> None:
    assert between({"a": 100, "b": 80}, {"a": 150, "b": 30}) == moved(expansion=50, contraction=-50)
    assert between({"a": 100}, {"a": 100, "b": 20}) == moved(expansion=20)
    assert between({"a": 100, "b": 20}, {"b": 20}) == moved(contraction=-100)
    assert between({"a": 100}, {"b": 70}) == moved(expansion=70, contraction=-100)


def test_nothing_happened() -> None:
    assert between({}, {}) == between({"a": 5}, {"a": 5}) == between({}, {}, paid_before=True) == moved()


def test_recurring_revenue_below_zero_is_refused() -> None:
    for before, after in (({"a": -1}, {}), ({}, {"a": -1})):
        with pytest.raises(NegativeRecurringRevenue) as refused:
            between(before, after)
        assert refused.value.details == {"subscription": "a", "amount": -1}


def test_movements_are_of_one_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        movements({"a": Money(1, EUR)}, {}, USD, paid_before=False)
    with pytest.raises(CurrencyMismatch):
        movements({}, {"a": Money(1, EUR)}, USD, paid_before=False)


def test_a_months_half_minor_unit_goes_by_the_rule() -> None:
    two_months = Interval(IntervalUnit.MONTH, 2)
    assert monthly_recurring(Money(1, USD), two_months) == Money(1, USD)
    assert monthly_recurring(Money(1, USD), two_months, Rounding.HALF_EVEN) == Money(0, USD)
    assert monthly_recurring(Money(77, USD), Interval(IntervalUnit.MONTH)) == Money(77, USD)


@given(states, states, st.booleans())
def test_movements_sum_to_the_difference_and_each_goes_its_own_way(
    before: dict[str, Money], after: dict[str, Money], paid_before: bool
) -> None:
    moves = movements(before, after, USD, paid_before=paid_before)
    difference = sum(money.amount for money in after.values()) - sum(money.amount for money in before.values())
    assert moves.total.amount == difference
    assert min(moves.new, moves.expansion, moves.reactivation).amount >= 0
    assert max(moves.contraction, moves.churn).amount <= 0
    whole_customer = (moves.new, moves.churn, moves.reactivation)
    by_subscription = (moves.expansion, moves.contraction)
    assert sum(not move.is_zero for move in whole_customer) <= 1
    assert all(move.is_zero for move in whole_customer) or all(move.is_zero for move in by_subscription)


@given(states, states)
def test_going_back_undoes_the_movements(before: dict[str, Money], after: dict[str, Money]) -> None:
    there, back = (movements(*pair, USD, paid_before=True) for pair in ((before, after), (after, before)))
    assert there.total == -back.total
    assert there.expansion == -back.contraction
    assert there.reactivation == -back.churn


def test_normalization_agrees_with_the_oracle() -> None:
    """By way of a year's price."""
    random = seeded()
    per_year = {
        IntervalUnit.DAY: 365,
        IntervalUnit.WEEK: 52,
        IntervalUnit.MONTH: 12,
        IntervalUnit.QUARTER: 4,
        IntervalUnit.YEAR: 1,
    }
    for _ in range(CASES):
        price, interval = random.randint(0, 10**8), Interval(random.choice(list(per_year)), random.randint(1, 24))
        in_a_year = Fraction(price * per_year[interval.unit], interval.count)
        assert monthly_recurring(Money(price, USD), interval).amount == oracle_money.half_up(in_a_year / 12)
