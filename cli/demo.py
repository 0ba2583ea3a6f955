"""`tallybook demo`: the telecom month on real parts, and the proof that everything adds up."""

import asyncio
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from cli.api_client import ApiClient, ApiError, Resource
from cli.audit import DoesNotAddUp, described, show, verified
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_table
from cli.servers import start_roles, tell_happening, tell_servers
from cli.telecom_counted import CountedUsage, counted_usage, remembered_ids, usage_table, wrong_usage
from cli.telecom_customers import CURRENCY, TelecomCustomer, read_customers
from cli.telecom_events import Usage
from cli.telecom_expected import Ages, ExpectedMonth, Taxes, expected_month
from cli.telecom_month import ENDS_AT, STARTS_AT, Month, MonthStalled, TelecomMonth, progress_bars
from cli.telecom_rated import expected_usage
from cli.telecom_usage import Tally, UsageMonth
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.addresses import owner_pool
from host.configured import owner_dsn
from host.stack import NO_LIMITS, Stack, running_stack
from host.until_stopped import run_until_stopped
from infra.settings import Settings, data_path, load_settings
from processors.invariants.findings import Checked

SETTLES_WITHIN_S: Final = 30.0
POLL_S: Final = 0.5
AGES: Final = ("current", "days_1_30", "days_31_60", "days_61_90", "over_90")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Came:
    """What the month and its usage came to."""

    month: Month
    tally: Tally
    counted: CountedUsage


