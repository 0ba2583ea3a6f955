"""Money: arithmetic in one currency, exact rounding, parsing, and splits that conserve."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.currency import UnknownCurrency, currency_code, exponent_of
from domain.kernel.money import CurrencyMismatch, InvalidAmount, InvalidWeights, Money, allocate, sum_money, sums_by
from domain.kernel.rounding import MAX_DIGITS_BEFORE_POINT, NotRoundable, Rounding
from testing.examples.half_up import round_to_int, times
from testing.oracles import money as oracle_money
from tests.domain.random_cases import CASES, seeded
from tests.domain.strategies import amounts, minor_units, roundings

USD, EUR, JPY, KWD = (currency_code(code) for code in ("USD", "EUR", "JPY", "KWD"))


def as_number(drawn: int) -> int | Fraction | Decimal:
    """One integer as one of the three kinds of number; far quicker to draw than the kinds' own strategies."""
    match drawn % 3:
        case 0:
            return drawn // 3
        case 1:
            return Fraction(drawn // 3, 1 + drawn % 97)
    return Decimal(drawn // 3).scaleb(-(drawn % 7))


weights = st.lists(st.integers(0, 10**7).map(as_number), min_size=1, max_size=4).filter(any)
factors = st.integers(-(10**10), 10**10).map(as_number)


# --- values ----------------------------------------------------------------------------------------------------------


def test_minor_units_are_whole_numbers() -> None:
    for amount in (Decimal(1), Fraction(1), True, "1"):
        with pytest.raises(TypeError, match="whole numbers"):
            Money(amount, USD)  # type: ignore[arg-type] # what a caller outside mypy's sight may pass


def test_arithmetic() -> None:
    assert Money(5, USD) + Money(3, USD) == Money(8, USD)
    assert Money(5, USD) - Money(8, USD) == Money(-3, USD)
    assert -Money(5, USD) == Money(-5, USD)
    assert abs(Money(-5, USD)) == abs(Money(5, USD)) == Money(5, USD)
    assert Money.zero(USD) == Money(0, USD)
    assert sum_money([Money(1, USD), Money(-4, USD)], USD) == Money(-3, USD)
    assert sum_money([], USD) == Money(0, USD)


def test_sums_by_name_are_in_the_order_in_which_the_names_come() -> None:
    sums = sums_by([("b", Money(1, USD)), ("a", Money(5, USD)), ("b", Money(-4, USD))])
    assert list(sums.items()) == [("b", Money(-3, USD)), ("a", Money(5, USD))]
    assert sums_by([]) == {}


def test_signs() -> None:
    assert [Money(n, USD).is_zero for n in (-1, 0, 1)] == [False, True, False]
    assert [Money(n, USD).is_negative for n in (-1, 0, 1)] == [True, False, False]


def test_order() -> None:
    less, more = Money(1, USD), Money(2, USD)
    assert [less < more, less <= more, less > more, less >= more] == [True, True, False, False]
    assert [more < less, more <= less, more > less, more >= less] == [False, False, True, True]
    assert [less < less, less <= less, less > less, less >= less] == [False, True, False, True]


def test_amounts_of_two_currencies_are_different_and_do_not_mix() -> None:
    dollar, euro = Money(1, USD), Money(1, EUR)
    assert dollar != euro
    for mixed in (
        lambda: dollar + euro,
        lambda: dollar - euro,
        lambda: dollar < euro,
        lambda: dollar <= euro,
        lambda: dollar > euro,
        lambda: dollar >= euro,
        lambda: sum_money([dollar, euro], USD),
        lambda: sums_by([("a", dollar), ("a", euro)]),
    ):
        with pytest.raises(CurrencyMismatch) as refused:
            mixed()
        assert refused.value.details == {"currency": "USD", "other": "EUR"}


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("19.99", "USD", 1999),
        ("19.9", "USD", 1990),
        ("19", "USD", 1900),
        ("-0.05", "USD", -5),
        ("0", "USD", 0),
        ("-0", "USD", 0),
        ("007.50", "USD", 750),
        ("1000", "JPY", 1000),
        ("100.500", "KWD", 100500),
        ("1.2345", "CLF", 12345),
        ("9999999999999999.99", "USD", 10**18 - 1),
    ],
)
def test_parsing(text: str, currency: str, amount: int) -> None:
    assert Money.parse(text, currency) == Money(amount, currency_code(currency))


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("19.999", "USD"),
        ("19.990", "USD"),
        ("1000.0", "JPY"),
        ("1.0001", "KWD"),
        ("1e3", "USD"),
        ("1E3", "USD"),
        ("", "USD"),
        ("-", "USD"),
        (".5", "USD"),
        ("5.", "USD"),
        ("+5", "USD"),
        ("--5", "USD"),
        ("1,000", "USD"),
        ("1 000", "USD"),
        (" 5", "USD"),
        ("5\n", "USD"),
        ("1_000", "USD"),
        ("0x10", "USD"),
        ("NaN", "USD"),
        ("Infinity", "USD"),
        ("٥", "USD"),
        ("1.2.3", "USD"),
        ("10000000000000000.00", "USD"),
    ],
)
def test_text_that_is_not_an_amount_of_the_currency_is_refused(text: str, currency: str) -> None:
    with pytest.raises(InvalidAmount) as refused:
        Money.parse(text, currency)
    assert refused.value.details["amount"] == text
    assert refused.value.details["reason"]


