"""Tax by day (UTC, business time), jurisdiction and rate: what invoices charged, less what void ones took back and what
credit notes credited."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from domain.invoicing.credit_note import CreditNoteIssued, CreditNoteVoided
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided
from domain.invoicing.invoice_tax import TaxTotal
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.tax.computation import TaxTreatment
from projections.read_model import Column, Fact, Projection, Rows, add, sums_model
from projections.reading import Reader

_KEY: Final = ("jurisdiction", "treatment", "rate_id", "kind", "percent", "currency")
_OF_KEY: Final = ", ".join(_KEY)
_SUMS: Final = "sum(taxable)::bigint AS taxable, sum(tax)::bigint AS tax"
_REPORT: Final = (
    f"SELECT {_OF_KEY}, {_SUMS} FROM read.tax_days "  # noqa: S608  our names
    f"WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 GROUP BY {_OF_KEY} ORDER BY {_OF_KEY}"
)
NO_RATE = ""
"""In place of the id, the kind and the percentage of what bears no rate."""


def apply(rows: Rows[list[int]], fact: Fact) -> None:
    """Add each rate of an invoice to its day; take it away where it is void, or credited, and back."""
    event: InvoiceFinalized | InvoiceVoided | CreditNoteIssued | CreditNoteVoided = fact.event
    match event:
        case InvoiceFinalized():
            _add(rows, fact, () if event.tax is None else event.tax.totals, 1)
        case InvoiceVoided():
            _add(rows, fact, event.tax_taken_back, -1)
        case CreditNoteIssued():
            _add(rows, fact, event.credited.tax, -1)
        case CreditNoteVoided():
            _add(rows, fact, event.taken_back.tax, 1)


def _add(rows: Rows[list[int]], fact: Fact, totals: Sequence[TaxTotal], sign: int) -> None:
    for total in totals:
        key = (
            fact.tenant_id,
            fact.effective_at.date(),
            total.jurisdiction,
            total.treatment.value,
            total.rate_id or NO_RATE,
            total.kind or NO_RATE,
            NO_RATE if total.percent is None else str(total.percent),
            total.tax.currency,
            fact.shard,
        )
        add(rows, key, sign * total.taxable.amount, sign * total.tax.amount)


TABLE = sums_model(
    name="tax_days",
    version=1,
    projection=Projection.BILLING,
    key=(
        Column("tenant_id", 'text COLLATE "C" NOT NULL'),
        Column("day", "date NOT NULL"),
        *(Column(name, 'text COLLATE "C" NOT NULL') for name in _KEY),
        Column("shard", "integer NOT NULL"),
    ),
    sums=("taxable", "tax"),
    view=(
        f"SELECT tenant_id, day, {_OF_KEY}, {_SUMS} FROM {{table}} GROUP BY tenant_id, day, {_OF_KEY}"  # noqa: S608
    ),
    events=frozenset({"invoice.finalized", "invoice.voided", "credit_note.issued", "credit_note.voided"}),
    apply=apply,
)


class TaxReportRow(NamedTuple):
    """What a rate came to in a period, or what bore no tax for one reason; `percent` None and no id, then."""

    jurisdiction: str
    treatment: TaxTreatment
    rate_id: str | None
    kind: str | None
    percent: Decimal | None
    taxable: Money
    tax: Money


async def report(connection: Reader, tenant_id: str, *, first: date, last: date) -> list[TaxReportRow]:
    """The days of a period, both ends included, by jurisdiction, rate and currency."""
    records = await connection.fetch(_REPORT, tenant_id, first, last)
    return [
        TaxReportRow(
            jurisdiction=each["jurisdiction"],
            treatment=TaxTreatment(each["treatment"]),
            rate_id=each["rate_id"] or None,
            kind=each["kind"] or None,
            percent=Decimal(each["percent"]) if each["percent"] else None,
            taxable=Money(each["taxable"], CurrencyCode(each["currency"])),
            tax=Money(each["tax"], CurrencyCode(each["currency"])),
        )
        for each in records
    ]
