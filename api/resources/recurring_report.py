"""Recurring revenue: MRR with its movements, the subscriptions that make them up, and churn."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Currency, Day, MoneyResource, eur, money, plain_decimal
from api.http.listing import (
    ListResource,
    PageParameters,
    Parameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.problems import FieldError, invalid
from api.resources.report_periods import DaysParameters, PeriodParameters, ReportPeriod, check_days, periods_between
from api.resources.tax_report import REPORT
from domain.kernel.currency import CurrencyCode
from domain.reporting.churn import churn_rates
from domain.reporting.mrr import Movement
from domain.reporting.mrr_report import Moved, MrrPeriod, Recurring, moved_by, nothing_of, period_by_period
from projections.models import mrr_days
from projections.models.mrr_days import MovementsOf, ReportInterval, SubscriptionMoved
from projections.read_model import Projection

_END_OF_TIME: Final = date(9999, 12, 30)
"""Whatever is known lies before it."""


class MrrParameters(Parameters):
    """As of one day, or the periods from one day to another; neither: as of now. Days are UTC, both ends included."""

    as_of: Annotated[Day | None, Field(description="At the end of this day; now unless given.")] = None
    first_day: Annotated[Day | None, Field(alias="from", description="The first day.")] = None
    last_day: Annotated[Day | None, Field(alias="to", description="The last day.")] = None
    interval: Annotated[ReportInterval, Field(description="By which periods.")] = ReportInterval.MONTH

    @field_validator("first_day")
    @classmethod
    def _of_one_kind(cls, first_day: date | None, info: ValidationInfo) -> date | None:
        return _not_beside(info, first_day)

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: date | None, info: ValidationInfo) -> date | None:
        last_day = _not_beside(info, last_day)
        return None if last_day is None else check_days(info.data.get("first_day"), last_day)


def _not_beside(info: ValidationInfo, day: date | None) -> date | None:
    if day is not None and info.data.get("as_of") is not None:
        raise PydanticCustomError("ambiguous_period", "Either as_of, or from and to")
    return day


class MovementParameters(DaysParameters, PageParameters):
    """Of which days (UTC), both ends included, and of which movement and currency."""

    movement: Annotated[Movement | None, Field(description="Those of this movement.")] = None
    currency: Annotated[Currency | None, Field(description="Those in this currency.")] = None


class MrrPeriodResource(TypedDict):
    """`start`, the five movements and `end`: the movements sum to the difference exactly; contraction and churn are
    below zero. `subscriptions` and `customers` have recurring revenue at the end.
    """

    first_day: date
    last_day: date
    start: MoneyResource
    new: MoneyResource
    expansion: MoneyResource
    contraction: MoneyResource
    churn: MoneyResource
    reactivation: MoneyResource
    end: MoneyResource
    subscriptions: int
    customers: int


class MrrCurrencyResource(TypedDict):
    """One currency: at the end of the last day, and period by period. `arr` is twelve times `mrr`."""

    currency: str
    mrr: MoneyResource
    arr: MoneyResource
    subscriptions: int
    customers: int
    periods: list[MrrPeriodResource]


class MrrResource(TypedDict):
    """Monthly recurring revenue by currency: customers' own, nothing is converted."""

    object: Literal["mrr_report"]
    as_of: date | None
    first_day: date | None
    last_day: date | None
    interval: ReportInterval
    currencies: list[MrrCurrencyResource]


class MovementResource(TypedDict):
    """What a subscription has in its customer's movement of a day."""

    id: str
    object: Literal["mrr_movement"]
    day: date
    customer: str
    subscription: str
    movement: Movement
    change: MoneyResource


class ChurnPeriodResource(TypedDict):
    """What was lost in a period of what there was at its start. Rates are shares with four decimals, null where there
    was nothing to lose.
    """

    first_day: date
    last_day: date
    customers_at_start: int
    customers_lost: int
    customer_churn_rate: str | None
    mrr_at_start: MoneyResource
    mrr_lost: MoneyResource
    gross_revenue_churn_rate: str | None
    net_revenue_churn_rate: str | None
    gross_retention_rate: str | None
    net_retention_rate: str | None


class ChurnCurrencyResource(TypedDict):
    """The periods in one currency."""

    currency: str
    periods: list[ChurnPeriodResource]


