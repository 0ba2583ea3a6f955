"""`tallybook import`: what another system has, line by line, through the API."""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.api_client import ApiError
from cli.import_ending import exit_by, stop_on_interrupt, tidy
from cli.import_files import Errors, Reached, digest, errors_file, reached_before
from cli.import_kinds import ImportKind
from cli.import_progress import import_bar
from cli.import_run import Check, Import, Stuck, check_file
from cli.key_file import key_in
from cli.line_file import Unreadable
from cli.output import AnswerIsNo, AsJson, console_for, print_json
from cli.reached_api import address_of_api, how_on, reached_api

WRONG_LINES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    kind: ImportKind
    file: Path
    url: str
    key: str
    certificate_file: Path | None
    is_dry: bool


def import_file(
    kind: Annotated[ImportKind, typer.Argument(help="What the file's lines are.")],
    file: Annotated[Path, typer.Argument(help="CSV with a header (.csv), or a JSON object a line.")],
    *,
    key_file: Annotated[Path, typer.Option(help="A file that holds an API key of the scope `write`.")],
    url: Annotated[str | None, typer.Option(help="Where the API is; else where it runs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try every line, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring in customers, subscriptions, invoices and payments of another system, from a file.

    Customers come first, then the others in this order. The file is checked whole before anything is sent. Lines that
    the API refuses are told in FILE.errors.ndjson, the others are done. Ctrl-C stops after the lines that are under
    way; the same command goes on from there, and does nothing twice. Nobody is charged for history.
    [dim]Example:[/dim] [cyan]tallybook import customers crm.csv --key-file acme.key --dry-run[/cyan], or
    [cyan]tallybook import invoices open.ndjson --key-file acme.key --url https://billing.example.com[/cyan]
    """
    address, certificate_file = address_of_api(url)
    asked = _Asked(
        kind=kind,
        file=file,
        url=address,
        key=key_in(key_file),
        certificate_file=certificate_file,
        is_dry=dry_run,
    )
    try:
        beginning = Reached(kind=kind, whose=_whose(asked), sha256=digest(file))
        before = beginning if dry_run else reached_before(beginning, file)
        if before.line == 0:
            check = check_file(kind, file, Errors(file), shown_max=WRONG_LINES_SHOWN)
            _must_be_good(asked, check)
            before = replace(before, lines=check.lines)
        reached = asyncio.run(_run(asked, before))
    except Unreadable as unreadable:
        raise AnswerIsNo(f"{unreadable}; nothing was imported.") from None
    except ApiError as error:
        raise AnswerIsNo(f"The API says no: {error}.{how_on(error, is_dry=dry_run)}") from None
    except Stuck as stuck:
        raise AnswerIsNo(f"The API takes no more now: {stuck}{_how_on(asked)}") from None
    _report(asked, reached, before=before.line, as_json=as_json)


def _whose(asked: _Asked) -> str:
    return hashlib.sha256(f"{asked.url} {asked.key}".encode()).hexdigest()[:16]


def _must_be_good(asked: _Asked, check: Check) -> None:
    if not check.wrong:
        return
    told = "\n".join(
        f"line {each.line}: {each.param + ': ' if each.param else ''}{each.message}" for each in check.first_wrong
    )
    raise AnswerIsNo(
        f"{check.wrong} of {check.lines} lines of {asked.file} cannot be imported as they are; nothing was imported. "
        f"{errors_file(asked.file)} tells all of them.\n{told}"
    )


def _how_on(asked: _Asked) -> str:
    return "" if asked.is_dry else " Run the same command again: it goes on from where it is, and does nothing twice."


async def _run(asked: _Asked, before: Reached) -> Reached:
    stop = stop_on_interrupt()
    errors = Errors(asked.file, before.errors_bytes)
    async with reached_api(asked.url, asked.key, certificate_file=asked.certificate_file) as api:
        with import_bar(before.lines, "Trying" if asked.is_dry else "Importing") as tell:
            run = Import(api, asked.kind, asked.file, is_dry=asked.is_dry)
            reached = await run.run(before, errors, tell=tell, stop=stop)
    tidy(asked.file, reached, is_dry=asked.is_dry)
    return reached


def _report(asked: _Asked, reached: Reached, *, before: int, as_json: bool) -> None:
    """How many lines came to what, where it tells of the others, and how it goes on."""
    if as_json:
        print_json(
            {
                "kind": asked.kind,
                "dry_run": asked.is_dry,
                "lines": reached.lines,
                "imported": reached.imported,
                "failed": reached.failed,
                "went_on_after_line": before or None,
                "stopped_after_line": None if reached.is_whole else reached.line,
                "errors_file": str(errors_file(asked.file)) if reached.failed else None,
            }
        )
    else:
        console = console_for(as_json=False)
        would = "would be imported" if asked.is_dry else "imported"
        lines = "1 line" if reached.lines == 1 else f"{reached.lines} lines"
        console.print(f"{lines}: {reached.imported} {would}, {reached.failed} not.", soft_wrap=True)
        if reached.failed:
            console.print(
                f"{errors_file(asked.file)} says why. Mend those lines and run it again: no other is done twice.",
                soft_wrap=True,
            )
        if not reached.is_whole:
            console.print(f"Stopped after line {reached.line}.{_how_on(asked)}", soft_wrap=True)
    exit_by(reached)
