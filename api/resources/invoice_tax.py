"""The tax of invoices and of their lines, as it is answered."""

from typing import Annotated, Final

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import MoneyResource, money, plain_decimal
from api.resources.tax_fields import TaxLocationResource, tax_location_resource
from domain.invoicing.invoice_tax import LineTax, TaxFacts, TaxTotal
from domain.tax.computation import TaxTreatment


class LineTaxShareResource(TypedDict):
    """A line's part of one rate's tax, which is computed once on the sum of the lines that bear it."""

    tax_rate: str
    amount: MoneyResource


class LineTaxResource(TypedDict):
    """A line's tax. `net` is without it, `total` with it; `treatment` says why there is some, or none."""

    treatment: TaxTreatment
    net: MoneyResource
    total: MoneyResource
    shares: list[LineTaxShareResource]


class TaxTotalResource(TypedDict):
    """One rate on the whole invoice, or what bears no tax for one reason; there is no rate, then."""

    jurisdiction: Annotated[str, Field(description="Whose tax it is: DE, or CA-QC.")]
    treatment: TaxTreatment
    tax_rate: str | None
    kind: str | None
    category: str | None
    percent: str | None
    taxable: MoneyResource
    tax: MoneyResource


class InvoiceTaxResource(TypedDict):
    """What the tax of an invoice rests on, as it was when it was finalized.

    `place` is where the customer is taxed; where nobody knows where they are it is assumed to be the seller's country
    (`is_assumed`). Under `reverse_charge` the customer owes the tax, by their VAT id of `vat_id_country`, and
    `registration` and `seller_number` are those of the seller's own country. `calculation` is the tax service's own
    name of what it computed; null where your table of rates did. Ids of its rates name none of the table.
    """

    seller_country: str
    registration: str | None
    seller_number: str | None
    place: TaxLocationResource
    is_assumed: bool
    is_exempt: bool
    vat_id_country: str | None
    calculation: str | None
    totals: list[TaxTotalResource]


def line_tax_resource(tax: LineTax | None) -> LineTaxResource | None:
    """A line's tax as it is answered; None where nothing is said of it."""
    if tax is None:
        return None
    return {
        "treatment": tax.treatment,
        "net": money(tax.net),
        "total": money(tax.total),
        "shares": [{"tax_rate": share.rate_id, "amount": money(share.amount)} for share in tax.shares],
    }


def invoice_tax_resource(tax: TaxFacts | None) -> InvoiceTaxResource | None:
    """What an invoice's tax rests on, as it is answered; None where nothing is said of it."""
    if tax is None:
        return None
    return {
        "seller_country": tax.seller_country,
        "registration": tax.registration_id,
        "seller_number": tax.seller_number,
        "place": tax_location_resource(tax.place),
        "is_assumed": tax.is_assumed,
        "is_exempt": tax.is_exempt,
        "vat_id_country": tax.vat_id_country,
        "calculation": tax.calculation_id,
        "totals": [tax_total_resource(total) for total in tax.totals],
    }


def tax_total_resource(total: TaxTotal) -> TaxTotalResource:
    """One rate's tax, or what bears none, as it is answered."""
    return {
        "jurisdiction": total.jurisdiction,
        "treatment": total.treatment,
        "tax_rate": total.rate_id,
        "kind": total.kind,
        "category": total.category,
        "percent": None if total.percent is None else plain_decimal(total.percent),
        "taxable": money(total.taxable),
        "tax": money(total.tax),
    }


TAX_RATE_ID: Final = "txr_01m7ywe9z7e398x54gfbrtqnk7"
LINE_TAX_EXAMPLE: Final[dict[str, object]] = {
    "treatment": "taxed",
    "net": {"amount": 25000, "currency": "EUR"},
    "total": {"amount": 29750, "currency": "EUR"},
    "shares": [{"tax_rate": TAX_RATE_ID, "amount": {"amount": 4750, "currency": "EUR"}}],
}
INVOICE_TAX_EXAMPLE: Final[dict[str, object]] = {
    "seller_country": "DE",
    "registration": "txreg_01m7ywe9z7e398x54gfbrtqnk7",
    "seller_number": "DE136695976",
    "place": {"country": "DE", "region": None, "postal_prefix": "101"},
    "is_assumed": False,
    "is_exempt": False,
    "vat_id_country": None,
    "calculation": None,
    "totals": [
        {
            "jurisdiction": "DE",
            "treatment": "taxed",
            "tax_rate": TAX_RATE_ID,
            "kind": "vat",
            "category": None,
            "percent": "19",
            "taxable": {"amount": 25000, "currency": "EUR"},
            "tax": {"amount": 4750, "currency": "EUR"},
        }
    ],
}
