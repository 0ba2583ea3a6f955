"""What a year came to, as the system says: its documents, its books month by month, its tax reports, its balances."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from cli.api_client import ApiClient, Resource
from cli.many import for_each
from cli.year.acts import MONTHS, YEAR, day
from cli.year.expected import COUNTED, ENDS, MONTH_NAMES
from cli.year.figures import Figure, FiguresSoFar, month_of

REQUESTS_AT_ONCE: Final = 32

TURNOVER: Final = (
    ("cash", "debit", "collected"),
    ("gateway_clearing", "debit", "collected"),
    ("cash", "credit", "bounced"),
    ("gateway_clearing", "credit", "refunded"),
    ("bad_debt", "debit", "written off"),
)
"""Which side of which account says what moved."""
STOOD: Final = (("receivable", "open"), ("customer_balance", "balance"))


async def measured_year(api: ApiClient, customers: Mapping[str, str]) -> dict[Figure, int]:
    """The figures of `expected_year`, read through the API. `customers` are ids by external id."""
    figures = FiguresSoFar()
    names = {customer: name for name, customer in customers.items()}
    await _documents(api, names, figures)
    await _books(api, figures)
    for month in range(1, MONTHS + 1):
        await _taxes(api, day(month, 1), _end_of(month) - timedelta(days=1), figures)
    await _customers(api, figures)
    await _balances(api, customers, figures)
    return figures.done()


async def trial_balance(api: ApiClient, before: date) -> list[Resource]:
    """The books before a day, currency by currency."""
    found: list[Resource] = (await api.get("/v1/ledger/trial-balance", {"as_of": f"{before}T00:00:00Z"}, fresh=True))[
        "currencies"
    ]
    return found


async def _documents(api: ApiClient, names: Mapping[str, str], figures: FiguresSoFar) -> None:
    async for invoices in api.pages("/v1/invoices", {}, fresh=True):
        for invoice in invoices:
            on, currency = invoice["finalized_at"], invoice["currency"]
            total, discount, tax = (invoice[each]["amount"] for each in ("total", "total_discount", "total_tax"))
            for what, amount in (("invoiced", total), ("discounts", discount), ("tax", tax)):
                figures.tell(amount, month_of(on), currency, what)
            if invoice["voided_at"] is not None:
                figures.tell(total, month_of(invoice["voided_at"]), currency, "voided")
            name = names[invoice["customer"]]
            for what, amount in (("total", total), ("discount", discount), ("tax", tax), ("invoices", 1)):
                figures.tell(amount, name, on[:10], what)
    async for notes in api.pages("/v1/credit-notes", {}, fresh=True):
        for note in notes:
            total = note["total"]
            figures.tell(total["amount"], month_of(note["created"]), total["currency"], "credited")
            if note["voided_at"] is not None:
                figures.tell(-total["amount"], month_of(note["voided_at"]), total["currency"], "credited")


async def _books(api: ApiClient, figures: FiguresSoFar) -> None:
    before: dict[tuple[str, str, str], int] = {}
    for month, name in enumerate(MONTH_NAMES, 1):
        for books in await trial_balance(api, _end_of(month)):
            accounts = {each["code"]: each for each in books["accounts"]}
            for code, side, what in TURNOVER:
                if code in accounts:
                    amount = accounts[code][side]["amount"]
                    moved = amount - before.get((books["currency"], code, side), 0)
                    before[books["currency"], code, side] = amount
                    figures.tell(moved, name, books["currency"], what)
            for code, what in STOOD:
                if code in accounts:
                    figures.tell(accounts[code]["balance"]["amount"], name, books["currency"], what)


async def _taxes(api: ApiClient, first: date, last: date, figures: FiguresSoFar) -> None:
    days = {"from": first.isoformat(), "to": last.isoformat()}
    for row in (await api.get("/v1/reports/tax", days, fresh=True))["rows"]:
        treated = row["jurisdiction"], row["treatment"], row["percent"] or ""
        of = (month_of(first.isoformat()), row["tax"]["currency"], "tax of", *treated)
        for what in ("taxable", "tax"):
            figures.tell(row[what]["amount"], *of, what)


async def _customers(api: ApiClient, figures: FiguresSoFar) -> None:
    async for subscriptions in api.pages("/v1/subscriptions", {}, fresh=True):
        for subscription in subscriptions:
            figures.tell(1, month_of(subscription["starts_at"]), "customers", "new")
            if subscription["canceled_at"] is not None:
                figures.tell(1, month_of(subscription["canceled_at"]), "customers", "lost")
    at_start, new, lost, at_end = COUNTED
    before = 0
    for month in MONTH_NAMES:
        figures.tell(before, month, "customers", at_start)
        before += figures[month, "customers", new] - figures[month, "customers", lost]
        figures.tell(before, month, "customers", at_end)


async def _balances(api: ApiClient, customers: Mapping[str, str], figures: FiguresSoFar) -> None:
    async def one(of: tuple[str, str]) -> None:
        name, customer = of
        balance = await api.get(f"/v1/customers/{customer}/balance", fresh=True)
        figures.tell(_sum(balance["owed"]), name, "owes")
        figures.tell(_sum(balance["customer_balance"]), name, "has")

    await for_each(customers.items(), one, at_once=REQUESTS_AT_ONCE)


def _sum(amounts: Sequence[Resource]) -> int:
    return sum(each["amount"] for each in amounts)


def _end_of(month: int) -> date:
    """The first day after it."""
    return ENDS if month == MONTHS else date(YEAR, month + 1, 1)
