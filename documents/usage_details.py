"""What stands below a line of usage: the parts of its price, and what else makes its amount. Pure.

It is the explanation of the invoice (`domain/invoicing/explanation.py`), in the words and figures of a locale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from documents.formats import NO_BREAK_SPACE, Formats
from documents.usage_words import UsageWords
from domain.invoicing.explanation import Explanation
from domain.invoicing.invoice_line import InvoiceLine, LinePricing
from domain.kernel.currency import CurrencyCode
from domain.kernel.rounding import Rounding, round_to_int
from domain.pricing.breakdown import PortionKind
from domain.pricing.models import (
    Graduated,
    GraduatedPercentage,
    Package,
    Percentage,
    Price,
    RateTier,
    Tier,
    Volume,
    model_of,
)

MAX_PARTS: Final = 12
"""Of a line; the others are one sum, and the explanation has them all."""
_LAST_PARTS: Final = 4
"""What follows the tiers is told whatever their number."""
_RATE_PLACES: Final = 12
_AMOUNT_PLACES: Final = 2
"""Decimals of a minor unit: parts are exact, and rounded once, in the line."""
_INSTANT: Final = timedelta(microseconds=1)
_OF_UNITS: Final = {PortionKind.UNITS, PortionKind.FREE_UNITS, PortionKind.TIER_UNITS, PortionKind.NOT_BELOW_ZERO}
_COUNTED: Final = {PortionKind.PACKAGES, PortionKind.FIXED_PER_EVENT, PortionKind.FREE_EVENTS}
_OF_MONEY: Final = {PortionKind.PERCENT, PortionKind.OVERAGE_SURCHARGE}
_RATED: Final = {PortionKind.UNITS, PortionKind.TIER_UNITS, PortionKind.PACKAGES, PortionKind.FIXED_PER_EVENT}
_WITHOUT_AMOUNT: Final = {PortionKind.FREE_UNITS, PortionKind.FREE_EVENTS, PortionKind.NOT_BELOW_ZERO}


@dataclass(frozen=True, slots=True)
class Detail:
    """A small row below a line; empty where it has nothing to say."""

    label: str
    quantity: str = ""
    unit_price: str = ""
    amount: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How usage is told: the units of meters, and the numbers that invoices had by then, by their ids."""

    formats: Formats
    words: UsageWords
    units: Mapping[str, str]
    numbers: Mapping[str, str]

    def quantity(self, quantity: Decimal, line: InvoiceLine, by: LinePricing | None) -> str:
        """In the unit of the line's meter; of a percentage it is a sum of money."""
        if line.usage is None:
            return self.formats.quantity(quantity)
        if by is not None and isinstance(model_of(by.price), Percentage | GraduatedPercentage):
            return self.formats.unit_price(quantity, line.amount.currency)
        unit = self.units.get(line.usage.meter_id)
        shown = self.formats.quantity(quantity)
        return shown if unit is None else f"{shown}{NO_BREAK_SPACE}{unit}"

    def money(self, amount: Fraction, currency: CurrencyCode) -> str:
        """Exact minor units, with the decimals that they have."""
        return self.formats.unit_price(_decimal(amount, _AMOUNT_PLACES), currency)

    def percent(self, percent: Fraction) -> str:
        return f"{self.formats.quantity(_decimal(percent, _RATE_PLACES))}{NO_BREAK_SPACE}%"


def details_of(
    line: InvoiceLine, by: LinePricing | None, node: Explanation, telling: Telling, *, is_plain: bool
) -> tuple[Detail, ...]:
    """The rows below a line that bills usage or gives it back, at most MAX_PARTS and a few words; none below others.

    `node` explains the line. Where it `is_plain` its own row says quantity and price, and parts say nothing more.
    """
    of = line.gives_back
    if line.usage is None and (of is None or of.gross is None):
        return ()
    price, *_further = node.children
    parts = [each for each in price.children if each.portion is not None and (each.quantity or each.amount)]
    return (*_notes(line, telling), *(() if is_plain else _bounded(parts, line, by, telling)))