class ChurnResource(TypedDict):
    """Churn and retention by currency and period."""

    object: Literal["churn_report"]
    first_day: date
    last_day: date
    interval: ReportInterval
    currencies: list[ChurnCurrencyResource]


class _Reported(NamedTuple):
    """A currency's periods, and where the last of them left it."""

    currency: CurrencyCode
    periods: list[tuple[ReportPeriod, MrrPeriod]]
    end: Recurring


async def _as_of(call: Call, day: date) -> list[_Reported]:
    """Where the day left each currency: what moved before the day after it, and no period."""
    return await _reported(call, day + timedelta(days=1), day, ReportInterval.DAY)


async def _reported(call: Call, first: date, last: date, interval: ReportInterval) -> list[_Reported]:
    named = periods_between(first, last, interval)
    async with call.reading() as connection:
        rows = await mrr_days.moved(connection, call.tenant_id, first=first, last=last, interval=interval)
    by_currency: dict[CurrencyCode, dict[date | None, dict[Movement, Moved]]] = {}
    for row in rows:
        moved = by_currency.setdefault(row.currency, {}).setdefault(row.starts_on, {})
        moved[row.movement] = Moved(row.change, row.subscriptions, row.customers)
    found: list[_Reported] = []
    for currency, moved_in in by_currency.items():
        start = moved_by(nothing_of(currency), moved_in.get(None, {})).end
        reached = period_by_period(start, [starts_on for starts_on, _ in named], moved_in)
        periods = [(period, each) for (_, period), each in zip(named, reached, strict=True)]
        found.append(_Reported(currency, periods, reached[-1].end if reached else start))
    return found


def _period(period: ReportPeriod, told: MrrPeriod) -> MrrPeriodResource:
    return {
        "first_day": period.first_day,
        "last_day": period.last_day,
        "start": money(told.start.mrr),
        "new": money(told.moved.new),
        "expansion": money(told.moved.expansion),
        "contraction": money(told.moved.contraction),
        "churn": money(told.moved.churn),
        "reactivation": money(told.moved.reactivation),
        "end": money(told.end.mrr),
        "subscriptions": told.end.subscriptions,
        "customers": told.end.customers,
    }


def _currency(each: _Reported) -> MrrCurrencyResource:
    return {
        "currency": each.currency,
        "mrr": money(each.end.mrr),
        "arr": money(each.end.arr),
        "subscriptions": each.end.subscriptions,
        "customers": each.end.customers,
        "periods": [_period(period, told) for period, told in each.periods],
    }


@REPORT.query(
    "/v1/reports/mrr",
    answers=MrrResource,
    example={
        "object": "mrr_report",
        "as_of": None,
        "first_day": "2026-01-01",
        "last_day": "2026-01-31",
        "interval": "month",
        "currencies": [
            {
                "currency": "EUR",
                "mrr": eur(134_000),
                "arr": eur(1_608_000),
                "subscriptions": 27,
                "customers": 24,
                "periods": [
                    {
                        "first_day": "2026-01-01",
                        "last_day": "2026-01-31",
                        "start": eur(120_000),
                        "new": eur(15_000),
                        "expansion": eur(6_000),
                        "contraction": eur(-2_000),
                        "churn": eur(-5_000),
                        "reactivation": eur(0),
                        "end": eur(134_000),
                        "subscriptions": 27,
                        "customers": 24,
                    }
                ],
            }
        ],
    },
    parameters=MrrParameters,
    reads=(Projection.BILLING,),
)
async def get_mrr_report(call: Call, asked: MrrParameters) -> MrrResource:
    """Show monthly recurring revenue as of a day, or its movements from one day to another.

    What subscriptions that are active or past due cost a month, less discounts of several periods or without an end,
    without tax. A trial, a pause and a suspension count 0, and so does what is measured. A year is 12 months, 52 weeks
    or 365 days.
    """
    if asked.first_day is None and asked.last_day is None:
        found = await _as_of(call, asked.as_of or _END_OF_TIME)
    elif asked.first_day is None or asked.last_day is None:
        sent = "from" if asked.last_day is None else "to"
        raise invalid([FieldError(sent, "half_a_period", "Name from and to, or neither")])
    else:
        found = await _reported(call, asked.first_day, asked.last_day, asked.interval)
    return {
        "object": "mrr_report",
        "as_of": asked.as_of,
        "first_day": asked.first_day,
        "last_day": asked.last_day,
        "interval": asked.interval,
        "currencies": [_currency(each) for each in found],
    }


