"""`tallybook dead-letters`: records that a consumer gave up on, and work that is held: seen, handled, let go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.event_store.due_work import PostgresDueWork
    from infra.kafka.dead_letters import DeadLetter, KeptLetters
    from processors.dead_letters.opening import Handling

app = typer.Typer(help="Records that a consumer gave up on.", no_args_is_help=True)
console = Console()

LIST_LIMIT = 50
EVERY_LETTER = 1_000_000
ERROR_CHARS_SHOWN = 200

LetterId = Annotated[int, typer.Argument(help="The letter's number, as `tallybook dead-letters list` shows it.")]
Consumer = Annotated[str | None, typer.Option("--consumer", help="Only letters of this consumer.")]


class Kept(NamedTuple):
    """What waits for a person: letters, and work that is held."""

    letters: "KeptLetters"
    queue: "PostgresDueWork"


def _settings() -> Settings:
    from host.addresses import reached_settings

    return reached_settings(kafka=False)


@contextlib.asynccontextmanager
async def _kept(settings: Settings) -> "AsyncIterator[Kept]":
    """The letters and the queue. What hands letters to their consumers again is more, and takes longer to load."""
    from host.configured import writer_dsn
    from infra.database import Role, open_pool
    from infra.event_store.due_work import PostgresDueWork
    from infra.kafka.dead_letters import KeptLetters

    pool = await open_pool(writer_dsn(settings), Role.WRITER, settings.database)
    try:
        yield Kept(KeptLetters(pool), PostgresDueWork(pool))
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def _handling(settings: Settings) -> "AsyncIterator[Handling]":
    from host.configured import owner_dsn, writer_dsn
    from processors.dead_letters.opening import open_handling

    async with open_handling(settings, dsn=writer_dsn(settings), owner_dsn=owner_dsn(settings)) as handling:
        yield handling


@app.command("list")
def list_letters(
    *, consumer: Consumer = None, limit: Annotated[int, typer.Option(min=1)] = LIST_LIMIT, as_json: AsJson = False
) -> None:
    """Show the letters that wait, oldest first, and the work that is held.

    [dim]Example:[/dim] [cyan]tallybook dead-letters list --consumer saga-charge[/cyan]
    """

    async def fetch() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with _kept(_settings()) as kept:
            letters = [_letter(each) for each in await kept.letters.waiting(limit=limit, consumer=consumer)]
            held = [
                {
                    "tenant": work.tenant_id,
                    "kind": work.kind,
                    "subject": work.subject,
                    "caused_by": work.caused_by_event_id,
                    "why": work.last_error or "",
                }
                for work in await kept.queue.held(limit=limit)
            ]
            return letters, held

    letters, held = asyncio.run(fetch())
    if as_json:
        print_json({"dead_letters": letters, "held_work": held})
        return
    if letters:
        columns = {name: name for name in ("id", "consumer", "record", "event", "tries", "buried", "error")}
        print_rows(console, columns, [_shortened(letter, "error") for letter in letters], title="Dead letters")
    else:
        console.print("No dead letter waits.")
    if held:
        columns = {"tenant": "tenant", "kind": "kind", "subject": "subject", "caused_by": "caused by", "why": "why"}
        print_rows(console, columns, [_shortened(work, "why") for work in held], title="Held work")


def _letter(letter: "DeadLetter") -> dict[str, Any]:
    headers = dict(letter.headers)
    event = b" ".join(headers.get(name) or b"" for name in ("ce_type", "ce_id")).decode("utf-8", "replace")
    return {
        "id": letter.dead_letter_id,
        "consumer": letter.consumer,
        "record": f"{letter.topic}/{letter.partition}@{letter.offset}",
        "event": event,
        "tries": letter.attempts,
        "buried": letter.buried_at,
        "error": letter.error,
    }


def _shortened(row: dict[str, Any], text: str) -> dict[str, Any]:
    return {**row, text: escape(row[text][:ERROR_CHARS_SHOWN])}


@app.command("replay")
def replay(
    letter_id: Annotated[int | None, typer.Argument(help="The letter's number; all that wait without one.")] = None,
    *,
    consumer: Consumer = None,
    as_json: AsJson = False,
) -> None:
    """Hand letters to their consumer again, once the cause is mended.

    What was done before is not done twice. Exit code 1 if one fails again; it stays, with its new error.
    [dim]Example:[/dim] [cyan]tallybook dead-letters replay 7[/cyan]
    """
    on = console_for(as_json=as_json)
    failures = asyncio.run(replay_letters(_settings(), letter_id=letter_id, consumer=consumer, on=on))
    if failures is None:
        raise _no_letter(letter_id)
    if as_json:
        print_json({"failed_again": failures})
    if failures:
        raise typer.Exit(1)


async def replay_letters(
    settings: Settings, *, letter_id: int | None = None, consumer: str | None = None, on: Console = console
) -> int | None:
    """Replay one letter, or all of a consumer, or all. Returns how many failed again, and says so for each; None if
    the one letter does not wait.
    """
    failures = 0
    async with _handling(settings) as handling:
        found = await handling.letters.waiting(limit=EVERY_LETTER, consumer=consumer)
        chosen = [letter for letter in found if letter_id is None or letter.dead_letter_id == letter_id]
        if not chosen:
            if letter_id is not None:
                return None
            on.print("No dead letter waits.")
        for letter in chosen:
            try:
                await handling.replay.replay(letter)
            except Exception as error:
                failures += 1
                on.print(f"[red]{letter.dead_letter_id} failed again:[/red] {escape(str(error))}", soft_wrap=True)
            else:
                on.print(f"{letter.dead_letter_id} is handled ({letter.consumer}).")
    return failures


@app.command("dismiss")
def dismiss(letter_id: LetterId, *, as_json: AsJson = False) -> None:
    """Let a letter go that can never be handled, such as a record that is none of ours. It stays in the table.

    [dim]Example:[/dim] [cyan]tallybook dead-letters dismiss 7[/cyan]
    """

    async def mark() -> bool:
        async with _kept(_settings()) as kept:
            waiting = await kept.letters.waiting(limit=EVERY_LETTER)
            known = any(letter.dead_letter_id == letter_id for letter in waiting)
            if known:
                await kept.letters.mark_replayed(letter_id)
            return known

    if not asyncio.run(mark()):
        raise _no_letter(letter_id)
    if as_json:
        print_json({"dismissed": letter_id})
    else:
        console.print(f"{letter_id} is dismissed.")


def _no_letter(letter_id: int | None) -> AnswerIsNo:
    return AnswerIsNo(f"No dead letter {letter_id} waits; `tallybook dead-letters list` shows those that do.")


@app.command("release")
def release(
    subject: Annotated[
        str | None, typer.Argument(help="Whose work, as `list` shows it; all that is held without.")
    ] = None,
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's work.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let held work run again, once what it was held for is mended. What was done before is not done twice.

    [dim]Example:[/dim] [cyan]tallybook dead-letters release pay_01m7ywe9z7e398x54gfbrtqnk7[/cyan]
    """
    on = console_for(as_json=as_json)
    released = asyncio.run(release_held(_settings(), subject=subject, tenant_id=tenant, on=on))
    if released == 0 and subject is not None:
        raise AnswerIsNo(f"No work of {subject} is held; `tallybook dead-letters list` shows what is.")
    if as_json:
        print_json({"released": released})
        return
    console.print(f"{released} released." if released else "No work is held.")


