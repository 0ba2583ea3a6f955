"""Money: an integer of minor units in one currency, and the few things that may be done with it."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Final, Self

from domain.kernel.currency import CurrencyCode, currency_code, exponent_of
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import EXACT, Rounding, round_to_int

MAX_PARSED_DIGITS = 18
"""Digits of an amount read from text, in minor units: it fits the 64 bits of the log and the database."""

_DECIMAL_TEXT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")


class CurrencyMismatch(Refusal):
    """Two amounts of different currencies cannot be combined or compared."""

    code = "currency_mismatch"
    kind = RefusalKind.INVALID
    param = "currency"


class InvalidAmount(Refusal):
    """The text is not a plain decimal number that the currency can hold."""

    code = "invalid_amount"
    kind = RefusalKind.INVALID
    param = "amount"


class InvalidWeights(Refusal):
    """An amount cannot be split by these weights."""

    code = "invalid_weights"
    kind = RefusalKind.INVALID


@dataclass(frozen=True, slots=True, init=False)
class Money:
    """`amount` minor units of `currency`: Money(1999, USD) is 19.99 USD. Negative amounts are credits."""

    amount: int
    currency: CurrencyCode

    def __init__(self, amount: int, currency: CurrencyCode) -> None:
        if type(amount) is not int:
            raise TypeError(f"minor units are whole numbers, not {type(amount).__name__}")
        # Every figure is made here: the slots are written in half the time of a frozen dataclass's own `__init__`.
        _set_amount(self, amount)
        _set_currency(self, currency)

    @classmethod
    def zero(cls, currency: CurrencyCode) -> Self:
        """Nothing, in that currency."""
        return cls(0, currency)

    @classmethod
    def parse(cls, text: str, currency: str) -> Self:
        """Money from a plain decimal: "19.99", "-0.05", "1000". No rounding: what does not fit is refused.

        Raises UnknownCurrency, or InvalidAmount for more decimals than the currency has (even zeros), exponents,
        signs other than a leading minus, separators, spaces, digits of other scripts, or more than
        MAX_PARSED_DIGITS digits.
        """
        code = currency_code(currency)
        exponent = exponent_of(code)
        match = _DECIMAL_TEXT.fullmatch(text)
        if match is None:
            raise InvalidAmount(amount=text[:32], reason="not a plain decimal number")
        sign, whole, decimals = match.group(1), match.group(2), match.group(3) or ""
        if len(decimals) > exponent:
            raise InvalidAmount(amount=text[:32], reason=f"{code} has {exponent} decimals")
        digits = whole + decimals.ljust(exponent, "0")
        if len(digits) > MAX_PARSED_DIGITS:
            raise InvalidAmount(amount=text[:32], reason=f"more than {MAX_PARSED_DIGITS} digits in minor units")
        return cls(int(sign + digits), code)

    def format(self) -> str:
        """Decimal text and code, all decimals shown: "19.99 USD", "-0.05 USD", "1000 JPY"."""
        exponent = exponent_of(self.currency)
        sign = "-" if self.amount < 0 else ""
        digits = str(abs(self.amount)).rjust(exponent + 1, "0")
        if exponent == 0:
            return f"{sign}{digits} {self.currency}"
        return f"{sign}{digits[:-exponent]}.{digits[-exponent:]} {self.currency}"

    @property
    def is_zero(self) -> bool:
        return self.amount == 0

    @property
    def is_negative(self) -> bool:
        return self.amount < 0

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise _mismatch(self, other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise _mismatch(self, other)
        return Money(self.amount - other.amount, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __abs__(self) -> "Money":
        return Money(abs(self.amount), self.currency)

    def __lt__(self, other: "Money") -> bool:
        if self.currency != other.currency:
            raise _mismatch(self, other)
        return self.amount < other.amount

    def __le__(self, other: "Money") -> bool:
        if self.currency != other.currency:
            raise _mismatch(self, other)
        return self.amount <= other.amount

    def __gt__(self, other: "Money") -> bool:
        if self.currency != other.currency:
            raise _mismatch(self, other)
        return self.amount > other.amount

    def __ge__(self, other: "Money") -> bool:
        if self.currency != other.currency:
            raise _mismatch(self, other)
        return self.amount >= other.amount


_set_amount: Final[Callable[[Money, int], None]] = Money.__dict__["amount"].__set__
_set_currency: Final[Callable[[Money, CurrencyCode], None]] = Money.__dict__["currency"].__set__


@dataclass(frozen=True, slots=True)
class ExactAmount:
    """Minor units before their one rounding: a month at half a cent is a quarter of a cent for half of it."""

    amount: Fraction
    currency: CurrencyCode


def times(money: Money | ExactAmount, factor: Decimal | Fraction | int, rounding: Rounding) -> Money:
    """money × factor, rounded once, from the exact product, to whole minor units by `rounding`."""
    if isinstance(money, ExactAmount):
        return Money(round_to_int(money.amount * Fraction(factor), rounding), money.currency)
    if isinstance(factor, int):
        return Money(money.amount * factor, money.currency)
    if isinstance(factor, Fraction):
        return Money(round_to_int(money.amount * factor, rounding), money.currency)
    return Money(round_to_int(EXACT.multiply(money.amount, factor), rounding), money.currency)


def allocate(money: Money, weights: Sequence[int | Decimal | Fraction]) -> list[Money]:
    """Split by weights so that the parts sum to the whole: largest remainder, ties to the earlier part.

    Each part is the exact share in minor units, rounded down or up; a zero weight gets nothing; a negative amount is
    split as its mirror image. Splitting this way (largest remainder, earlier line first) is vectors 23 to 25.
    Raises InvalidWeights when there are no weights, one is negative, or all are zero.
    """
    shares = _as_integers(weights)
    if any(share < 0 for share in shares):
        raise InvalidWeights(reason="a weight below zero", weights=len(shares))
    whole = sum(shares)
    if whole == 0:
        raise InvalidWeights(reason="no weight above zero", weights=len(shares))
    magnitude = abs(money.amount)
    parts: list[int] = []
    remainders: list[int] = []
    for share in shares:
        part, remainder = divmod(magnitude * share, whole)
        parts.append(part)
        remainders.append(remainder)
    left_over = magnitude - sum(parts)
    if left_over:
        by_remainder = sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)  # stable: ties keep order
        for index in by_remainder[:left_over]:
            parts[index] += 1
    if money.amount < 0:
        return [Money(-part, money.currency) for part in parts]
    return [Money(part, money.currency) for part in parts]


def sum_money(amounts: Iterable[Money], currency: CurrencyCode) -> Money:
    """The sum in minor units; zero of `currency` when there are none. Raises CurrencyMismatch."""
    total = 0
    for money in amounts:
        if money.currency != currency:
            raise _mismatch(Money(0, currency), money)
        total += money.amount
    return Money(total, currency)


def sums_by(amounts: Iterable[tuple[str, Money]]) -> dict[str, Money]:
    """What comes to each name in all, in the order in which they come first. Raises CurrencyMismatch."""
    sums: dict[str, Money] = {}
    for name, amount in amounts:
        sums[name] = sums[name] + amount if name in sums else amount
    return sums


def _mismatch(left: Money, right: Money) -> CurrencyMismatch:
    return CurrencyMismatch(currency=left.currency, other=right.currency)


def _as_integers(weights: Sequence[int | Decimal | Fraction]) -> list[int]:
    """The same proportions as whole numbers, exactly."""
    whole_numbers = [weight for weight in weights if isinstance(weight, int)]
    if len(whole_numbers) == len(weights):
        return whole_numbers
    fractions = [Fraction(weight) for weight in weights]
    denominator = lcm(*(fraction.denominator for fraction in fractions))
    return [fraction.numerator * (denominator // fraction.denominator) for fraction in fractions]
