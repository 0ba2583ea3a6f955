"""`tallybook usage recount`: the topic counted once more, against what is kept."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from cli.output import AsJson, print_json, print_rows
from infra.settings import Settings

if TYPE_CHECKING:
    from usage.recount import Recounted

DIFFERENCES_SHOWN: Final = 20
console = Console()


def recount(
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="Only this one; else all.")] = None,
    *,
    mend: Annotated[bool, typer.Option("--mend", help="Keep what is counted where something else is kept.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count the topic of usage once more and compare everything that aggregators write; exit code 1 if it differs.

    Each partition is counted up to where its aggregator had come when it began, while everything goes on. With --mend
    what differs is written as it is counted, while that partition waits; but what was billed stays, and is told.
    [dim]Example:[/dim] [cyan]tallybook usage recount[/cyan]
    """
    from host.addresses import reached_settings

    settings = reached_settings()
    if partition is not None and partition >= settings.usage.partitions:
        raise typer.BadParameter(f"There are the partitions 0 to {settings.usage.partitions - 1}.")
    partitions = range(settings.usage.partitions) if partition is None else [partition]
    found = asyncio.run(_recount(settings, partitions, mends=mend))
    differences = [(each.partition, one) for each in found for one in each.differences]
    if as_json:
        print_json([_told(each) for each in found])
    else:
        columns = {"partition": "partition", "upto": "up to", "events": "events", "rows": "rows", "differ": "differ"}
        print_rows(console, columns, [{**_told(each), "differ": len(each.differences)} for each in found])
        for number, one in differences[:DIFFERENCES_SHOWN]:
            became = "; mended" if one.mended else f"; closing {one.billed_by} has billed it" if one.billed_by else ""
            told = f"{number}: {one.what} {one.key}: kept {one.kept}, counted {one.counted}{became}"
            console.print(told, soft_wrap=True, markup=False)
    if any(not one.mended for _, one in differences):
        raise typer.Exit(1)


async def _recount(settings: Settings, partitions: "range | list[int]", *, mends: bool) -> "list[Recounted]":
    import asyncpg

    from host.configured import bootstrap, owner_dsn, writer_dsn
    from infra.database import Connection, Role
    from usage.recount import recount as recount_partition

    role = {} if mends else {"role": Role.METERING.value}
    connection: Connection = await asyncpg.connect(
        owner_dsn(settings) if mends else writer_dsn(settings),
        timeout=settings.database.connect_timeout_s,
        server_settings={**role, "application_name": "tallybook-recount"},
    )
    try:
        found = [
            await recount_partition(
                settings, connection, bootstrap=bootstrap(settings), partition=partition, mends=mends
            )
            for partition in partitions
        ]
    finally:
        await connection.close()
    return [each for each in found if each is not None]


def _told(each: "Recounted") -> dict[str, Any]:
    return {
        "partition": each.partition,
        "upto": each.upto,
        "events": each.events,
        "rows": each.rows,
        "differences": [one._asdict() for one in each.differences],
    }
