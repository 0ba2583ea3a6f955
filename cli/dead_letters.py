"""`tallybook dead-letters`: records that a consumer gave up on: seen, replayed after the fix, or dismissed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.settings import Settings

if TYPE_CHECKING:
    from infra.kafka.dead_letters import DeadLetter
    from processors.dead_letters.desk import Desk

app = typer.Typer(help="Records that a consumer gave up on.", no_args_is_help=True)
console = Console()

LIST_LIMIT = 50
EVERY_LETTER = 1_000_000
ERROR_CHARS_SHOWN = 200

LetterId = Annotated[int, typer.Argument(help="The letter's number, as `tallybook dead-letters list` shows it.")]
Consumer = Annotated[str | None, typer.Option("--consumer", help="Only letters of this consumer.")]


def _settings() -> Settings:
    from host.addresses import reached_settings

    return reached_settings()


@contextlib.asynccontextmanager
async def _desk(settings: Settings) -> "AsyncIterator[Desk]":
    from host.addresses import bootstrap, owner_dsn, writer_dsn
    from processors.dead_letters.desk import open_desk

    async with open_desk(
        settings, dsn=writer_dsn(settings), owner_dsn=owner_dsn(settings), bootstrap=bootstrap(settings)
    ) as desk:
        yield desk


@app.command("list")
def list_letters(*, consumer: Consumer = None, limit: Annotated[int, typer.Option(min=1)] = LIST_LIMIT) -> None:
    """Show the letters that wait, oldest first, and the work that is held.

    [dim]Example:[/dim] [cyan]tallybook dead-letters list --consumer saga-charge[/cyan]
    """

    async def fetch() -> "tuple[list[DeadLetter], Table]":
        async with _desk(_settings()) as desk:
            held = Table("tenant", "kind", "subject", "caused by", "why", title="Held work")
            for work in await desk.queue.held(limit=limit):
                why = (work.last_error or "")[:ERROR_CHARS_SHOWN]
                held.add_row(work.tenant_id, work.kind, work.subject, work.caused_by_event_id, why)
            return await desk.letters.waiting(limit=limit, consumer=consumer), held

    letters, held = asyncio.run(fetch())
    table = Table("id", "consumer", "record", "event", "tries", "buried", "error", title="Dead letters")
    for letter in letters:
        headers = dict(letter.headers)
        event = b" ".join(headers.get(name, b"") for name in ("ce_type", "ce_id")).decode("utf-8", "replace")
        table.add_row(
            str(letter.dead_letter_id),
            letter.consumer,
            f"{letter.topic}/{letter.partition}@{letter.offset}",
            event,
            str(letter.attempts),
            letter.buried_at.isoformat(timespec="seconds"),
            letter.error[:ERROR_CHARS_SHOWN],
        )
    console.print(table if letters else "No dead letter waits.")
    if held.row_count:
        console.print(held)


@app.command("replay")
def replay(
    letter_id: Annotated[int | None, typer.Argument(help="The letter's number; all that wait without one.")] = None,
    *,
    consumer: Consumer = None,
) -> None:
    """Hand letters to their consumer again, once the cause is mended.

    What was done before is not done twice. Exit code 1 if one fails again; it stays, with its new error.
    [dim]Example:[/dim] [cyan]tallybook dead-letters replay 7[/cyan]
    """
    failures = asyncio.run(replay_letters(_settings(), letter_id=letter_id, consumer=consumer))
    if failures is None:
        raise typer.BadParameter(f"No dead letter {letter_id} waits.")
    if failures:
        raise typer.Exit(1)


async def replay_letters(
    settings: Settings, *, letter_id: int | None = None, consumer: str | None = None
) -> int | None:
    """Replay one letter, or all of a consumer, or all. Returns how many failed again, and says so for each; None if
    the one letter does not wait.
    """
    failures = 0
    async with _desk(settings) as desk:
        found = await desk.letters.waiting(limit=EVERY_LETTER, consumer=consumer)
        chosen = [letter for letter in found if letter_id is None or letter.dead_letter_id == letter_id]
        if not chosen:
            if letter_id is not None:
                return None
            console.print("No dead letter waits.")
        for letter in chosen:
            try:
                await desk.replay.replay(letter)
            except Exception as error:
                failures += 1
                console.print(f"[red]{letter.dead_letter_id} failed again:[/red] {error}", soft_wrap=True)
            else:
                console.print(f"{letter.dead_letter_id} is handled ({letter.consumer}).")
    return failures


@app.command("dismiss")
def dismiss(letter_id: LetterId) -> None:
    """Let a letter go that can never be handled, such as a record that is none of ours. It stays in the table.

    [dim]Example:[/dim] [cyan]tallybook dead-letters dismiss 7[/cyan]
    """

    async def mark() -> bool:
        async with _desk(_settings()) as desk:
            waiting = await desk.letters.waiting(limit=EVERY_LETTER)
            known = any(letter.dead_letter_id == letter_id for letter in waiting)
            if known:
                await desk.letters.mark_replayed(letter_id)
            return known

    if not asyncio.run(mark()):
        raise typer.BadParameter(f"No dead letter {letter_id} waits.")
    console.print(f"{letter_id} is dismissed.")


@app.command("release")
def release(
    subject: Annotated[
        str | None, typer.Argument(help="Whose work, as `list` shows it; all that is held without.")
    ] = None,
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's work.")] = None,
) -> None:
    """Let held work run again, once what it was held for is mended. What was done before is not done twice.

    [dim]Example:[/dim] [cyan]tallybook dead-letters release pay_01JQ2ZP1M6F8XH7T1W5A7R9C3D[/cyan]
    """
    released = asyncio.run(release_held(_settings(), subject=subject, tenant_id=tenant))
    if released == 0 and subject is not None:
        raise typer.BadParameter(f"No work of {subject} is held.")
    console.print(f"{released} released." if released else "No work is held.")


async def release_held(settings: Settings, *, subject: str | None = None, tenant_id: str | None = None) -> int:
    """Release what is held of a subject, of a tenant, or all of it. Returns how many pieces of work that were."""
    released = 0
    async with _desk(settings) as desk:
        for work in await desk.queue.held(limit=EVERY_LETTER):
            if subject in (None, work.subject) and tenant_id in (None, work.tenant_id):
                released += await desk.queue.release_held(work.tenant_id, work.kind, work.subject)
                console.print(f"{work.kind} {work.subject} runs again.", soft_wrap=True)
    return released
