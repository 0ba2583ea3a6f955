"""Receivables by age."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.currency import currency_code
from domain.kernel.money import CurrencyMismatch, Money
from domain.reporting.ageing import AgeBucket, Ageing, OpenAmount, age, bucket_of
from tests.domain.strategies import minor_units

USD, EUR = currency_code("USD"), currency_code("EUR")
AS_OF = date(2025, 6, 30)


@pytest.mark.parametrize(
    ("days_overdue", "bucket"),
    [
        (-400, AgeBucket.CURRENT),
        (0, AgeBucket.CURRENT),
        (1, AgeBucket.DAYS_1_30),
        (30, AgeBucket.DAYS_1_30),
        (31, AgeBucket.DAYS_31_60),
        (60, AgeBucket.DAYS_31_60),
        (61, AgeBucket.DAYS_61_90),
        (90, AgeBucket.DAYS_61_90),
        (91, AgeBucket.OVER_90),
        (4000, AgeBucket.OVER_90),
    ],
)
def test_the_edges_of_the_buckets(days_overdue: int, bucket: AgeBucket) -> None:
    assert bucket_of(AS_OF - timedelta(days=days_overdue), AS_OF) is bucket


def test_amounts_are_summed_by_bucket() -> None:
    owed = [
        OpenAmount(amount=Money(amount, USD), due_on=AS_OF - timedelta(days=days))
        for amount, days in ((1, 0), (2, -5), (4, 10), (8, 45), (16, 75), (32, 91), (-64, 200))
    ]
    ageing = age(owed, AS_OF, USD)
    assert ageing == Ageing(
        current=Money(3, USD),
        days_1_30=Money(4, USD),
        days_31_60=Money(8, USD),
        days_61_90=Money(16, USD),
        over_90=Money(-32, USD),
    )
    assert ageing.total == Money(-1, USD)
    assert age([], AS_OF, EUR).total == Money(0, EUR)


def test_one_table_is_of_one_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        age([OpenAmount(amount=Money(1, EUR), due_on=AS_OF)], AS_OF, USD)


@given(st.lists(st.tuples(minor_units, st.integers(-200, 400)), max_size=5))
def test_the_buckets_sum_to_what_is_owed(owed: list[tuple[int, int]]) -> None:
    items = [OpenAmount(amount=Money(amount, USD), due_on=AS_OF - timedelta(days=days)) for amount, days in owed]
    ageing = age(items, AS_OF, USD)
    assert ageing.total == Money(sum(amount for amount, _ in owed), USD)
    assert ageing.current.amount == sum(amount for amount, days in owed if days <= 0)
    assert ageing.over_90.amount == sum(amount for amount, days in owed if days > 90)
