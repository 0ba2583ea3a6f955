"""Amounts, dates and names of countries as a locale writes them (CLDR, by babel). Nothing comes from the machine."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_interval
from babel.numbers import NumberPattern, parse_pattern

from domain.kernel.currency import CurrencyCode, exponent_of
from domain.kernel.money import Money

_INSTANT: Final = timedelta(microseconds=1)
_DECIMALS_MAX: Final = 12
NO_BREAK_SPACE: Final = "\u00a0"
_LETTER_AND_DIGIT: Final = re.compile(r"(?<=[A-Za-z])(?=[0-9])")
"""Where CLDR wants a space between a currency's code and the figures, which babel leaves out (currencySpacing)."""


class Formats:
    """How a locale (`de-AT`) writes, with days as they are in a time zone."""

    def __init__(self, locale: str, time_zone: str) -> None:
        self.language, _, self.country = locale.partition("-")
        self._locale = _known(self.language, self.country)
        self._zone = ZoneInfo(time_zone)
        # The lines of an invoice are much alike, and to read a pattern or to find an interval's takes long.
        self._quantities = parse_pattern(f"#,##0.{'#' * _DECIMALS_MAX}")
        self._patterns: dict[int, NumberPattern] = {}
        self._periods: dict[tuple[date, date], str] = {}

    def money(self, amount: Money) -> str:
        """With as many decimals as the currency has minor units, whatever the locale's data say of it."""
        exponent = exponent_of(amount.currency)
        return self._amount(Decimal(amount.amount).scaleb(-exponent), amount.currency, exponent)

    def unit_price(self, minor_units: Decimal, currency: CurrencyCode) -> str:
        """A price of one unit, which may have parts of a minor unit: all of its decimals."""
        exponent = exponent_of(currency)
        value = minor_units.scaleb(-exponent).normalize()
        decimals = len(f"{value:f}".partition(".")[2])
        return self._amount(value, currency, max(exponent, decimals))

    def _amount(self, value: Decimal, currency: CurrencyCode, decimals: int) -> str:
        pattern = self._patterns.get(decimals)
        if pattern is None:
            pattern = self._patterns[decimals] = parse_pattern(self._locale.currency_formats["standard"].pattern)
            pattern.frac_prec = (decimals, decimals)
        written: str = pattern.apply(value, self._locale, currency=currency, currency_digits=False)
        return _LETTER_AND_DIGIT.sub(NO_BREAK_SPACE, written)

    def quantity(self, quantity: Decimal) -> str:
        """All of its decimals, without trailing zeros."""
        written: str = self._quantities.apply(quantity.normalize(), self._locale, decimal_quantization=False)
        return written

    def day(self, at: datetime) -> str:
        """The day of an instant."""
        return format_date(at.astimezone(self._zone).date(), format="long", locale=self._locale)

    def period(self, start: datetime, end: datetime) -> str:
        """The days from `start` to `end`, which is no part of it."""
        first, last = (each.astimezone(self._zone).date() for each in (start, end - _INSTANT))
        written = self._periods.get((first, last))
        if written is None:
            written = self._periods[first, last] = format_interval(first, last, "yMMMd", locale=self._locale)
        return written

    def country_name(self, code: str) -> str:
        """A country of ISO 3166-1, in the locale's language."""
        name: str = self._locale.territories.get(code, code)
        return name


def _known(language: str, country: str) -> Locale:
    """The locale's data; those of the language alone where the country has none in it."""
    if country:
        try:
            return Locale.parse(f"{language}_{country}")
        except UnknownLocaleError:
            pass
    return Locale.parse(language)
