"""Facts and commands about the taxes of a seller who is established in Germany, for specifications."""

from datetime import date
from decimal import Decimal
from typing import Final

from domain.customers.tax_location import TaxLocation
from domain.kernel.stream import Command
from domain.kernel.money import sum_money, times
from domain.kernel.rounding import Rounding
from domain.tax.computation import TaxRate
from domain.tax.remote import AnsweredLine, AnsweredTax, TaxAnswer, TaxQuestion, TaxQuestionLine
from domain.tax.settings import ChangeTaxSettings, CreateTaxRate, CreateTaxRegistration
from testing.examples.streams import id_of

SINCE: Final = date(2020, 1, 1)
BERLIN: Final = TaxLocation(country="DE", postal_prefix="101")
PARIS: Final = TaxLocation(country="FR")
QUEBEC: Final = TaxLocation(country="CA", region="QC")
RATE_ID, REGISTRATION_ID = id_of("txr_"), id_of("txreg_")
IN_GERMANY: Final = ChangeTaxSettings(seller_country="DE")


def create_rate(
    percent: str = "19",
    country: str = "DE",
    rate_id: str = RATE_ID,
    *,
    kind: str = "vat",
    region: str | None = None,
    postal_prefix: str | None = None,
    category: str | None = None,
    valid_from: date = SINCE,
) -> CreateTaxRate:
    return CreateTaxRate(
        rate=TaxRate(
            rate_id=rate_id,
            percent=Decimal(percent),
            country=country,
            kind=kind,
            region=region,
            postal_prefix=postal_prefix,
            category=category,
            valid_from=valid_from,
        )
    )


def register(
    country: str = "DE",
    registration_id: str = REGISTRATION_ID,
    *,
    region: str | None = None,
    number: str = "DE136695976",
    valid_from: date = SINCE,
) -> CreateTaxRegistration:
    return CreateTaxRegistration(
        registration_id=registration_id, country=country, region=region, number=number, valid_from=valid_from
    )


def taxed_in_germany(percent: str = "19", *more: Command) -> tuple[Command, ...]:
    """Established and registered in Germany, where everything bears `percent`."""
    return (IN_GERMANY, create_rate(percent), register(), *more)


def answer_to(question: TaxQuestion, *percents: str, kind: str = "vat", calculation_id: str = "txc_1") -> TaxAnswer:
    """What a calculator answers that takes these percentages everywhere in the place asked about, 19 unless named."""
    rates = [Decimal(percent) for percent in percents or ("19",)]
    lines = tuple(AnsweredLine(line_id=line.line_id, taxes=_taxes(line, rates, question, kind)) for line in question.lines)
    total = sum_money((tax.amount for line in lines for tax in line.taxes), question.currency)
    return TaxAnswer(calculation_id=calculation_id, lines=lines, total=total)


def _taxes(line: TaxQuestionLine, rates: list[Decimal], question: TaxQuestion, kind: str) -> tuple[AnsweredTax, ...]:
    whole = Decimal(100) + (sum(rates) if line.inclusive else 0)
    amounts = [times(line.amount, percent / whole, Rounding.HALF_UP) for percent in rates]
    net = line.amount - sum_money(amounts, question.currency) if line.inclusive else line.amount
    return tuple(
        AnsweredTax(
            country=question.place.country,
            region=None,
            kind=kind if nth == 0 else f"{kind}{nth}",
            percent=percent,
            taxable=net,
            amount=amount,
        )
        for nth, (percent, amount) in enumerate(zip(rates, amounts, strict=True))
    )
