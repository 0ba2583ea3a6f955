"""The vector of rounding and exponents."""

from decimal import Decimal
from fractions import Fraction

from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from testing.examples.half_up import round_to_int, times

JPY, USD = currency_code("JPY"), currency_code("USD")


def test_vector_28_yen_are_rounded_half_up_away_from_zero() -> None:
    assert round_to_int(Decimal("1000.5")) == 1001
    assert round_to_int(Decimal("-100.5")) == -101
    assert round_to_int(Fraction(2001, 2)) == 1001
    assert round_to_int(Fraction(-201, 2)) == -101


def test_vector_28_tax_and_discount_of_an_amount_without_decimals() -> None:
    assert times(Money(999, JPY), Decimal("0.105")) == Money(105, JPY)
    assert times(Money(1000, JPY), Decimal("0.33333")) == Money(333, JPY)


def test_vector_28_a_dinar_has_a_thousand_minor_units() -> None:
    assert Money.parse("100.500", "KWD").amount == 100500


def test_vector_28_tax_on_dollars_is_rounded_once_half_up() -> None:
    assert times(Money(10000, USD), Decimal("0.08875")) == Money(888, USD)
    assert times(Money(100, USD), Decimal("0.001")) == Money(0, USD)


def test_half_even_differs_from_vector_28_only_at_the_half() -> None:
    assert round_to_int(Decimal("1000.5"), Rounding.HALF_EVEN) == 1000
    assert round_to_int(Decimal("-100.5"), Rounding.HALF_EVEN) == -100
    assert times(Money(10000, USD), Decimal("0.08875"), Rounding.HALF_EVEN) == Money(888, USD)
