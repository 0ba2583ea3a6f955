"""What an invoice that is finalized comes to: its lines, less its discounts, with their tax.

The tax is by the tenant's table, the customer's place and status, and the date there, on what the discounts leave; or
as a calculator outside answered (`remote_taxation.py`). A tenant without a registration charges no tax, and its
invoices say nothing of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from domain.customers.customer import Customer
from domain.customers.tax_location import TaxLocation
from domain.discounts.computation import AppliedDiscount
from domain.invoicing.computation import AmountLine, ComputedLine, compute_invoice
from domain.invoicing.discounting import DiscountUse, given_back_beside, told
from domain.invoicing.invoice_discount import InvoiceDiscount, LineDiscount
from domain.invoicing.invoice_line import InvoiceLine, check_lines
from domain.invoicing.invoice_tax import LineTax, TaxFacts, TaxTotal, jurisdiction
from domain.kernel.billing_period import zone_of
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money, sum_money
from domain.kernel.rounding import Rounding
from domain.tax.computation import (
    RateTotal,
    TaxDecision,
    TaxPlace,
    TaxRate,
    TaxStatus,
    TaxTreatment,
    resolve_tax,
)
from domain.tax.settings import TaxRegistration, TaxSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxed:
    """The lines with their discounts and their tax, what they come to, and what the tax rests on; None where nothing is
    said of it.
    """

    lines: tuple[InvoiceLine, ...]
    total: Money
    discounts: tuple[InvoiceDiscount, ...]
    tax: TaxFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """The lines with their discounts, and what their tax rests on, before anybody has computed it: its basis, without
    totals, what each line bears, and the customer's local date. None: nothing is said of it.
    """

    lines: tuple[InvoiceLine, ...]
    discounts: tuple[InvoiceDiscount, ...]
    basis: TaxFacts | None
    decisions: tuple[TaxDecision, ...]
    on: date

    @property
    def is_taxed(self) -> bool:
        """Whether any line bears tax that is not known yet: what gives back a line bears what that bore."""
        taxed_ = zip(self.lines, self.decisions, strict=True) if self.basis is not None else ()
        return any(each.treatment is TaxTreatment.TAXED and as_it_was(line) is None for line, each in taxed_)


def assessed(
    lines: tuple[InvoiceLine, ...],
    currency: CurrencyCode,
    rounding: Rounding,
    *,
    settings: TaxSettings,
    customer: Customer,
    uses: Sequence[DiscountUse] = (),
    at: datetime,
) -> Assessed:
    """The lines as they are billed to the customer at that instant, with what the uses of discounts take off them.

    Raises InvalidInvoiceLines.
    """
    check_lines(lines, currency, rounding)
    discounts: tuple[InvoiceDiscount, ...] = ()
    if uses:
        taken = discounts_taken(lines, currency, rounding, uses)
        lines = _with_discounts(lines, uses, taken)
        discounts = told(uses, [each.amount for each in taken])
    return assessed_again(lines, discounts, settings=settings, customer=customer, at=at)


def assessed_again(
    lines: tuple[InvoiceLine, ...],
    discounts: tuple[InvoiceDiscount, ...],
    *,
    settings: TaxSettings,
    customer: Customer,
    at: datetime,
) -> Assessed:
    """The same of lines whose discounts are known."""
    on = _taxed_on(customer, at)
    seller_country = settings.seller_country
    gives_tax_back = any(line.gives_back is not None and line.gives_back.rates for line in lines)
    if not (settings.registrations or gives_tax_back) or seller_country is None:
        return Assessed(lines=lines, discounts=discounts, basis=None, decisions=(), on=on)
    lines = tuple(
        replace(line, tax_inclusive=settings.prices_include_tax) if line.tax_inclusive is None else line
        for line in lines
    )
    known = _place_of(customer)
    place = known or TaxLocation(country=seller_country)
    registration = settings.registration(place, on)
    table = [] if registration is None else settings.table(place.country)
    decisions = {
        category: _decided(
            resolve_tax(
                table,
                seller_country=seller_country,
                place=TaxPlace(country=place.country, region=place.region, postal_code=place.postal_prefix),
                status=TaxStatus(
                    is_exempt=customer.tax_exempt, has_checked_vat_id=customer.vat_id_country == place.country
                ),
                category=category,
                on=on,
            ),
            registration,
        )
        for category in dict.fromkeys(line.tax_category for line in lines)
    }
    decided = tuple(as_it_was(line) or decisions[line.tax_category] for line in lines)
    known_by = registration
    if any(decision.treatment is TaxTreatment.REVERSE_CHARGE for decision in decided):
        known_by = settings.registration(TaxLocation(country=seller_country), on)
    basis = TaxFacts(
        seller_country=seller_country,
        registration_id=None if known_by is None else known_by.registration_id,
        seller_number=None if known_by is None else known_by.number,
        place=place,
        is_assumed=known is None,
        is_exempt=customer.tax_exempt,
        vat_id_country=customer.vat_id_country,
        buyer_reference=None if customer.personal is None else customer.personal.reference,
        totals=(),
    )
    return Assessed(
        lines=lines,
        discounts=discounts,
        basis=basis,
        decisions=decided,
        on=on,
    )


def owed_in(place: TaxLocation, on: date, settings: TaxSettings) -> str:
    """Whose tax it would be: the place's, or its region's where the registration there is for that."""
    registration = settings.registration(place, on)
    return jurisdiction(place.country, None if registration is None else registration.region)


def _taxed_on(customer: Customer, at: datetime) -> date:
    """The customer's local date."""
    return at.astimezone(zone_of(customer.time_zone)).date()


