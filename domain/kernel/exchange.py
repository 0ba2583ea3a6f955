"""Exchange at a dated rate. What rounding or a moved rate makes of an amount is an amount of its own, never hidden."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from domain.kernel.currency import CurrencyCode, exponent_of
from domain.kernel.money import CurrencyMismatch, Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding, round_to_int


class InvalidExchangeRate(Refusal):
    """An exchange rate is a finite number above zero between two different currencies."""

    code = "invalid_exchange_rate"
    kind = RefusalKind.INVALID
    param = "rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """On `quoted_on`, one whole unit of `source` (1.00 USD, not one cent) is `rate` whole units of `target`."""

    source: CurrencyCode
    target: CurrencyCode
    rate: Decimal
    quoted_on: date

    def __post_init__(self) -> None:
        if not self.rate.is_finite() or self.rate <= 0 or self.source == self.target:
            raise InvalidExchangeRate(rate=str(self.rate)[:32], source=self.source, target=self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """`money` in the target currency, and what rounding kept from it: exact amount = money + rounding_difference."""

    money: Money
    rounding_difference: Fraction  # minor units of the target currency, between -1/2 and 1/2
    rate: ExchangeRate


def exchange(money: Money, rate: ExchangeRate, rounding: Rounding) -> Exchanged:
    """`money` at `rate`, rounded once by `rounding` to minor units of the target, with the difference that it made.

    The exponents of both currencies count: 1000 JPY at 0.0065 is 6.50 USD = 650 minor units. That the difference is
    returned, to be posted to an account of its own, is this project's rule. Raises CurrencyMismatch.
    """
    exact = exact_exchange(money, rate)
    rounded = round_to_int(exact, rounding)
    return Exchanged(money=Money(rounded, rate.target), rounding_difference=exact - rounded, rate=rate)


def exact_exchange(money: Money, rate: ExchangeRate) -> Fraction:
    """`money` at `rate` in minor units of the target currency, not rounded. Raises CurrencyMismatch."""
    if money.currency != rate.source:
        raise CurrencyMismatch(currency=money.currency, other=rate.source)
    scale = Fraction(10) ** (exponent_of(rate.target) - exponent_of(rate.source))
    return money.amount * Fraction(rate.rate) * scale


def settlement_difference(money: Money, *, booked: ExchangeRate, settled: ExchangeRate, rounding: Rounding) -> Money:
    """Gain (positive) or loss (negative), in the target currency, because the rate moved between two dates.

    The difference of the two rounded amounts, so that booked amount + difference = settled amount exactly.
    Raises CurrencyMismatch when the rates are not between the same two currencies.
    """
    return exchange(money, settled, rounding).money - exchange(money, booked, rounding).money


def exchange_parts(parts: list[Money], rate: ExchangeRate, rounding: Rounding) -> tuple[list[Money], Money]:
    """Each part exchanged and rounded by itself, and the difference to the sum exchanged at once.

    sum(exchanged parts) + difference = the exchanged sum, in minor units of the target. Raises CurrencyMismatch.
    """
    exchanged = [exchange(part, rate, rounding).money for part in parts]
    total = sum((exact_exchange(part, rate) for part in parts), Fraction(0))
    whole = Money(round_to_int(total, rounding), rate.target)
    return exchanged, Money(whole.amount - sum(part.amount for part in exchanged), rate.target)
