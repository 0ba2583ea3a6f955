"""Tax: which rates apply to a line, and what they come to on an invoice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from domain.kernel.allocation import split_over_lines
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, allocate, sum_money, times
from domain.kernel.percent import factor_of
from domain.kernel.rounding import Rounding

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EU_COUNTRIES = frozenset(_EU.split())
"""ISO 3166 codes of the European Union's member states, among which a checked VAT id moves the tax to the buyer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """`percent` of the net amount, in a place, from a date on, until a later row of the same scope replaces it.

    `kind` is the tax's name where several are due on top of each other ("gst", "qst"); of one kind the most local rate
    applies alone. `region` is a subdivision's code, `postal_prefix` compares without spaces and case. None: any.
    """

    rate_id: str
    percent: Decimal
    country: str
    valid_from: date
    kind: str = "tax"
    region: str | None = None
    postal_prefix: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxPlace:
    """Where the customer is taxed. `country`: ISO 3166 alpha-2."""

    country: str
    region: str | None = None
    postal_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxStatus:
    """What about the customer changes the tax. `has_checked_vat_id`: a valid EU VAT id, checked elsewhere."""

    is_exempt: bool = False
    has_checked_vat_id: bool = False


class TaxTreatment(StrEnum):
    """Why a line bears the tax it does. NOT_REGISTERED: the seller owes no tax where the customer is."""

    TAXED = "taxed"
    EXEMPT = "exempt"
    REVERSE_CHARGE = "reverse_charge"
    NOT_REGISTERED = "not_registered"
    NO_RATE = "no_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxDecision:
    """The rates of a line, none unless it is TAXED."""

    treatment: TaxTreatment
    rates: tuple[TaxRate, ...] = ()


def resolve_tax(
    table: Sequence[TaxRate],
    *,
    seller_country: str,
    place: TaxPlace,
    status: TaxStatus,
    category: str | None,
    on: date,
) -> TaxDecision:
    """Which rates a line of that product category bears on that local date.

    Exemption comes first, then the reverse charge (seller and customer in different EU countries and a checked VAT id),
    then the table: per kind of tax the rate with the longest postal prefix, else of the region, else of the country; in
    that place the category's own before the general one; of those the latest that is valid. A place with a table of its
    own must therefore be complete. A rate of 0 % is a rate; none at all is NO_RATE, for the caller to judge. An
    inclusive price stays as it is shown when no tax is due. The order is this project's policy; no rounding.
    """
    if status.is_exempt:
        return TaxDecision(treatment=TaxTreatment.EXEMPT)
    across_border = seller_country != place.country
    if status.has_checked_vat_id and across_border and {seller_country, place.country} <= EU_COUNTRIES:
        return TaxDecision(treatment=TaxTreatment.REVERSE_CHARGE)
    best: dict[str, TaxRate] = {}
    for rate in table:
        if not _applies(rate, place, category, on):
            continue
        known = best.get(rate.kind)
        if known is None or _precision(rate) > _precision(known):
            best[rate.kind] = rate
    if not best:
        return TaxDecision(treatment=TaxTreatment.NO_RATE)
    return TaxDecision(treatment=TaxTreatment.TAXED, rates=tuple(best[kind] for kind in sorted(best)))


@dataclass(frozen=True, slots=True)
class TaxableLine:
    """A line after coupons. `amount` contains the tax if `inclusive`, else the tax comes on top."""

    amount: Money
    rates: tuple[TaxRate, ...]
    inclusive: bool = False


@dataclass(frozen=True, slots=True)
class TaxShare:
    """A line's part of one rate's tax."""

    rate_id: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTotal:
    """One rate, at one percentage, on the whole invoice: `taxable` is the net amount that bears it."""

    rate_id: str
    percent: Decimal
    taxable: Money
    tax: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTax:
    """`by_line`: each line's shares, in the order of the lines; they sum to `by_rate`, which sums to `total`."""

    by_line: tuple[tuple[TaxShare, ...], ...]
    by_rate: tuple[RateTotal, ...]
    total: Money


