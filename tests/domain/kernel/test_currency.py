"""Currencies by ISO 4217."""

import pytest

from domain.kernel.currency import (
    CODES_WITHOUT_A_MINOR_UNIT,
    EXPONENTS,
    CurrencyCode,
    UnknownCurrency,
    currency_code,
    exponent_of,
)


def test_the_active_codes_of_the_standard_are_all_there() -> None:
    assert len(EXPONENTS) == 165
    by_exponent = {n: sum(1 for exponent in EXPONENTS.values() if exponent == n) for n in (0, 2, 3, 4)}
    assert by_exponent == {0: 17, 2: 139, 3: 7, 4: 2}
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in EXPONENTS)


@pytest.mark.parametrize(
    ("code", "exponent"),
    [("JPY", 0), ("ISK", 0), ("USD", 2), ("EUR", 2), ("KWD", 3), ("TND", 3), ("CLF", 4), ("UYW", 4)],
)
def test_the_minor_unit_has_its_decimals(code: str, exponent: int) -> None:
    assert exponent_of(currency_code(code)) == exponent


@pytest.mark.parametrize("text", ["usd", "US", "USDX", "", " USD", "DEM", "HRK", "BTC", "ＵＳＤ"])
def test_anything_but_an_active_code_is_refused(text: str) -> None:
    with pytest.raises(UnknownCurrency) as refused:
        currency_code(text)
    assert refused.value.details == {"currency": text}
    assert refused.value.code == "unknown_currency"


@pytest.mark.parametrize("code", sorted(CODES_WITHOUT_A_MINOR_UNIT))
def test_metals_funds_and_test_codes_without_a_minor_unit_are_refused(code: str) -> None:
    with pytest.raises(UnknownCurrency):
        currency_code(code)


def test_a_code_that_nobody_parsed_has_no_exponent() -> None:
    with pytest.raises(UnknownCurrency) as refused:
        exponent_of(CurrencyCode("XAU"))
    assert refused.value.details == {"currency": "XAU"}


def test_a_refusal_does_not_carry_a_whole_novel() -> None:
    with pytest.raises(UnknownCurrency) as refused:
        currency_code("A" * 10_000)
    assert refused.value.details == {"currency": "A" * 16}
