"""What a price is asked about: a number of units, or the amounts of single events."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import EXACT

MAX_QUANTITY_DIGITS = 30
"""Digits before the point, and zeros behind it: "1E999999999" is short to send and a gigabyte to compute with."""


@dataclass(frozen=True, slots=True)
class EventAmounts:
    """Amounts of single events in minor units of the price's currency, in the order in which they happened."""

    amounts: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedEvents:
    """What a percentage makes of the amounts of single events, all of them together: with it they need not be kept.

    `free` places are taken in the end: what one below zero gave back is free again. Of the `charged` ones `base` is the
    sum of their amounts (minor units), and `events` how many fixed amounts they bear: those of negative amounts, which
    give back, count against the others. `raised_by` and `cut_by` are what the bounds of single events add to it all,
    the latter below zero.
    """

    free: int
    charged: int
    base: Fraction
    events: int
    raised_by: Fraction
    cut_by: Fraction


Measured: TypeAlias = Decimal | int | Fraction | EventAmounts | ChargedEvents
"""A quantity that does not come out even, such as a third of an hour, is a Fraction: nothing is cut off it."""


class InvalidQuantity(Refusal):
    """The quantity is not finite, or out of any sensible range."""

    code = "invalid_quantity"
    kind = RefusalKind.INVALID
    param = "quantity"


class WrongMeasure(Refusal):
    """The price model counts units where it was given events, or the other way about."""

    code = "wrong_measure"
    kind = RefusalKind.INVALID
    param = "quantity"


def checked_decimal(value: Decimal | int) -> Decimal:
    """`value` as a Decimal that is safe to compute with exactly. Raises InvalidQuantity."""
    number = Decimal(value)
    if not number.is_finite() or not -MAX_QUANTITY_DIGITS <= number.adjusted() < MAX_QUANTITY_DIGITS:
        raise InvalidQuantity(quantity=str(number)[:40])
    return number


def checked_number(value: Decimal | Fraction | int) -> Fraction:
    """`value` exactly, if it is a number to compute with. Raises InvalidQuantity."""
    if isinstance(value, Fraction):
        if abs(value) >= 10**MAX_QUANTITY_DIGITS:
            raise InvalidQuantity(quantity=str(value)[:40])
        return value
    return Fraction(checked_decimal(value))


def units_of(measured: Measured) -> Fraction:
    """The number of units. Raises WrongMeasure for events' amounts, which are not units, and InvalidQuantity."""
    if isinstance(measured, EventAmounts | ChargedEvents):
        raise WrongMeasure(wanted="a quantity", got="amounts of events")
    return checked_number(measured)


def event_amounts_of(measured: Measured) -> tuple[Decimal, ...]:
    """Each event's amount in minor units. Raises WrongMeasure for a bare quantity, and InvalidQuantity."""
    if not isinstance(measured, EventAmounts):
        raise WrongMeasure(wanted="amounts of events", got="a quantity")
    return tuple([checked_decimal(amount) for amount in measured.amounts])


def total_amount_of(measured: Measured) -> Fraction:
    """The sum of the events' amounts, or the quantity itself where it already is such a sum. Raises InvalidQuantity."""
    if not isinstance(measured, EventAmounts):
        return units_of(measured)
    total = Decimal(0)
    for amount in event_amounts_of(measured):
        total = EXACT.add(total, amount)
    return Fraction(total)
