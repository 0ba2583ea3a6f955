"""`tallybook projections`: how far the read models are, whether they equal the log, and making them anew."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows

if TYPE_CHECKING:
    from projections.read_model import ReadModel

app = typer.Typer(help="The read models.", no_args_is_help=True)
console = Console()

STATUS = """
SELECT p.name, c.topic, count(c.partition) AS partitions, max(c.position) AS position, p.next_fold IS NOT NULL AS anew,
    count(*) FILTER (WHERE r.position > coalesce(c.position, 0)) AS behind,
    (SELECT count(*) FROM read.held_keys h WHERE h.projection = p.name AND h.fold = p.fold) AS held,
    (SELECT string_agg(m.name, ', ') FROM read.models m WHERE m.projection = p.name AND m.layout = '') AS standing
FROM read.projections p
LEFT JOIN read.checkpoints c ON c.projection = p.name AND c.fold = p.fold
LEFT JOIN relay.published r ON r.topic = c.topic AND r.partition = c.partition
GROUP BY p.name, p.fold, p.next_fold, c.topic ORDER BY p.name
"""


class Bar:
    """A progress bar over events."""

    def __init__(self, what: str, *, on: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("events"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=on, transient=True)
        self._task = self.bar.add_task(what, total=None)

    def show(self, done: int, total: int) -> None:
        """How many events are folded, of how many."""
        self.bar.update(self._task, completed=done, total=total)


def _models(names: Sequence[str], *, everything: bool) -> "Sequence[ReadModel[Any]]":
    from projections.catalogue import BY_NAME, READ_MODELS

    if everything or not names:
        return READ_MODELS
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: the read models are {', '.join(BY_NAME)}.")
    return [BY_NAME[name] for name in names]


def _state(row: Mapping[str, Any]) -> str:
    if row["anew"]:
        return "folded anew"
    return f"fills {row['standing']}" if row["standing"] else "live"


@app.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Show how far each projection is, what waits for a dead letter, and what is folded anew.

    [dim]Example:[/dim] [cyan]tallybook projections status[/cyan]
    """
    from host.addresses import owner_pool, reached_settings

    async def fetch() -> list[dict[str, Any]]:
        async with owner_pool(reached_settings(kafka=False)) as pool:
            return [
                {**dict(row), "position": row["position"] or 0, "state": _state(dict(row))}
                for row in await pool.fetch(STATUS)
            ]

    rows = asyncio.run(fetch())
    if as_json:
        print_json(rows)
        return
    columns = {"name": "projection", "topic": "topic", "partitions": "partitions", "position": "position"}
    print_rows(console, {**columns, "behind": "partitions behind", "held": "held keys", "state": "state"}, rows)


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Read models; none: all.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare read models with a fold of the log, while everything goes on; exit code 1 if any row differs.

    [dim]Example:[/dim] [cyan]tallybook projections check invoices payments[/cyan]
    """
    from host.addresses import reached_settings
    from host.configured import owner_dsn
    from projections.folding.rebuild import differences

    chosen = _models(names or (), everything=False)
    settings = reached_settings()
    bar = Bar("Folding the log", on=console_for(as_json=as_json))
    with bar.bar:
        found = asyncio.run(differences(settings, chosen, owner_dsn=owner_dsn(settings), progress=bar.show))
    if as_json:
        print_json([{"name": name, "differences": number} for name, number in found.items()])
    else:
        rows = [{"name": name, "rows": f"[red]{number}[/red]" if number else "0"} for name, number in found.items()]
        print_rows(console, {"name": "read model", "rows": "rows that differ"}, rows)
    if any(found.values()):
        raise typer.Exit(1)


@app.command("rebuild")
def rebuild_tables(
    names: Annotated[list[str] | None, typer.Argument(help="Read models.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make read models anew from the log, beside the live ones, and swap them in; queries and writes go on.

    [dim]Example:[/dim] [cyan]tallybook projections rebuild --all[/cyan]
    """
    from host.addresses import reached_settings
    from host.configured import owner_dsn
    from projections.folding.rebuild import CannotRebuild, rebuild

    if not names and not everything:
        raise typer.BadParameter("Name read models, or say --all.")
    chosen = _models(names or (), everything=everything)
    settings = reached_settings()
    bar = Bar("Rebuilding", on=console_for(as_json=as_json))
    try:
        with bar.bar:
            made = asyncio.run(rebuild(settings, chosen, owner_dsn=owner_dsn(settings), progress=bar.show))
    except CannotRebuild as error:
        raise AnswerIsNo(f"Not rebuilt: {error}") from None
    if as_json:
        print_json({"facts": made.facts, "tables": list(made.tables)})
        return
    console.print(f"{made.facts:,} facts folded; shown now: {', '.join(made.tables)}", highlight=False)
