"""The tax report: what was charged by jurisdiction and rate in a period, and what bore no tax and why."""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Day, MoneyResource, money, plain_decimal
from api.http.listing import Parameters
from api.http.operations import Operations
from api.resources.report_periods import check_days
from domain.identity.permissions import Permission
from domain.tax.computation import TaxTreatment
from projections.models import tax_days
from projections.models.tax_days import TaxReportRow
from projections.read_model import Projection

REPORT: Final = Operations(tag="reports", about="What a tenant reports.", seen_with=Permission.REPORTS_READ)


class TaxReportParameters(Parameters):
    """Which days (UTC), both ends included."""

    first_day: Annotated[Day, Field(alias="from", description="The period's first day.")]
    last_day: Annotated[Day, Field(alias="to", description="Its last day.")]

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: date, info: ValidationInfo) -> date:
        return check_days(info.data.get("first_day"), last_day)


class TaxReportRowResource(TypedDict):
    """One rate in one jurisdiction and currency: `taxable` is the net amount that bore it.

    Without a rate it is what bore no tax, for the reason that `treatment` names.
    """

    jurisdiction: str
    treatment: TaxTreatment
    tax_rate: str | None
    kind: str | None
    percent: str | None
    taxable: MoneyResource
    tax: MoneyResource


class TaxReportResource(TypedDict):
    """What invoices of a period charged, less what those that were voided in it took back."""

    object: Literal["tax_report"]
    first_day: date
    last_day: date
    rows: list[TaxReportRowResource]


def _row(row: TaxReportRow) -> TaxReportRowResource:
    return {
        "jurisdiction": row.jurisdiction,
        "treatment": row.treatment,
        "tax_rate": row.rate_id,
        "kind": row.kind,
        "percent": None if row.percent is None else plain_decimal(row.percent),
        "taxable": money(row.taxable),
        "tax": money(row.tax),
    }


@REPORT.query(
    "/v1/reports/tax",
    answers=TaxReportResource,
    example={
        "object": "tax_report",
        "first_day": "2026-01-01",
        "last_day": "2026-03-31",
        "rows": [
            {
                "jurisdiction": "DE",
                "treatment": "taxed",
                "tax_rate": "txr_01m7ywe9z7e398x54gfbrtqnk7",
                "kind": "vat",
                "percent": "19",
                "taxable": {"amount": 100000, "currency": "EUR"},
                "tax": {"amount": 19000, "currency": "EUR"},
            },
            {
                "jurisdiction": "FR",
                "treatment": "reverse_charge",
                "tax_rate": None,
                "kind": None,
                "percent": None,
                "taxable": {"amount": 40000, "currency": "EUR"},
                "tax": {"amount": 0, "currency": "EUR"},
            },
        ],
    },
    parameters=TaxReportParameters,
    reads=(Projection.BILLING,),
)
async def get_tax_report(call: Call, asked: TaxReportParameters) -> TaxReportResource:
    """Show the tax of a period, by jurisdiction and rate.

    It is what was posted to `tax_payable` for each jurisdiction: an invoice counts on the day on which it was
    finalized, is taken back on the day on which it was voided, and its credit notes on the days of theirs.
    """
    async with call.reading() as connection:
        rows = await tax_days.report(connection, call.tenant_id, first=asked.first_day, last=asked.last_day)
    return {
        "object": "tax_report",
        "first_day": asked.first_day,
        "last_day": asked.last_day,
        "rows": [_row(row) for row in rows],
    }