def taxed_by_table(of: Assessed, currency: CurrencyCode, rounding: Rounding, settings: TaxSettings) -> Taxed:
    """What the lines come to by their rates: each rate's tax is computed once on the sum of its discounted lines, and
    split over them.
    """
    if of.basis is None:
        total = sum_money((line.discounted for line in of.lines), currency)
        return Taxed(lines=of.lines, total=total, discounts=of.discounts, tax=None)
    computed = compute_invoice(
        [discounted_line(line, decision.rates) for line, decision in zip(of.lines, of.decisions, strict=True)],
        currency,
        rounding=rounding,
    )
    with_tax = tuple(
        replace(line, tax=line_tax(decision.treatment, each))
        for line, decision, each in zip(of.lines, of.decisions, computed.lines, strict=True)
    )
    rates = {rate.rate_id: rate for decision in of.decisions for rate in decision.rates}
    totals = (
        *(of_rate(total, rates[total.rate_id]) for total in computed.tax_by_rate),
        *untaxed(with_tax, owed_in(of.basis.place, of.on, settings)),
    )
    return Taxed(lines=with_tax, total=computed.total, discounts=of.discounts, tax=replace(of.basis, totals=totals))


def lines_discounted(
    lines: tuple[InvoiceLine, ...], currency: CurrencyCode, rounding: Rounding, uses: Sequence[DiscountUse]
) -> tuple[InvoiceLine, ...]:
    """The lines with what the uses of discounts take off them, before any tax."""
    if not uses:
        return lines
    return _with_discounts(lines, uses, discounts_taken(lines, currency, rounding, uses))


def discounts_taken(
    lines: Sequence[InvoiceLine], currency: CurrencyCode, rounding: Rounding, uses: Sequence[DiscountUse]
) -> Sequence[AppliedDiscount]:
    """What each use takes off, in all and off each line."""
    given_back = given_back_beside(lines)
    billed = [
        AmountLine(
            line_id=line.line_id,
            product_id=line.product_id or line.line_id,
            amount=line.amount,
            given_back=given_back.get(line.line_id),
            discountable=True,
        )
        for line in lines
    ]
    return compute_invoice(billed, currency, coupons=[use.coupon for use in uses], rounding=rounding).discounts


def discounted_line(line: InvoiceLine, rates: tuple[TaxRate, ...]) -> AmountLine:
    """A line as its tax is computed: of what discounts leave of it."""
    return AmountLine(
        line_id=line.line_id,
        product_id=line.product_id or line.line_id,
        amount=line.discounted,
        discountable=False,
        tax_rates=rates,
        tax_inclusive=line.tax_inclusive is True,
    )


def _with_discounts(
    lines: tuple[InvoiceLine, ...], uses: Sequence[DiscountUse], taken: Sequence[AppliedDiscount]
) -> tuple[InvoiceLine, ...]:
    """What each use took off each line, in the order of application; nothing says nothing."""
    return tuple(
        replace(
            line,
            discounts=tuple(
                LineDiscount(
                    discount_id=use.discount.discount_id,
                    coupon_id=use.discount.coupon_id,
                    amount=applied.by_line[nth],
                )
                for use, applied in zip(uses, taken, strict=True)
                if not applied.by_line[nth].is_zero
            ),
        )
        for nth, line in enumerate(lines)
    )


def _place_of(customer: Customer) -> TaxLocation | None:
    """Where the customer is: by their address, else by the country of their VAT id."""
    if customer.tax_location is not None:
        return customer.tax_location
    return None if customer.vat_id_country is None else TaxLocation(country=customer.vat_id_country)


def _decided(decision: TaxDecision, registration: TaxRegistration | None) -> TaxDecision:
    if decision.treatment is not TaxTreatment.NO_RATE:
        return decision
    assert registration is None, "a registration rests on a rate that holds for everything in its place"
    return TaxDecision(treatment=TaxTreatment.NOT_REGISTERED)


def as_it_was(line: InvoiceLine) -> TaxDecision | None:
    """Of a credit: the tax of the line that it gives back, if that is known. None of any other line."""
    credited = line.gives_back
    if credited is None or credited.treatment is None:
        return None
    return TaxDecision(treatment=credited.treatment, rates=credited.rates)


def line_tax(treatment: TaxTreatment, computed: ComputedLine) -> LineTax:
    """A line's tax as it was computed."""
    return LineTax(treatment=treatment, net=computed.net, total=computed.total, shares=computed.taxes)


def of_rate(total: RateTotal, rate: TaxRate) -> TaxTotal:
    """One rate on the whole invoice."""
    return TaxTotal(
        jurisdiction=jurisdiction(rate.country, rate.region),
        treatment=TaxTreatment.TAXED,
        rate_id=rate.rate_id,
        kind=rate.kind,
        category=rate.category,
        percent=rate.percent,
        taxable=total.taxable,
        tax=total.tax,
    )


def untaxed(lines: Sequence[InvoiceLine], place: str) -> Iterable[TaxTotal]:
    """The net amounts that bear no tax, by the reason."""
    by_reason: dict[TaxTreatment, list[Money]] = {}
    for line in lines:
        if line.tax is not None and line.tax.treatment is not TaxTreatment.TAXED:
            by_reason.setdefault(line.tax.treatment, []).append(line.tax.net)
    for treatment, amounts in by_reason.items():
        currency = amounts[0].currency
        yield TaxTotal(
            jurisdiction=place,
            treatment=treatment,
            rate_id=None,
            kind=None,
            category=None,
            percent=None,
            taxable=sum_money(amounts, currency),
            tax=Money.zero(currency),
        )
