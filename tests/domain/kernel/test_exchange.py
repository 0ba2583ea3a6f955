"""Exchange at a dated rate, and what becomes of the difference."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.currency import CurrencyCode, currency_code, exponent_of
from domain.kernel.exchange import ExchangeRate, InvalidExchangeRate, exchange_parts, settlement_difference
from domain.kernel.money import CurrencyMismatch, Money
from domain.kernel.rounding import Rounding
from testing.examples.half_up import HALF_UP, exchange
from tests.domain.strategies import currencies, minor_units, roundings

USD, EUR, JPY, KWD = (currency_code(code) for code in ("USD", "EUR", "JPY", "KWD"))
ON = date(2025, 3, 31)


def rate(text: str, source: CurrencyCode = USD, target: CurrencyCode = EUR) -> ExchangeRate:
    return ExchangeRate(source=source, target=target, rate=Decimal(text), quoted_on=ON)


def test_the_exponents_of_both_currencies_count() -> None:
    assert exchange(Money(1000, JPY), rate("0.0065", JPY, USD)).money == Money(650, USD)
    assert exchange(Money(650, USD), rate("150", USD, JPY)).money == Money(975, JPY)
    assert exchange(Money(1000, KWD), rate("3.25", KWD, USD)).money == Money(325, USD)


def test_the_rounding_difference_is_returned_with_the_rate_it_came_from() -> None:
    exchanged = exchange(Money(101, USD), rate("0.915"))
    assert exchanged.money == Money(92, EUR)
    assert exchanged.rounding_difference == Fraction(415, 1000)
    assert exchanged.rate == rate("0.915")


def test_halves_go_by_the_rule() -> None:
    assert exchange(Money(1, USD), rate("0.5")).money == Money(1, EUR)
    assert exchange(Money(1, USD), rate("0.5"), Rounding.HALF_EVEN).money == Money(0, EUR)
    assert exchange(Money(-1, USD), rate("0.5")).money == Money(-1, EUR)
    halves = [Money(1, USD), Money(1, USD), Money(1, USD)]
    assert exchange_parts(halves, rate("0.5"), HALF_UP)[0] == [Money(1, EUR)] * 3
    assert exchange_parts(halves, rate("0.5"), HALF_UP) == ([Money(1, EUR)] * 3, Money(-1, EUR))
    assert exchange_parts(halves, rate("0.5"), Rounding.HALF_EVEN) == ([Money(0, EUR)] * 3, Money(2, EUR))


def test_a_rate_that_moved_is_a_gain_or_a_loss() -> None:
    booked, settled = rate("0.90"), rate("0.92")
    assert settlement_difference(Money(10000, USD), booked=booked, settled=settled, rounding=HALF_UP) == Money(200, EUR)
    assert settlement_difference(Money(10000, USD), booked=settled, settled=booked, rounding=HALF_UP) == Money(
        -200, EUR
    )
    half, three_halves = rate("0.5"), rate("1.5")
    assert settlement_difference(Money(1, USD), booked=half, settled=three_halves, rounding=HALF_UP) == Money(1, EUR)
    assert settlement_difference(
        Money(1, USD), booked=half, settled=three_halves, rounding=Rounding.HALF_EVEN
    ) == Money(2, EUR)


def test_money_of_another_currency_than_the_rates_is_refused() -> None:
    with pytest.raises(CurrencyMismatch) as refused:
        exchange(Money(1, EUR), rate("2"))
    assert refused.value.details == {"currency": "EUR", "other": "USD"}


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "Infinity"])
def test_a_rate_is_a_finite_number_above_zero(text: str) -> None:
    with pytest.raises(InvalidExchangeRate) as refused:
        rate(text)
    assert refused.value.details == {"rate": text, "source": "USD", "target": "EUR"}


def test_a_refused_rate_is_quoted_in_short() -> None:
    with pytest.raises(InvalidExchangeRate) as refused:
        rate("-1." + "1" * 100)
    assert refused.value.details["rate"] == "-1." + "1" * 29


def test_a_rate_is_between_two_currencies() -> None:
    with pytest.raises(InvalidExchangeRate):
        rate("1", USD, USD)


@given(minor_units, currencies, currencies, st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-6)), roundings)
def test_nothing_is_lost_in_an_exchange(
    amount: int, source: CurrencyCode, target: CurrencyCode, quoted: Decimal, rounding: Rounding
) -> None:
    if source == target:
        return
    exchanged = exchange(Money(amount, source), rate(str(quoted), source, target), rounding)
    exact = Fraction(amount, 10 ** exponent_of(source)) * Fraction(quoted) * 10 ** exponent_of(target)
    assert exchanged.money.amount + exchanged.rounding_difference == exact
    assert abs(exchanged.rounding_difference) <= Fraction(1, 2)


@given(st.lists(minor_units, max_size=4), st.integers(1, 10**7).map(lambda n: Decimal(n).scaleb(-4)), roundings)
def test_parts_and_their_difference_make_the_whole(parts: list[int], quoted: Decimal, rounding: Rounding) -> None:
    money = [Money(part, USD) for part in parts]
    exchanged, difference = exchange_parts(money, rate(str(quoted)), rounding)
    whole = exchange(Money(sum(parts), USD), rate(str(quoted)), rounding).money
    assert sum(part.amount for part in exchanged) + difference.amount == whole.amount
    assert 2 * abs(difference.amount) <= len(parts) + 1