def _notes(line: InvoiceLine, telling: Telling) -> list[Detail]:
    """That it is late usage, and of which invoice; or of a period that runs."""
    words, late = telling.words, None if line.usage is None else line.usage.late
    if late is not None:
        number = telling.numbers.get(late.invoice_id, words.earlier_invoice)
        return [Detail(words.late[late.reason].format(invoice=number))]
    if line.bills_so_far and line.period_end is not None:
        return [Detail(words.so_far.format(day=telling.formats.day(line.period_end - _INSTANT)))]
    return []


def _bounded(parts: Sequence[Explanation], line: InvoiceLine, by: LinePricing | None, telling: Telling) -> list[Detail]:
    def told(some: Sequence[Explanation]) -> list[Detail]:
        return [_part(each, line, by, telling) for each in some]

    if len(parts) <= MAX_PARTS:
        return told(parts)
    first = MAX_PARTS - _LAST_PARTS - 1
    between = parts[first:-_LAST_PARTS]
    amount = sum((each.amount for each in between), Fraction(0))
    label = telling.words.further.format(count=len(between))
    return [
        *told(parts[:first]),
        Detail(label, amount=telling.money(amount, line.amount.currency)),
        *told(parts[-_LAST_PARTS:]),
    ]


def _part(part: Explanation, line: InvoiceLine, by: LinePricing | None, telling: Telling) -> Detail:
    assert part.portion is not None, "it is a portion"
    assert part.quantity is not None, "a portion has a quantity"
    assert part.rate is not None, "a portion has a rate"
    kind, currency = part.portion, line.amount.currency
    quantity = unit_price = ""
    if kind in _OF_UNITS:
        quantity = telling.quantity(_decimal(part.quantity, _RATE_PLACES), line, by)
    elif kind in _COUNTED:
        quantity = telling.formats.quantity(_decimal(part.quantity, _RATE_PLACES))
    elif kind in _OF_MONEY:
        quantity = telling.money(part.quantity, currency)
        unit_price = telling.percent(part.rate if kind is PortionKind.PERCENT else part.rate * 100)
    if kind in _RATED:
        unit_price = telling.formats.unit_price(_decimal(part.rate, _RATE_PLACES), currency)
    amount = "" if kind in _WITHOUT_AMOUNT else telling.money(part.amount, currency)
    return Detail(_label(part, line, by, telling), quantity, unit_price, amount)


def _label(part: Explanation, line: InvoiceLine, by: LinePricing | None, telling: Telling) -> str:
    assert part.portion is not None, "it is a portion"
    said = telling.words.portions[part.portion]
    if by is None:
        return said
    model = model_of(by.price)
    if part.portion is PortionKind.PACKAGES and isinstance(model, Package):
        return said.format(size=telling.quantity(model.package_size, line, by))
    if part.tier is None:
        return said
    tier = _tier(part.tier, by.price)
    limits = {"nth": part.tier, "above": telling.quantity(tier.above, line, by)}
    if tier.up_to is None:
        name = telling.words.top_tier.format(**limits)
    else:
        name = telling.words.tier.format(**limits, up_to=telling.quantity(tier.up_to, line, by))
    return f"{name} ({said})" if part.portion is PortionKind.TIER_FLAT else name


def _tier(number: int, price: Price) -> Tier | RateTier:
    model = model_of(price)
    assert isinstance(model, Graduated | Volume | GraduatedPercentage), "no other price has tiers"
    return model.tiers[number - 1]


def in_words(details: Sequence[Detail]) -> str:
    """The same as one text, for a file that has no rows below a line."""
    return "; ".join(_in_words(each) for each in details)


def _in_words(detail: Detail) -> str:
    product = " × ".join(filter(None, (detail.quantity, detail.unit_price)))
    said = " = ".join(filter(None, (product, detail.amount)))
    return f"{detail.label}: {said}" if said else detail.label


def _decimal(value: Fraction, places: int) -> Decimal:
    """The figure, half up to so many places, read exactly however many digits it has."""
    return Decimal(f"{round_to_int(value * 10**places, Rounding.HALF_UP)}e-{places}")