def demo(
    *,
    customers: Annotated[
        int | None, typer.Option("--customers", min=1, help="Only the first so many of the 7,043 customers.")
    ] = None,
    events: Annotated[
        int | None,
        typer.Option("--events", min=1, help="About so many usage events; default: 1,000 of each with a meter."),
    ] = None,
    stay: Annotated[
        bool | None, typer.Option("--stay/--no-stay", help="Leave it running afterwards; default: if you can see it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bill 7,043 telecom customers and their usage for two months, on real PostgreSQL and Kafka; prove every cent.

    Exit code 1, with the difference named, if anything does not add up.
    [dim]Example:[/dim] [cyan]tallybook demo --customers 500 --no-stay[/cyan]
    """
    stays = sys.stdout.isatty() and not as_json if stay is None else stay
    on = console_for(as_json=as_json)
    try:
        if not run_until_stopped(_demo(load_settings(), customers, events, stays=stays, as_json=as_json)):
            on.print("Stopped.")
    except (DoesNotAddUp, ApiError, MonthStalled) as wrong:
        raise AnswerIsNo(f"It does not add up. {wrong}") from None


async def _demo(settings: Settings, limit: int | None, events: int | None, *, stays: bool, as_json: bool) -> None:
    on = console_for(as_json=as_json)
    rows = read_customers(limit=limit)
    usage = Usage.of(rows, events)
    async with running_stack(settings, environment=NO_LIMITS, tell=lambda text: tell_happening(text, on=on)) as stack:
        tell_servers(settings, stack.servers, on=on)
        await start_roles(stack, on=on)
        run_id = f"telecom-{int(time.time())}"
        tenant = await create_tenant(
            owner_dsn(stack.settings), stack.settings, tenant_id=run_id, name="Telecom month", mode=TenantMode.TEST
        )
        async with ApiClient(stack.api_url, tenant.key.secret, certificate_file=stack.certificate_file) as api:
            came = await _run(api, stack, rows, usage, tenant=run_id, on=on)
            checked = await _summary(api, stack, rows, usage, came, on=on)
        if as_json:
            print_json(
                {
                    "api": stack.api_url,
                    "tenant": tenant.tenant_id,
                    "api_key": tenant.key.secret,
                    "customers": len(rows),
                    "cycles": [
                        {"invoices": cycle.invoices, "amount": cycle.amount}
                        for cycle in (came.month.january, came.month.february)
                    ],
                    "usage": {
                        "sent": came.tally.sent,
                        "accepted": came.tally.accepted,
                        "counted": came.counted.counts,
                        "duplicates": came.counted.duplicates,
                        "conflicts": came.counted.conflicts,
                        "late_lines": came.counted.late_lines,
                    },
                    "invariants": [described(result) for result in checked],
                }
            )
        _what_next(settings, stack, tenant.key.secret, stays=stays, on=on)
        if stays:
            on.print("Everything stays up; Ctrl-C stops it.")
            await asyncio.Event().wait()


async def _run(
    api: ApiClient, stack: Stack, rows: Sequence[TelecomCustomer], usage: Usage, *, tenant: str, on: Console
) -> _Came:
    """The month, and what was counted of it."""
    async with owner_pool(stack.settings) as pool:
        before = await remembered_ids(pool)
        with progress_bars(on) as progress:
            using = UsageMonth(api, usage, tenant=tenant, progress=progress)
            month = await TelecomMonth(api, rows, tenant=tenant, progress=progress, usage=using).run()
        counted = await counted_usage(pool, api, using, tenant=tenant, ids_before=before)
    return _Came(month=month, tally=using.tally, counted=counted)


async def _summary(
    api: ApiClient, stack: Stack, rows: Sequence[TelecomCustomer], usage: Usage, came: _Came, *, on: Console
) -> list[Checked]:
    """Show what the month came to and check all of it; return what was checked. Raises DoesNotAddUp."""
    from processors.invariants.unfinished import swept_share

    expected_of_usage = expected_usage(rows, usage)
    expected = expected_month(rows, expected_of_usage)
    figures: list[Resource] = (await api.get("/v1/stats/dashboard", fresh=True))["figures"]
    balance = await api.get("/v1/ledger/trial-balance", fresh=True)
    taxes = await api.get("/v1/reports/tax", {"from": STARTS_AT[:10], "to": ENDS_AT[:10]}, fresh=True)
    ageing = [await api.get("/v1/reports/ageing", {"as_of": day}, fresh=True) for day in expected.ages_on]
    health = await _settled_health(api)
    print_table(on, _cycles_table(came.month))
    print_table(on, usage_table(came.tally, came.counted))
    print_table(on, _figures_table(figures))
    print_table(on, _taxes_table(taxes))
    print_table(on, _ageing_table(ageing))
    print_table(on, _balance_table(balance))
    print_table(on, _health_table(health))
    checked = await verified(stack.settings, on=on)
    show(checked, on)
    wrong = [
        *_wrong_amounts(expected, came.month),
        *wrong_usage(expected_of_usage, came.tally, came.counted),
        *_wrong_taxes(expected, taxes),
        *_wrong_ages(expected, ageing),
        *(
            f"The trial balance in {each['currency']} is off by {each['difference']['amount']} minor units."
            for each in balance["currencies"]
            if each["difference"]["amount"]
        ),
        *(f"{result.invariant}: {result.differences} differences." for result in checked if not result.holds),
    ]
    swept = max(map(swept_share, checked), default=0.0)
    if swept == 1:
        wrong.append("Kafka brought no saga its events: the sweeper started all of them.")
    if wrong:
        raise DoesNotAddUp(" ".join(wrong))
    if swept > stack.settings.processors.swept_share_max:
        on.print(
            f"[yellow]{swept:.0%} of the sagas' steps were the sweeper's, as Kafka had not brought them by their "
            "deadline: this machine is busy, or a broker was away. Nothing is wrong with the books.[/yellow]"
        )
    on.print(_verdict(rows, came, checked))
    return checked


async def _settled_health(api: ApiClient) -> Resource:
    """Everybody's health once nobody says to be behind, within a bound: the processes tell of themselves by heartbeats,
    and what one said before the last events were folded is no lag.
    """
    give_up_at = time.monotonic() + SETTLES_WITHIN_S
    while True:
        health = await api.get("/health")
        if time.monotonic() > give_up_at or not any(part.get("lag_events") for part in health["parts"]):
            return health
        await asyncio.sleep(POLL_S)


def _wrong_amounts(expected: ExpectedMonth, month: Month) -> list[str]:
    wrong = []
    for name, cycle, counted in (
        ("first cycle", month.january, expected.january),
        ("change of contracts", month.changes, expected.changes),
        ("second cycle", month.february, expected.february),
    ):
        if (cycle.invoices, cycle.amount) != (counted.invoices, counted.amount):
            wrong.append(
                f"The {name} invoiced {money(cycle.amount)} on {cycle.invoices:,} invoices; "
                f"the CSV says {money(counted.amount)} on {counted.invoices:,}."
            )
    if month.credited != -expected.credit_notes.amount:
        wrong.append(f"{money(month.credited)} were credited; the CSV says {money(-expected.credit_notes.amount)}.")
    return wrong


def _wrong_taxes(month: ExpectedMonth, taxes: Resource) -> list[str]:
    expected = month.taxes
    reported: Taxes = {
        (row["jurisdiction"], row["treatment"]): (row["taxable"]["amount"], row["tax"]["amount"])
        for row in taxes["rows"]
    }
    return [
        f"The tax report says {reported.get(place)} of {place}, in minor units net and tax; the CSV says "
        f"{expected.get(place)}."
        for place in sorted(expected.keys() | reported.keys())
        if expected.get(place) != reported.get(place)
    ]


def _wrong_ages(month: ExpectedMonth, ageing: Sequence[Resource]) -> list[str]:
    expected = month.ages_on
    reported = {report["as_of"]: _ages(report) for report in ageing}
    return [
        f"The ageing report of {day} says {reported.get(day)}, in minor units; the CSV says {ages}."
        for day, ages in expected.items()
        if reported.get(day) != ages
    ]


def _ages(report: Resource) -> Ages:
    """What the report says, of one currency and without what is nothing."""
    amounts = {age: sum(total[age]["amount"] for total in report["totals"]) for age in AGES}
    return {age: amount for age, amount in amounts.items() if amount}


def _verdict(rows: Sequence[TelecomCustomer], came: _Came, checked: Sequence[Checked]) -> Panel:
    differences = sum(result.differences for result in checked)
    month, counted = came.month, came.counted
    return Panel.fit(
        f"{len(rows):,} customers; {money(month.january.amount)} and {money(month.february.amount)} invoiced, "
        f"{money(month.changes.amount)} for changed contracts, {money(month.credited)} credited, as the CSV says.\n"
        f"{came.tally.sent:,} usage events sent, {counted.counts:,} counted and billed once, with "
        f"{money(sum(counted.amounts.values()))}; {counted.duplicates:,} dropped as duplicates.\n"
        f"Differences over all invariants: {differences}",
        title="[green]It adds up[/green]",
    )


def _cycles_table(month: Month) -> Table:
    table = Table("cycle", "invoices", "charged", "invoiced", "seconds", "invoices/s", title="Billing cycles")
    for name, cycle in (("January", month.january), ("Changes", month.changes), ("February", month.february)):
        table.add_row(
            name,
            f"{cycle.invoices:,}",
            f"{cycle.charged:,}",
            money(cycle.amount),
            f"{cycle.seconds:.1f}",
            f"{cycle.invoices / cycle.seconds:,.0f}",
        )
    return table


def _figures_table(figures: Sequence[Resource]) -> Table:
    table = Table("what", "how many", "money", title="By state")
    for each in figures:
        if each["count"] or each["amount"]:
            table.add_row(each["measure"], f"{each['count']:,}", money(each["amount"]) if each["amount"] else "")
    return table


def _taxes_table(taxes: Resource) -> Table:
    table = Table("country", "treatment", "rate", "taxable", "tax", title="Taxes")
    for row in taxes["rows"]:
        percent = "" if row["percent"] is None else f"{row['percent']} %"
        amounts = (money(row[each]["amount"]) for each in ("taxable", "tax"))
        table.add_row(row["jurisdiction"], row["treatment"], percent, *amounts)
    return table


def _ageing_table(ageing: Sequence[Resource]) -> Table:
    table = Table("as of", "current", "1-30 days late", "31-60", "61-90", "over 90", title="Receivables by age")
    for report in ageing:
        ages = _ages(report)
        table.add_row(report["as_of"], *(money(ages[age]) if age in ages else "" for age in AGES))
    return table


def _balance_table(balance: Mapping[str, Any]) -> Table:
    table = Table("account", "debit", "credit", title="Trial balance")
    for currency in balance["currencies"]:
        for account in currency["accounts"]:
            sides = account["debit"]["amount"], account["credit"]["amount"]
            table.add_row(account["name"], *(money(side, currency["currency"]) if side else "" for side in sides))
        table.add_section()
        table.add_row("Total", *(money(currency[side]["amount"], currency["currency"]) for side in ("debit", "credit")))
        table.add_row("Difference", money(currency["difference"]["amount"], currency["currency"]), "")
    return table


def _health_table(health: Mapping[str, Any]) -> Table:
    table = Table("part", "state", "behind, events", "said, s ago", title="Lag")
    for part in health["parts"]:
        state = "ok" if part["ok"] else f"[red]{part['detail']}[/red]"
        table.add_row(part["name"], state, str(part.get("lag_events", "")), str(part.get("age_s", "")))
    return table


def _what_next(settings: Settings, stack: Stack, key: str, *, stays: bool, on: Console) -> None:
    """Requests to try: of what runs, or of what runs again once it was started on the same data folder."""
    url = stack.api_url
    on.print("What to try next:" if stays else "What to try next, once it runs again on this data:")
    if not stays:
        folder = shlex.quote(str(data_path(settings)))
        on.print(f"  TALLYBOOK_DATA_DIR={folder} make dev", soft_wrap=True, highlight=False)
    if not stays and settings.api.port == 0:
        url = "$API"
        on.print(
            f"  API={settings.api.scheme}://…   # the address that it prints then: TALLYBOOK_API_PORT=0 takes another "
            "each time",
            soft_wrap=True,
        )
    for path in ("invoices?status=open", "reports/ageing?as_of=2026-02-01", "ledger/trial-balance", "stats/dashboard"):
        on.print(f'  curl -H "Authorization: Bearer {key}" "{url}/v1/{path}"', soft_wrap=True, highlight=False)


def money(minor: int, currency: str = CURRENCY) -> str:
    """Minor units of a currency with two decimals, for people."""
    return f"{minor // 100:,}.{minor % 100:02d} {currency}"
