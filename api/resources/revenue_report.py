"""The revenue timeline: what was earned period by period, as the books have it."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import MoneyResource, eur, money
from api.resources.report_periods import PeriodParameters, ReportPeriod, periods_between
from api.resources.tax_report import REPORT
from domain.kernel.accounts import ALLOWANCES
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, sum_money
from projections.models import revenue
from projections.models.mrr_days import ReportInterval
from projections.read_model import Projection


class RevenueAccountResource(TypedDict):
    """What was posted to one account of revenue, its debits taken off."""

    account: str
    amount: MoneyResource


class RevenuePeriodResource(TypedDict):
    """`net` is `revenue`, the sum of `accounts`, less `allowances`, which were given back of it."""

    first_day: date
    last_day: date
    accounts: list[RevenueAccountResource]
    revenue: MoneyResource
    allowances: MoneyResource
    net: MoneyResource


class RevenueCurrencyResource(TypedDict):
    """One currency; its sums, and each period."""

    currency: str
    revenue: MoneyResource
    allowances: MoneyResource
    net: MoneyResource
    periods: list[RevenuePeriodResource]


class RevenueResource(TypedDict):
    """Revenue by currency and period."""

    object: Literal["revenue_report"]
    first_day: date
    last_day: date
    interval: ReportInterval
    currencies: list[RevenueCurrencyResource]


@REPORT.query(
    "/v1/reports/revenue",
    answers=RevenueResource,
    example={
        "object": "revenue_report",
        "first_day": "2026-01-01",
        "last_day": "2026-01-31",
        "interval": "month",
        "currencies": [
            {
                "currency": "EUR",
                "revenue": eur(98_000),
                "allowances": eur(3_000),
                "net": eur(95_000),
                "periods": [
                    {
                        "first_day": "2026-01-01",
                        "last_day": "2026-01-31",
                        "accounts": [{"account": "revenue", "amount": eur(98_000)}],
                        "revenue": eur(98_000),
                        "allowances": eur(3_000),
                        "net": eur(95_000),
                    }
                ],
            }
        ],
    },
    parameters=PeriodParameters,
    reads=(Projection.LEDGER,),
)
async def get_revenue_report(call: Call, asked: PeriodParameters) -> RevenueResource:
    """Show revenue period by period: what was posted to the accounts of revenue, less refunds and allowances.

    Entries count on the day on which they took effect (UTC), so the figures of a period are what the trial balance
    moved in it.
    """
    first, last, interval = asked.first_day, asked.last_day, asked.interval
    periods = periods_between(first, last, interval)
    async with call.reading() as connection:
        rows = await revenue.moved(connection, call.tenant_id, first=first, last=last, interval=interval)
    found: dict[CurrencyCode, dict[date, dict[str, Money]]] = {}
    for row in rows:
        found.setdefault(row.currency, {}).setdefault(row.starts_on, {})[row.account.code] = row.amount
    return {
        "object": "revenue_report",
        "first_day": first,
        "last_day": last,
        "interval": interval,
        "currencies": [_currency(currency, moved, periods) for currency, moved in found.items()],
    }


def _currency(
    currency: CurrencyCode, moved: dict[date, dict[str, Money]], named: Sequence[tuple[date, ReportPeriod]]
) -> RevenueCurrencyResource:
    zero = Money.zero(currency)
    periods: list[RevenuePeriodResource] = []
    earned_in_all = given_back_in_all = zero
    for starts_on, (first_day, last_day) in named:
        by_account = dict(moved.get(starts_on, {}))
        # Allowances are debited: what the account gained is below zero.
        given_back = -by_account.pop(ALLOWANCES.code, zero)
        earned = sum_money(by_account.values(), currency)
        periods.append(
            {
                "first_day": first_day,
                "last_day": last_day,
                "accounts": [{"account": code, "amount": money(amount)} for code, amount in by_account.items()],
                "revenue": money(earned),
                "allowances": money(given_back),
                "net": money(earned - given_back),
            }
        )
        earned_in_all += earned
        given_back_in_all += given_back
    return {
        "currency": currency,
        "revenue": money(earned_in_all),
        "allowances": money(given_back_in_all),
        "net": money(earned_in_all - given_back_in_all),
        "periods": periods,
    }