def tax_on(lines: Sequence[TaxableLine], currency: CurrencyCode, rounding: Rounding) -> InvoiceTax:
    """The tax of an invoice, in minor units.

    A rate is an id with its percentage: a credit for what was charged before a rate changed bears the old one, which is
    then summed by itself. On top: each rate once on the sum of the lines that bear it, rounded by `rounding`, split
    over them (vectors 23, 25 and 34, from other engines' suites). Included: amount × percent / (100 + percent), once on
    the sum of the lines with the same set of rates (vector 33), several rates share it in proportion to their
    percentages. Splits are those of `split_over_lines`. Adding tax and then taking it out gives the first amount again;
    the other way it may differ by one minor unit.
    """
    tax_of: list[dict[_RateKey, Money]] = [{} for _ in lines]
    rates = {_key(rate): rate for line in lines for rate in line.rates}
    keys_of = [tuple([_key(rate) for rate in line.rates]) for line in lines]
    for key, rate in rates.items():
        bearing = [index for index, line in enumerate(lines) if not line.inclusive and key in keys_of[index]]
        amounts = [lines[index].amount for index in bearing]
        factor = factor_of(rate.percent)
        tax = times(sum_money(amounts, currency), factor, rounding)
        for index, part in zip(bearing, split_over_lines(tax, amounts, factor), strict=True):
            tax_of[index][key] = part
    for keys in dict.fromkeys(keys for line, keys in zip(lines, keys_of, strict=True) if line.inclusive and keys):
        bearing = [index for index, line in enumerate(lines) if line.inclusive and keys_of[index] == keys]
        combination = lines[bearing[0]].rates
        amounts = [lines[index].amount for index in bearing]
        for rate, parts in zip(combination, _included_tax(combination, amounts, currency, rounding), strict=True):
            for index, part in zip(bearing, parts, strict=True):
                tax_of[index][_key(rate)] = part
    by_line = tuple(
        tuple([TaxShare(rate.rate_id, shares[_key(rate)]) for rate in line.rates])
        for line, shares in zip(lines, tax_of, strict=True)
    )
    by_rate = tuple(_rate_total(rate, lines, tax_of, currency) for rate in rates.values())
    return InvoiceTax(by_line=by_line, by_rate=by_rate, total=sum_money((total.tax for total in by_rate), currency))


_RateKey: TypeAlias = tuple[str, Decimal]


def _key(rate: TaxRate) -> _RateKey:
    """What makes two rates one on an invoice. A rate changed since it was charged is another one for its credits."""
    return rate.rate_id, rate.percent


def _included_tax(
    rates: Sequence[TaxRate], amounts: Sequence[Money], currency: CurrencyCode, rounding: Rounding
) -> list[list[Money]]:
    """For each rate, each line's part of the tax that is in the amounts."""
    percents = [Fraction(factor_of(rate.percent)) for rate in rates]
    together = sum(percents)
    if not together:
        return [[Money.zero(currency) for _ in amounts] for _ in rates]
    tax = times(sum_money(amounts, currency), Fraction(together, 1 + together), rounding)
    return [
        split_over_lines(part, amounts, Fraction(percent, 1 + together))
        for part, percent in zip(allocate(tax, percents), percents, strict=True)
    ]


def _rate_total(
    rate: TaxRate, lines: Sequence[TaxableLine], tax_of: Sequence[dict[_RateKey, Money]], currency: CurrencyCode
) -> RateTotal:
    taxable, tax = 0, 0
    for line, shares in zip(lines, tax_of, strict=True):
        if _key(rate) in shares:
            included = sum(share.amount for share in shares.values()) if line.inclusive else 0
            taxable += line.amount.amount - included
            tax += shares[_key(rate)].amount
    return RateTotal(
        rate_id=rate.rate_id, percent=rate.percent, taxable=Money(taxable, currency), tax=Money(tax, currency)
    )


def _applies(rate: TaxRate, place: TaxPlace, category: str | None, on: date) -> bool:
    return (
        rate.country == place.country
        and rate.region in (None, place.region)
        and _postal(place.postal_code).startswith(_postal(rate.postal_prefix))
        and rate.category in (None, category)
        and rate.valid_from <= on
    )


def _precision(rate: TaxRate) -> tuple[int, bool, bool, date]:
    return len(_postal(rate.postal_prefix)), rate.region is not None, rate.category is not None, rate.valid_from


def _postal(code: str | None) -> str:
    return "" if code is None else code.replace(" ", "").upper()