def test_parsing_says_what_was_wrong() -> None:
    for text, reason in (
        ("1.234", "USD has 2 decimals"),
        ("abc", "not a plain decimal number"),
        ("1" * 19, "more than 18 digits in minor units"),
    ):
        with pytest.raises(InvalidAmount) as refused:
            Money.parse(text, "USD")
        assert refused.value.details["reason"] == reason
    with pytest.raises(UnknownCurrency):
        Money.parse("1", "usd")
    with pytest.raises(InvalidAmount) as refused:
        Money.parse("9" * 5000, "JPY")
    assert refused.value.details["amount"] == "9" * 32
    with pytest.raises(InvalidAmount) as refused:
        Money.parse("a" * 5000, "JPY")
    assert refused.value.details["amount"] == "a" * 32
    with pytest.raises(InvalidAmount) as refused:
        Money.parse("0." + "0" * 5000, "JPY")
    assert refused.value.details["amount"] == "0." + "0" * 30


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1999, USD), "19.99 USD"),
        (Money(-5, USD), "-0.05 USD"),
        (Money(-1, USD), "-0.01 USD"),
        (Money(0, USD), "0.00 USD"),
        (Money(100, USD), "1.00 USD"),
        (Money(-1999, USD), "-19.99 USD"),
        (Money(1000, JPY), "1000 JPY"),
        (Money(0, JPY), "0 JPY"),
        (Money(-7, JPY), "-7 JPY"),
        (Money(5, KWD), "0.005 KWD"),
    ],
)
def test_formatting(money: Money, text: str) -> None:
    assert money.format() == text


@given(amounts)
def test_text_and_back_is_the_same_amount(money: Money) -> None:
    number, code = money.format().split(" ")
    assert Money.parse(number, code) == money
    assert len(number.partition(".")[2]) == exponent_of(money.currency)


# --- rounding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "up", "even"),
    [
        ("0.5", 1, 0),
        ("1.5", 2, 2),
        ("2.5", 3, 2),
        ("-0.5", -1, 0),
        ("-1.5", -2, -2),
        ("-2.5", -3, -2),
        ("0.4999999999999999999999999999999999999999", 0, 0),
        ("0.5000000000000000000000000000000000000001", 1, 1),
        ("-0.49", 0, 0),
        ("7", 7, 7),
    ],
)
def test_halves_go_by_the_rule_and_everything_else_to_the_nearest(text: str, up: int, even: int) -> None:
    for value in (Decimal(text), Fraction(text)):
        assert round_to_int(value) == up
        assert round_to_int(value, Rounding.HALF_UP) == up
        assert round_to_int(value, Rounding.HALF_EVEN) == even
    assert round_to_int(7, Rounding.HALF_EVEN) == 7


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity", "1E64", "1E999999999", "-1E64"])
def test_what_cannot_be_an_amount_is_not_rounded(value: str) -> None:
    with pytest.raises(NotRoundable) as refused:
        round_to_int(Decimal(value))
    assert refused.value.details["value"] == str(Decimal(value))


def test_the_largest_decimal_that_is_rounded() -> None:
    assert MAX_DIGITS_BEFORE_POINT == 64
    assert round_to_int(Decimal("9" * MAX_DIGITS_BEFORE_POINT)) == 10**MAX_DIGITS_BEFORE_POINT - 1
    with pytest.raises(NotRoundable) as refused:
        round_to_int(Decimal("9" * (MAX_DIGITS_BEFORE_POINT + 1)))
    assert refused.value.details["value"] == "9" * 32


