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
    as_json: AsJson = False,
) -> None:
    """Count the topic of usage once more and compare, while everything goes on; exit code 1 if anything differs.

    Each partition is counted up to where the aggregator had come when it began.
    [dim]Example:[/dim] [cyan]tallybook usage recount[/cyan]
    """
    from host.addresses import reached_settings

    settings = reached_settings()
    if partition is not None and partition >= settings.usage.partitions:
        raise typer.BadParameter(f"There are the partitions 0 to {settings.usage.partitions - 1}.")
    found = asyncio.run(_recount(settings, range(settings.usage.partitions) if partition is None else [partition]))
    differences = [(each.partition, one) for each in found for one in each.differences]
    if as_json:
        print_json([_told(each) for each in found])
    else:
        columns = {"partition": "partition", "upto": "up to", "events": "events", "rows": "rows", "differ": "differ"}
        print_rows(console, columns, [{**_told(each), "differ": len(each.differences)} for each in found])
        for number, one in differences[:DIFFERENCES_SHOWN]:
            console.print(f"{number}: {one.what} {one.key}: kept {one.kept}, counted {one.counted}", soft_wrap=True)
    if differences:
        raise typer.Exit(1)


async def _recount(settings: Settings, partitions: "range | list[int]") -> "list[Recounted]":
    import asyncpg

    from host.configured import bootstrap, writer_dsn
    from infra.database import Connection, Role
    from usage.recount import recount as recount_partition

    connection: Connection = await asyncpg.connect(
        writer_dsn(settings),
        timeout=settings.database.connect_timeout_s,
        server_settings={"role": Role.WRITER.value, "application_name": "tallybook-recount"},
    )
    try:
        found = [
            await recount_partition(settings, connection, bootstrap=bootstrap(settings), partition=partition)
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
