"""What an invoice says of its tax: facts that its events carry, from which each figure can be computed again."""

from dataclasses import dataclass
from decimal import Decimal

from domain.customers.tax_location import TaxLocation
from domain.kernel.money import Money
from domain.tax.computation import TaxShare, TaxTreatment


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTax:
    """`net` is without tax, `total` with it; `shares` are the line's parts of each rate's tax."""

    treatment: TaxTreatment
    net: Money
    total: Money
    shares: tuple[TaxShare, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxTotal:
    """One rate on the whole invoice, or the lines that bear none for one reason (`rate_id`, `kind` and `percent` None).

    `jurisdiction` is whose tax it is: a country of ISO 3166-1, or a subdivision of ISO 3166-2. `taxable` is the net
    amount of the lines.
    """

    jurisdiction: str
    treatment: TaxTreatment
    rate_id: str | None
    kind: str | None
    category: str | None
    percent: Decimal | None
    taxable: Money
    tax: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxFacts:
    """What the tax rests on. `place` is where the customer is taxed: their own, unless `is_assumed`; then the seller's.

    `seller_number` is the seller's of the registration by which tax is owed there; None where none is. Under the
    reverse charge the customer owes it, and the seller supplies as who they are in their own country: the registration
    is that one, if there is one on that date.
    `vat_id_country` is that of the customer's European VAT id, which lies in the vault under `buyer_reference`.
    `calculation_id` is what a calculator outside knows its computation by; None where the tenant's table computed it.
    """

    seller_country: str
    registration_id: str | None
    seller_number: str | None
    place: TaxLocation
    is_assumed: bool
    is_exempt: bool
    vat_id_country: str | None
    buyer_reference: str | None
    totals: tuple[TaxTotal, ...]
    calculation_id: str | None = None


def jurisdiction(country: str, region: str | None) -> str:
    """DE, or CA-QC."""
    return country if region is None else f"{country}-{region}"
