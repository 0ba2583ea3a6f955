"""Receivables by age: what is owed as of a day, by how long it is overdue, altogether and by customer."""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Currency, CustomerId, Day, MoneyResource, money
from api.http.listing import Limit, ListResource, Parameters, list_resource, page_limit
from api.resources.tax_report import REPORT
from domain.kernel.billing_period import local_date_of
from domain.reporting.ageing import Ageing
from projections.billing_settings import billing_settings
from projections.models import receivables
from projections.models.receivables import CustomerAgeing
from projections.read_model import Projection
from projections.reading import PageRequest


class AgeingParameters(Parameters):
    """As of which day, of whom, and which customers of the list."""

    as_of: Annotated[
        Day | None, Field(description="The end of this day, in the seller's `time_zone`; today unless given.")
    ] = None
    customer: CustomerId | None = None
    currency: Currency | None = None
    limit: Limit | None = None
    starting_after: Annotated[
        CustomerId | None, Field(description="Only customers that follow this one: the next page.")
    ] = None


class AgeingResource(TypedDict):
    """What is owed in one currency, by whole days overdue; what is due on the day itself is current."""

    currency: str
    current: MoneyResource
    days_1_30: MoneyResource
    days_31_60: MoneyResource
    days_61_90: MoneyResource
    over_90: MoneyResource
    total: MoneyResource


class CustomerAgeingResource(TypedDict):
    """What one customer owes, per currency."""

    customer: str
    owed: list[AgeingResource]


class AgeingReportResource(TypedDict):
    """What all customers owe at the end of a day, per currency, and a page of those who owe it, by their ids."""

    object: Literal["ageing_report"]
    as_of: date
    time_zone: str
    totals: list[AgeingResource]
    customers: ListResource[CustomerAgeingResource]


def _ageing(ageing: Ageing) -> AgeingResource:
    return {
        "currency": ageing.currency,
        "current": money(ageing.current),
        "days_1_30": money(ageing.days_1_30),
        "days_31_60": money(ageing.days_31_60),
        "days_61_90": money(ageing.days_61_90),
        "over_90": money(ageing.over_90),
        "total": money(ageing.total),
    }


def _customer(found: CustomerAgeing) -> CustomerAgeingResource:
    return {"customer": found.customer_id, "owed": [_ageing(each) for each in found.owed]}


_EXAMPLE: Final[dict[str, object]] = {
    "currency": "EUR",
    "current": {"amount": 25000, "currency": "EUR"},
    "days_1_30": {"amount": 4900, "currency": "EUR"},
    "days_31_60": {"amount": 0, "currency": "EUR"},
    "days_61_90": {"amount": 0, "currency": "EUR"},
    "over_90": {"amount": 1200, "currency": "EUR"},
    "total": {"amount": 31100, "currency": "EUR"},
}


@REPORT.query(
    "/v1/reports/ageing",
    answers=AgeingReportResource,
    example={
        "object": "ageing_report",
        "as_of": "2026-01-31",
        "time_zone": "Europe/Berlin",
        "totals": [_EXAMPLE],
        "customers": {
            "object": "list",
            "data": [{"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7", "owed": [_EXAMPLE]}],
            "has_more": False,
            "next_cursor": None,
        },
    },
    parameters=AgeingParameters,
    reads=(Projection.BILLING,),
)
async def get_ageing_report(call: Call, asked: AgeingParameters) -> AgeingReportResource:
    """Show what customers owe as of a day, by how long it is overdue.

    It is what was open at the end of that day, though it was paid, credited or written off since. The totals are what
    `receivable` held then (`GET /v1/ledger/trial-balance` with the next day's beginning as `as_of`). Days are those of
    the billing settings' `time_zone`, and times those of business: a test clock's, where a customer is on one.
    """
    limit = page_limit(call, asked.limit)
    async with call.reading() as connection:
        time_zone = (await billing_settings(connection, call.tenant_id)).time_zone
        as_of = local_date_of(call.parts.identity.clock(), time_zone) if asked.as_of is None else asked.as_of
        report = await receivables.ageing(
            connection,
            call.tenant_id,
            as_of=as_of,
            time_zone=time_zone,
            customer_id=asked.customer,
            currency=asked.currency,
            request=PageRequest(limit=limit, starting_after=asked.starting_after),
        )
    page = report.customers
    return {
        "object": "ageing_report",
        "as_of": as_of,
        "time_zone": time_zone,
        "totals": [_ageing(each) for each in report.totals],
        "customers": list_resource(
            [_customer(each) for each in page.items],
            has_more=page.has_more,
            next_cursor=page.items[-1].customer_id if page.items else None,
        ),
    }