async def release_held(
    settings: Settings, *, subject: str | None = None, tenant_id: str | None = None, on: Console = console
) -> int:
    """Release what is held of a subject, of a tenant, or all of it. Returns how many pieces of work that were."""
    released = 0
    async with _kept(settings) as kept:
        for work in await kept.queue.held(limit=EVERY_LETTER):
            if subject in (None, work.subject) and tenant_id in (None, work.tenant_id):
                released += await kept.queue.release_held(work.tenant_id, work.kind, work.subject)
                on.print(f"{work.kind} {work.subject} runs again.", soft_wrap=True)
    return released


@app.command("end-refund")
def end_refund(
    subject: Annotated[str, typer.Argument(help="The held refund, as `list` shows it: pay_…/re_….")],
    *,
    evidence: Annotated[
        str,
        typer.Option(
            "--evidence",
            help="What you know it from: up to 500 characters, for the log; no persons, no cards.",
        ),
    ],
    by: Annotated[str, typer.Option("--by", help="Who says so (up to 64 characters); it stays in the log.")],
    returned_as: Annotated[
        str | None, typer.Option("--returned-as", help="The gateway's own id of the refund that returned the money.")
    ] = None,
    not_returned: Annotated[
        bool, typer.Option("--not-returned", help="The gateway returned nothing, and never will under this reference.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End a refund that is held because its gateway does not know what became of it.

    The books follow at once; one that was not returned may be asked for again, and of a capture that nobody needed is.
    [dim]Example:[/dim] [cyan]tallybook dead-letters end-refund pay_…/re_… --not-returned --evidence "…" --by ada[/cyan]
    """
    if (returned_as is None) != not_returned:
        raise typer.BadParameter("Say either --returned-as and the gateway's id of the refund, or --not-returned.")
    from processors.dead_letters import held_refunds

    try:
        held_refunds.check_said(returned_as=returned_as, evidence=evidence, by=by)
    except held_refunds.NotForTheLog as why:
        raise typer.BadParameter(str(why)) from why

    async def end() -> bool:
        async with _handling(_settings()) as on:
            return await held_refunds.end_refund(
                on.queue, on.writer, subject, returned_as=returned_as, evidence=evidence, by=by
            )

    try:
        ended = asyncio.run(end())
    except held_refunds.NotForTheLog as why:
        raise AnswerIsNo(str(why)) from why
    if not ended:
        named = subject.encode("utf-8", "replace").decode()
        raise AnswerIsNo(f"No refund {named} is held; `tallybook dead-letters list` shows what is.")
    outcome = "failed" if not_returned else "succeeded"
    if as_json:
        print_json({"ended": subject, "refund": outcome})
    else:
        console.print(f"{subject} has {outcome}.", soft_wrap=True)