_MOVEMENT_EXAMPLE: Final[dict[str, object]] = {
    "id": "2026-01-15:sub_01m7ywe9z7e398x54gfbrtqnk7:expansion",
    "object": "mrr_movement",
    "day": "2026-01-15",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7",
    "movement": "expansion",
    "change": eur(6_000),
}


def _movement(each: SubscriptionMoved) -> MovementResource:
    return {
        "id": each.movement_id,
        "object": "mrr_movement",
        "day": each.day,
        "customer": each.customer_id,
        "subscription": each.subscription_id,
        "movement": each.movement,
        "change": money(each.change),
    }


@REPORT.query(
    "/v1/reports/mrr/movements",
    answers=ListResource[MovementResource],
    example=list_example(_MOVEMENT_EXAMPLE),
    parameters=MovementParameters,
    reads=(Projection.BILLING,),
)
async def list_mrr_movements(call: Call, asked: MovementParameters) -> ListResource[MovementResource]:
    """List the subscriptions that make up the movements of some days, the latest day first.

    Their changes sum to the report's figures for the same days.
    """
    request = page_request(call, asked)
    of = MovementsOf(first=asked.first_day, last=asked.last_day, movement=asked.movement, currency=asked.currency)
    async with call.reading() as connection:
        page = await mrr_days.page(connection, call.tenant_id, of, request)
    return page_resource(page, request, [_movement(each) for each in page.items])


def _rate(value: Decimal | None) -> str | None:
    return None if value is None else plain_decimal(value)


def _churn(period: ReportPeriod, told: MrrPeriod) -> ChurnPeriodResource:
    rates = churn_rates(
        customers=told.start.customers, customers_lost=told.customers_lost, mrr=told.start.mrr, moved=told.moved
    )
    return {
        "first_day": period.first_day,
        "last_day": period.last_day,
        "customers_at_start": told.start.customers,
        "customers_lost": told.customers_lost,
        "customer_churn_rate": _rate(rates.customer_churn),
        "mrr_at_start": money(told.start.mrr),
        "mrr_lost": money(-(told.moved.churn + told.moved.contraction)),
        "gross_revenue_churn_rate": _rate(rates.gross_revenue_churn),
        "net_revenue_churn_rate": _rate(rates.net_revenue_churn),
        "gross_retention_rate": _rate(rates.gross_retention),
        "net_retention_rate": _rate(rates.net_retention),
    }


@REPORT.query(
    "/v1/reports/churn",
    answers=ChurnResource,
    example={
        "object": "churn_report",
        "first_day": "2026-01-01",
        "last_day": "2026-01-31",
        "interval": "month",
        "currencies": [
            {
                "currency": "EUR",
                "periods": [
                    {
                        "first_day": "2026-01-01",
                        "last_day": "2026-01-31",
                        "customers_at_start": 25,
                        "customers_lost": 1,
                        "customer_churn_rate": "0.04",
                        "mrr_at_start": eur(120_000),
                        "mrr_lost": eur(7_000),
                        "gross_revenue_churn_rate": "0.0583",
                        "net_revenue_churn_rate": "0.0083",
                        "gross_retention_rate": "0.9417",
                        "net_retention_rate": "0.9917",
                    }
                ],
            }
        ],
    },
    parameters=PeriodParameters,
    reads=(Projection.BILLING,),
)
async def get_churn_report(call: Call, asked: PeriodParameters) -> ChurnResource:
    """Show what share of customers and of recurring revenue was lost, period by period.

    Of what there was at the start: customers lost; gross, churn and contraction; net, those less expansion and
    reactivation. Retention is one less the churn.
    """
    found = await _reported(call, asked.first_day, asked.last_day, asked.interval)
    return {
        "object": "churn_report",
        "first_day": asked.first_day,
        "last_day": asked.last_day,
        "interval": asked.interval,
        "currencies": [
            {"currency": each.currency, "periods": [_churn(period, told) for period, told in each.periods]}
            for each in found
        ],
    }
