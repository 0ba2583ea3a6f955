"""An invoice's tax by a calculator outside: what it is asked of the lines, and what they come to by its answer."""

from collections.abc import Iterable, Sequence

from domain.invoicing.computation import compute_invoice
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import LineTax, TaxTotal
from domain.invoicing.state import Invoice
from domain.invoicing.tax_request import TaxRequest
from domain.invoicing.taxation import Taxed, as_it_was, discounted_line, line_tax, of_rate, owed_in, untaxed
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import sum_money
from domain.kernel.rounding import Rounding
from domain.tax.computation import RateTotal, TaxDecision, TaxRate, TaxShare, TaxTreatment
from domain.tax.remote import ALWAYS, AnsweredTax, TaxAnswer, TaxQuestion, TaxQuestionLine, check_answer
from domain.tax.settings import TaxSettings


def question_of(invoice: Invoice) -> TaxQuestion:
    """What a calculator is asked about an invoice that waits for its tax; the same each time."""
    request = invoice.tax_request
    assert request is not None, "its tax was asked for"
    return TaxQuestion(
        currency=invoice.currency,
        on=request.taxed_on,
        seller_country=request.basis.seller_country,
        place=request.basis.place,
        lines=tuple(
            TaxQuestionLine(
                line_id=line.line_id,
                amount=line.discounted,
                inclusive=line.tax_inclusive is True,
                category=line.tax_category,
            )
            for line in invoice.lines
            if as_it_was(line) is None
        ),
    )


def taxed_by_answer(
    invoice: Invoice,
    lines: tuple[InvoiceLine, ...],
    request: TaxRequest,
    answer: TaxAnswer,
    rounding: Rounding,
    settings: TaxSettings,
) -> Taxed:
    """The lines, as they are known by now, with the tax that was answered. What gives back a line bears what that line
    bore, computed here, though it was asked about when nobody knew.

    Raises TaxAnswerUnfit.
    """
    check_answer(question_of(invoice), answer)
    given_back = [(line, decision) for line in lines if (decision := as_it_was(line)) is not None]
    tax_of, totals = _given_back(given_back, invoice.currency, rounding)
    for line in lines:
        answered = answer.of_line(line.line_id)
        if answered is not None and line.line_id not in tax_of:
            tax_of[line.line_id] = _answered(line, answered.taxes)
            totals += [of_rate(_total(each), each.rate) for each in answered.taxes]
    lines = tuple(replace(line, tax=tax_of[line.line_id]) for line in lines)
    said = (*_summed(totals), *untaxed(lines, owed_in(request.basis.place, request.taxed_on, settings)))
    return Taxed(
        lines=lines,
        total=sum_money((line.total for line in lines), invoice.currency),
        discounts=invoice.discounts,
        tax=replace(request.basis, totals=said, calculation_id=answer.calculation_id),
    )


def charged_rate(invoice: Invoice, rate_id: str) -> TaxRate:
    """A rate that is in no table: as the invoice that charged it says it."""
    assert invoice.tax is not None, "its lines bear tax"
    total = next(total for total in invoice.tax.totals if total.rate_id == rate_id)
    country, _, region = total.jurisdiction.partition("-")
    assert total.percent is not None, "a rate has a percentage"
    assert total.kind is not None, "a rate has a kind"
    return TaxRate(
        rate_id=rate_id,
        percent=total.percent,
        country=country,
        region=region or None,
        kind=total.kind,
        valid_from=ALWAYS,
    )


def _given_back(
    lines: Sequence[tuple[InvoiceLine, TaxDecision]], currency: CurrencyCode, rounding: Rounding
) -> tuple[dict[str, LineTax], list[TaxTotal]]:
    """The tax of what gives back lines, by their own rates."""
    computed = compute_invoice(
        [discounted_line(line, decision.rates) for line, decision in lines], currency, rounding=rounding
    )
    rates = {rate.rate_id: rate for _, decision in lines for rate in decision.rates}
    tax_of = {
        line.line_id: line_tax(decision.treatment, each)
        for (line, decision), each in zip(lines, computed.lines, strict=True)
    }
    return tax_of, [of_rate(total, rates[total.rate_id]) for total in computed.tax_by_rate]


def _answered(line: InvoiceLine, taxes: Sequence[AnsweredTax]) -> LineTax:
    tax = sum_money((each.amount for each in taxes), line.amount.currency)
    net = line.discounted - tax if line.tax_inclusive else line.discounted
    shares = tuple(TaxShare(each.rate.rate_id, each.amount) for each in taxes)
    return LineTax(treatment=TaxTreatment.TAXED, net=net, total=net + tax, shares=shares)


def _total(tax: AnsweredTax) -> RateTotal:
    rate = tax.rate
    return RateTotal(rate_id=rate.rate_id, percent=rate.percent, taxable=tax.taxable, tax=tax.amount)


def _summed(totals: Iterable[TaxTotal]) -> Iterable[TaxTotal]:
    """Each rate once, at each percentage."""
    found: dict[object, TaxTotal] = {}
    for total in totals:
        key = total.rate_id, total.percent
        known = found.get(key)
        found[key] = (
            total if known is None else replace(known, taxable=known.taxable + total.taxable, tax=known.tax + total.tax)
        )
    return found.values()
