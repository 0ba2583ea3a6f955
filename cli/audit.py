"""`tallybook audit`: prove, on live data, that the books and everything made from them are right.

What is heavy is imported when it is needed: every role's process imports the command line, too.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_table
from gateway_adapters.port import GatewayUnavailable
from infra.settings import Settings
from processors.invariants.findings import Checked, Invariant
from processors.invariants.findings import Progress as Told

app = typer.Typer(help="Proof that nothing was lost, doubled or changed.", no_args_is_help=True)

STATEMENT_TIMEOUT_MS = 600_000
GRACE_S = 60.0
console = Console()


class DoesNotAddUp(Exception):
    """Something differs from what it must be; the message names it."""


@app.callback()
def _group() -> None:
    """Keeps `verify` a command of its own while it is the only one."""


@app.command("verify")
def verify(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="An invariant by its number, such as I3; may be repeated.")
    ] = None,
    grace_s: Annotated[
        float, typer.Option("--grace-s", help="Seconds for which work may be under way before it counts as unfinished.")
    ] = GRACE_S,
    as_json: AsJson = False,
) -> None:
    """Check the invariants I1 to I5, I7 to I9 and I11, and name every difference.

    Exit code 1 if there is one. Everything goes on meanwhile. [dim]Example:[/dim] [cyan]tallybook audit verify[/cyan]
    """
    from host.addresses import reached_settings

    wanted = tuple(Invariant)
    if only:
        known = {invariant.value: invariant for invariant in Invariant}
        unknown = [name for name in only if name.upper() not in known]
        if unknown:
            raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}.")
        wanted = tuple(known[name.upper()] for name in only)
    try:
        results = asyncio.run(
            verified(reached_settings(), wanted, timedelta(seconds=grace_s), on=console_for(as_json=as_json))
        )
    except GatewayUnavailable as unavailable:
        raise AnswerIsNo(
            f"The payment gateway cannot be read: {unavailable}. Start it (`tallybook dev`), name it "
            "(TALLYBOOK_GATEWAY_URL), or check the other invariants with --only."
        ) from None
    if as_json:
        print_json([described(result) for result in results])
    else:
        show(results, console)
    if not all(result.holds for result in results):
        raise typer.Exit(1)


async def verified(
    settings: Settings,
    wanted: Sequence[Invariant] = tuple(Invariant),
    grace: timedelta = timedelta(0),
    *,
    on: Console = console,
) -> list[Checked]:
    """Check the wanted invariants of the system that these settings name, with progress bars."""
    from gateway_adapters.registry import gateways_from
    from host.addresses import owner_pool
    from host.configured import bootstrap, owner_dsn
    from processors.invariants.audit import Audited, audit

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(owner_pool(settings, statement_timeout_ms=STATEMENT_TIMEOUT_MS))
        gateways = gateways_from(settings)
        for gateway in gateways.values():
            stack.push_async_callback(gateway.close)
        bar = stack.enter_context(Progress(*columns, console=on, transient=True))

        def watch(invariant: Invariant) -> Told:
            task = bar.add_task(f"{invariant} {invariant.claim}", total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        parts = Audited(
            pool=pool,
            settings=settings,
            gateways=gateways,
            bootstrap=bootstrap(settings),
            owner_dsn=owner_dsn(settings),
        )
        return [checked async for checked in audit(parts, only=wanted, grace=grace, watch=watch)]


def described(result: Checked) -> dict[str, object]:
    """A check's result as JSON-able values."""
    return {
        "invariant": result.invariant.value,
        "claim": result.invariant.claim,
        "counts": dict(result.counts),
        "differences": result.differences,
        "named": [{"kind": each.kind, "subject": each.subject, "detail": each.detail} for each in result.named],
    }


def show(results: Sequence[Checked], on: Console) -> None:
    """A table of what was counted, and below it every difference by name."""
    table = Table("", "invariant", "counted", "differences")
    for result in results:
        counted = "\n".join(f"{count:,} {what}" for what, count in result.counts.items())
        verdict = "[green]0[/green]" if result.holds else f"[red]{result.differences:,}[/red]"
        table.add_row(result.invariant.value, result.invariant.claim, counted, verdict)
        table.add_section()
    print_table(on, table)
    for result in results:
        for difference in result.named:
            on.print(f"[red]{result.invariant.value}[/red] {difference}", highlight=False, soft_wrap=True)
        if result.differences > len(result.named):
            on.print(f"[red]{result.invariant.value}[/red] and {result.differences - len(result.named):,} more")
