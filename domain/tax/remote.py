"""Tax that a calculator outside computes: what it is asked, what it may answer, and whether that can be taken.

Nothing here calls anybody: the answer comes in by a command, and is recorded as it was given. It says rates and
amounts; whether tax is owed at all (registrations, exemption, the reverse charge) is decided here, as ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from domain.customers.tax_location import InvalidTaxLocation, TaxLocation, check_tax_location
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import TAX_RATE, derived_id, encode, uuid7
from domain.kernel.money import Money, sum_money
from domain.kernel.percent import percent_of
from domain.kernel.refusal import Refusal
from domain.tax.computation import TaxRate

MAX_TAXES_OF_LINE: Final = 10
MAX_KIND_CHARACTERS: Final = 32
MAX_CALCULATION_ID_CHARACTERS: Final = 100
MAX_APART: Final = 2
"""Minor units by which a line's tax may differ from its percentage: it may be rounded on a sum and split over lines."""

ALWAYS: Final = date(1970, 1, 1)
_NO_TIME: Final = TAX_RATE + encode(uuid7(0, 0))
_MAX_PERCENT: Final = Decimal(100)


class TaxCalculator(StrEnum):
    """Who computes the tax that is owed: the tenant's own table of rates, or a service outside."""

    TABLE = "table"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxQuestionLine:
    """`amount` is what discounts leave of the line, with the tax in it if `inclusive`; a deduction is below zero."""

    line_id: str
    amount: Money
    inclusive: bool
    category: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxQuestion:
    """What tax these lines bear in a place on its local date. It names nobody: a place is an area, not an address."""

    currency: CurrencyCode
    on: date
    seller_country: str
    place: TaxLocation
    lines: tuple[TaxQuestionLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredTax:
    """One tax of a line: `amount` is `percent` of `taxable`, which is the line without tax. A tax on a part of that has
    the percentage that it comes to: what is credited later is in proportion to the line.
    """

    country: str
    region: str | None
    kind: str
    percent: Decimal
    taxable: Money
    amount: Money

    @property
    def rate(self) -> TaxRate:
        """As the computation knows rates. The id is made of what it is, so that a rate is the same on each invoice."""
        percent = Decimal(f"{self.percent.normalize():f}")
        place = self.country if self.region is None else f"{self.country}-{self.region}"
        return TaxRate(
            rate_id=derived_id(TAX_RATE, _NO_TIME, f"{place}/{self.kind}/{percent:f}"),
            percent=percent,
            country=self.country,
            region=self.region,
            kind=self.kind,
            valid_from=ALWAYS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredLine:
    line_id: str
    taxes: tuple[AnsweredTax, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxAnswer:
    """`calculation_id` is what the calculator knows it by; `total` is all tax, on top or included."""

    calculation_id: str
    lines: tuple[AnsweredLine, ...]
    total: Money

    def of_line(self, line_id: str) -> AnsweredLine | None:
        """What it says of a line; None where it was not asked."""
        return next((line for line in self.lines if line.line_id == line_id), None)


class TaxAnswerUnfit(Refusal):
    """What the tax calculator answered is not an answer to what it was asked: nothing of it was taken."""

    code = "tax_answer_unfit"


def check_answer(question: TaxQuestion, answer: TaxAnswer) -> None:
    """Each line once, each tax of the place asked about, its percentage of its amount, and all of them the total.

    Raises TaxAnswerUnfit, which says what does not fit.
    """
    if not 0 < len(answer.calculation_id) <= MAX_CALCULATION_ID_CHARACTERS:
        raise TaxAnswerUnfit(reason="calculation_id")
    asked = {line.line_id: line for line in question.lines}
    if sorted(line.line_id for line in answer.lines) != sorted(asked):
        raise TaxAnswerUnfit(reason="other_lines")
    taxes = list(_all_taxes(answer))
    if any(money.currency != question.currency for each in taxes for money in (each.taxable, each.amount)):
        raise TaxAnswerUnfit(reason="currency")
    if answer.total != sum_money((each.amount for each in taxes), question.currency):
        raise TaxAnswerUnfit(reason="total")
    for line in answer.lines:
        why = _unfit(asked[line.line_id], line, question.place)
        if why is not None:
            raise TaxAnswerUnfit(reason=why, line=line.line_id)


def _all_taxes(answer: TaxAnswer) -> Iterator[AnsweredTax]:
    for line in answer.lines:
        yield from line.taxes


def _unfit(asked: TaxQuestionLine, line: AnsweredLine, place: TaxLocation) -> str | None:
    if not 1 <= len(line.taxes) <= MAX_TAXES_OF_LINE:
        return "no_tax" if not line.taxes else "too_many_taxes"
    if len({each.rate.rate_id for each in line.taxes}) != len(line.taxes):
        return "twice"
    tax = sum(each.amount.amount for each in line.taxes)
    net = asked.amount.amount - (tax if asked.inclusive else 0)
    for each in line.taxes:
        if not each.percent.is_finite() or not 0 <= each.percent <= _MAX_PERCENT:
            return "percent"
        if not 0 < len(each.kind) <= MAX_KIND_CHARACTERS or not _is_in(each, place):
            return "jurisdiction"
        if each.taxable.amount != net:
            return "taxable"
        if not _is_part(each.amount.amount, asked.amount.amount):
            return "amount"
        exact = percent_of(Fraction(each.taxable.amount), each.percent)
        if abs(exact - each.amount.amount) > MAX_APART:
            return "amount"
    return None


def _is_in(tax: AnsweredTax, place: TaxLocation) -> bool:
    """Whether it is a tax of that country, or of a region of it: the customer's own, where that is known."""
    try:
        check_tax_location(TaxLocation(country=tax.country, region=tax.region))
    except InvalidTaxLocation:
        return False
    return tax.country == place.country and (place.region is None or tax.region in (None, place.region))


def _is_part(part: int, whole: int) -> bool:
    """Whether it is from nothing to all of it, of the same sign."""
    return 0 <= part <= whole or whole <= part <= 0
