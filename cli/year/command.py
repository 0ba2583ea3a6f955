"""`tallybook year`: twelve months of a telecom company on real parts, proven to the cent against an own reckoning."""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from cli.api_client import ApiClient, ApiError
from cli.audit import DoesNotAddUp, described, show, verified
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_table
from cli.servers import start_roles, tell_happening, tell_servers
from cli.telecom_month import progress_bars
from cli.tenants import create_tenant
from cli.year.acts import CURRENCIES, Person
from cli.year.expected import COUNTED, MONTH_NAMES, MOVING, STANDING, expected_year
from cli.year.figures import Figure, Figures, differences
from cli.year.measured import measured_year
from cli.year.running import TelecomYear, YearStalled
from cli.year.story import read_people
from domain.kernel.currency import EXPONENTS, CurrencyCode
from domain.kernel.tenant_mode import TenantMode
from host.configured import owner_dsn
from host.stack import NO_LIMITS, running_stack
from host.until_stopped import run_until_stopped
from infra.settings import Settings, load_settings
from processors.invariants.findings import Checked

CUSTOMERS: Final = 300
NAMED_MAX: Final = 20
"""Differences that are told one by one."""


def year(
    *,
    customers: Annotated[
        int, typer.Option("--customers", min=1, help="The first so many of the CSV's 7,043 customers.")
    ] = CUSTOMERS,
    as_json: AsJson = False,
) -> None:
    """Bill telecom customers for twelve months, with whatever becomes of them, and prove every cent.

    They join, try, upgrade, pause, pay late and leave, on a test clock; every invoice, tax, payment and balance is
    then held against a reckoning from the CSV that shares nothing with what bills. Exit code 1, with every difference
    named, if anything does not add up. [dim]Example:[/dim] [cyan]tallybook year[/cyan],
    [cyan]tallybook year --customers 500[/cyan], [cyan]tallybook year --json > year.json[/cyan]
    """
    on = console_for(as_json=as_json)
    try:
        if not run_until_stopped(_year(load_settings(), customers, as_json=as_json)):
            on.print("Stopped.")
    except (DoesNotAddUp, ApiError, YearStalled) as wrong:
        raise AnswerIsNo(f"It does not add up. {wrong}") from None


async def _year(settings: Settings, limit: int, *, as_json: bool) -> None:
    on = console_for(as_json=as_json)
    people = read_people(limit)
    async with running_stack(settings, environment=NO_LIMITS, tell=lambda text: tell_happening(text, on=on)) as stack:
        tell_servers(settings, stack.servers, on=on)
        await start_roles(stack, on=on)
        run_id = f"year-{int(time.time())}"
        tenant = await create_tenant(
            owner_dsn(stack.settings), stack.settings, tenant_id=run_id, name="Telecom year", mode=TenantMode.TEST
        )
        start = time.monotonic()
        async with ApiClient(stack.api_url, tenant.key.secret, certificate_file=stack.certificate_file) as api:
            with progress_bars(on) as progress:
                running = TelecomYear(api, people, tenant=run_id, progress=progress)
                await running.run()
                measured = await measured_year(api, running.customers)
        checked = await verified(stack.settings, on=on)
        expected = expected_year(people)
        wrong = differences(expected, measured)
        for table in year_tables(measured):
            print_table(on, table)
        show(checked, on)
        if as_json:
            print_json(_summary(people, expected, measured, wrong, checked, seconds=time.monotonic() - start))
    prove(on, people, expected, wrong, checked)


def prove(
    on: Console, people: Sequence[Person], expected: Figures, wrong: Sequence[str], checked: Sequence[Checked]
) -> None:
    """Say that all adds up, on this console. Raises DoesNotAddUp with the first differences by name."""
    broken = [f"{result.invariant}: {result.differences} differences." for result in checked if not result.holds]
    named = [f"{each}." for each in wrong[:NAMED_MAX]]
    if len(wrong) > NAMED_MAX:
        named.append(f"And {len(wrong) - NAMED_MAX} figures more.")
    if wrong or broken:
        raise DoesNotAddUp(" ".join([*named, *broken]))
    on.print(
        Panel.fit(
            f"{len(people):,} customers, {MONTH_NAMES[0]} to {MONTH_NAMES[-1]}: {len(expected):,} figures are what "
            "the CSV says, to the cent.\nDifferences over all invariants: 0",
            title="[green]It adds up[/green]",
        )
    )


def _summary(
    people: Sequence[Person],
    expected: Figures,
    measured: Figures,
    wrong: Sequence[str],
    checked: Sequence[Checked],
    *,
    seconds: float,
) -> dict[str, object]:
    return {
        "customers": len(people),
        "seconds": round(seconds, 1),
        "months": [_month(month, measured) for month in MONTH_NAMES],
        "figures": [{"figure": list(figure), "measured": amount} for figure, amount in measured.items()],
        "compared": len(expected.keys() | measured.keys()),
        "differences": list(wrong),
        "invariants": [described(result) for result in checked],
    }


def _month(month: str, figures: Figures) -> dict[str, object]:
    counted: dict[str, object] = {what: figures.get((month, "customers", what), 0) for what in COUNTED}
    amounts = {
        currency: {what: figures.get((month, currency, what), 0) for what in (*MOVING, *STANDING)}
        for currency in CURRENCIES
    }
    return {"month": month, "customers": counted, "amounts": amounts}


def year_tables(figures: Mapping[Figure, int]) -> list[Table]:
    """The customers by month, and for each currency what moved and what stood."""
    customers = Table("month", *COUNTED, title="Customers")
    for month in MONTH_NAMES:
        customers.add_row(month, *(f"{figures.get((month, 'customers', what), 0):,}" for what in COUNTED))
    tables = [customers]
    for currency in CURRENCIES:
        table = Table("month", *MOVING, *STANDING, title=currency)
        for month in MONTH_NAMES:
            amounts = (figures.get((month, currency, what), 0) for what in (*MOVING, *STANDING))
            table.add_row(month, *(_amount(each, currency) for each in amounts))
        table.add_section()
        sums = (sum(figures.get((month, currency, what), 0) for month in MONTH_NAMES) for what in MOVING)
        table.add_row("year", *(_amount(each, currency) for each in sums), *("" for _ in STANDING))
        tables.append(table)
    return tables


def _amount(minor: int, currency: str) -> str:
    """Minor units as people write them; nothing for zero."""
    decimals = EXPONENTS[CurrencyCode(currency)]
    return f"{Decimal(minor).scaleb(-decimals):,.{decimals}f}" if minor else ""
