"""`tallybook search`: the index by which people and texts are found."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.output import AsJson, console_for, print_json
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.database import Role, open_pool
from infra.search_index import Remade, remake_people, remake_texts
from infra.settings import Settings, vault_master_key
from infra.vault import Vault

SHOWN_MAX = 20
"""Of people whose data do not open, on a screen."""

app = typer.Typer(help="What people and texts are found by.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Let the one command have a name."""


@app.command("reindex")
def reindex(
    *,
    people_only: Annotated[
        bool, typer.Option("--people-only", help="Leave the indexes of texts (catalogue, memos) as they are.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the search index anew: who is found by which name and address, from the vault, and the indexes of texts.

    Everything goes on meanwhile. Whoever is right already is only read, so it may be broken off and begun again. Exit
    code 1 if somebody's data do not open with this master key; they stay as they were.
    [dim]Example:[/dim] [cyan]tallybook search reindex[/cyan]
    """
    remade, indexes = asyncio.run(
        _reindex(reached_settings(kafka=False), on=console_for(as_json=as_json), texts=not people_only)
    )
    if as_json:
        print_json(
            {
                "people": remade.people,
                "changed": remade.changed,
                "unreadable": remade.unreadable,
                "text_indexes": indexes,
            }
        )
    else:
        console = console_for(as_json=False)
        console.print(
            f"{remade.people:,} people looked at, {remade.changed:,} written anew; "
            f"indexes of texts made anew: {len(indexes)}.",
            highlight=False,
        )
        if remade.unreadable:
            some = ", ".join(remade.unreadable[:SHOWN_MAX])
            console.print(f"[red]{len(remade.unreadable)} do not open with this master key[/red]: {some}")
    if remade.unreadable:
        raise typer.Exit(1)


async def _reindex(settings: Settings, *, on: Console, texts: bool) -> tuple[Remade, list[str]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("people"))
    pool = await open_pool(owner_dsn(settings), Role.OWNER, settings.database)
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=on) as bar:
            task = bar.add_task("Making the index of people anew", total=None)
            remade = await remake_people(
                pool,
                Vault(vault_master_key(settings)),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
            if not texts:
                return remade, []
            bar.update(task, description="Making the indexes of texts anew")
            async with pool.acquire() as connection:
                return remade, await remake_texts(connection)
    finally:
        await pool.close()