@given(minor_units, factors, roundings)
def test_a_product_is_the_nearest_to_the_exact_one_whatever_the_context(
    amount: int, factor: Decimal | Fraction | int, rounding: Rounding
) -> None:
    exact = amount * Fraction(factor)
    naive = oracle_money.half_up if rounding is Rounding.HALF_UP else oracle_money.half_even
    with localcontext() as context:
        context.prec = 3
        product = times(Money(amount, USD), factor, rounding)
    assert product == Money(naive(exact), USD)
    assert abs(product.amount - exact) <= Fraction(1, 2)
    assert times(Money(-amount, USD), factor, rounding) == -product


def test_products_round_half_up_unless_told_otherwise() -> None:
    for factor in (Decimal("0.5"), Fraction(1, 2)):
        assert times(Money(5, USD), factor) == Money(3, USD)
        assert times(Money(5, USD), factor, Rounding.HALF_EVEN) == Money(2, USD)
    assert times(Money(5, USD), 3) == Money(15, USD)


# --- splitting -------------------------------------------------------------------------------------------------------


def test_the_largest_remainder_gets_the_odd_unit_and_ties_go_to_the_earlier() -> None:
    assert [part.amount for part in allocate(Money(100, USD), [1, 1, 1])] == [34, 33, 33]
    assert [part.amount for part in allocate(Money(101, USD), [1, 1, 1])] == [34, 34, 33]
    assert [part.amount for part in allocate(Money(-100, USD), [1, 1, 1])] == [-34, -33, -33]
    assert [part.amount for part in allocate(Money(-1, USD), [1, 1])] == [-1, 0]
    assert [part.amount for part in allocate(Money(100, USD), [100, 200])] == [33, 67]
    assert [part.amount for part in allocate(Money(1, USD), [0, 0, 3])] == [0, 0, 1]
    assert [part.amount for part in allocate(Money(10, USD), [Decimal("0.25"), Fraction(1, 2), 1])] == [1, 3, 6]
    assert allocate(Money(7, USD), [5]) == [Money(7, USD)]


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ([], "no weight above zero"),
        ([0, 0], "no weight above zero"),
        ([Decimal(0)], "no weight above zero"),
        ([3, -1], "a weight below zero"),
        ([1, -1], "a weight below zero"),
        ([Fraction(-1, 2), 1], "a weight below zero"),
    ],
)
def test_weights_that_cannot_split_are_refused(weights: list[int | Decimal | Fraction], reason: str) -> None:
    with pytest.raises(InvalidWeights) as refused:
        allocate(Money(100, USD), weights)
    assert refused.value.details == {"reason": reason, "weights": len(weights)}


@given(amounts, weights)
def test_splitting_conserves_and_every_part_is_its_exact_share_rounded_one_way(
    money: Money, weights: list[int | Decimal | Fraction]
) -> None:
    parts = allocate(money, weights)
    assert sum_money(parts, money.currency) == money
    whole = sum(Fraction(weight) for weight in weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.amount - money.amount * Fraction(weight) / whole) < 1


@given(amounts, weights)
def test_splitting_a_credit_mirrors_splitting_a_charge(money: Money, weights: list[int | Decimal | Fraction]) -> None:
    assert allocate(-money, weights) == [-part for part in allocate(money, weights)]


@given(amounts, weights, st.integers(1, 1000))
def test_only_the_proportions_of_weights_count(
    money: Money, weights: list[int | Decimal | Fraction], factor: int
) -> None:
    assert allocate(money, [Fraction(weight) * factor for weight in weights]) == allocate(money, weights)


@given(amounts, minor_units)
def test_sums_and_differences_undo_each_other(money: Money, other_amount: int) -> None:
    other = Money(other_amount, money.currency)
    assert money + other - other == money
    assert money - other == -(other - money)
    assert (money < other) == (other > money) == (money.amount < other.amount)


def test_splits_and_products_agree_with_the_oracle() -> None:
    random = seeded()
    for _ in range(CASES):
        amount = random.randint(-(10**9), 10**9)
        shares = [Fraction(random.randint(0, 10**4), random.randint(1, 100)) for _ in range(random.randint(1, 5))]
        shares.append(Fraction(random.randint(1, 50)))
        assert [part.amount for part in allocate(Money(amount, USD), shares)] == oracle_money.split(amount, shares)
        rate = Decimal(random.randint(-(10**8), 10**8)).scaleb(-random.randint(0, 8))
        assert times(Money(amount, USD), rate).amount == oracle_money.half_up(amount * Fraction(rate))
