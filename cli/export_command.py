"""`tallybook export`: a whole table as a file, through the API."""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.api_client import ApiClient, ApiError, BrokenOff
from cli.key_file import key_in
from cli.output import AnswerIsNo, AsJson, console_for, print_failure, print_json
from cli.reached_api import address_of_api
from host.until_stopped import run_until_stopped
from projections.reports.catalogue import REPORTS

STOPPED: Final = 130
"""Exit code of what Ctrl-C ended, as shells have it."""
STOPPED_WORDS: Final = "Stopped; nothing was written."
UNFINISHED: Final = ".part"
FORMATS: Final = ("csv", "parquet")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
RESOURCES: Final = tuple(report.name.replace("_", "-") for report in REPORTS)


@dataclass(slots=True)
class Written:
    """What came: bytes and their digest, and of CSV the rows, the header not among them."""

    rows: int | None = None
    length: int = 0
    sha256: str = ""


class RowCounter:
    """Counts the lines of CSV that end outside of quotes, however they are cut into pieces."""

    def __init__(self) -> None:
        self._ended = 0
        self._is_quoted = False
        self._held = b""

    def add(self, piece: bytes) -> None:
        """One more piece."""
        piece = self._held + piece
        # The two characters of a line's end may come in two pieces.
        self._held = b"\r" if piece.endswith(b"\r") else b""
        lines = piece.removesuffix(b"\r").split(b"\r\n")
        for nth, line in enumerate(lines):
            self._is_quoted ^= line.count(b'"') % 2 == 1
            if nth < len(lines) - 1 and not self._is_quoted:
                self._ended += 1

    @property
    def rows(self) -> int:
        """Lines that have ended, without the header."""
        return max(0, self._ended - 1)


def export(
    resource: Annotated[str, typer.Argument(help=f"What to export: {', '.join(RESOURCES)}.")],
    *,
    key_file: Annotated[Path, typer.Option(help="A file that holds an API key of the scope `read`.")],
    file_format: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="The file; without it RESOURCE.csv or .parquet here.")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only what was created from then on: 2026-01-01, in UTC, or 2026-01-01T00:00:00Z."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what was created before then.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Escape no formulas: for programs, not spreadsheets.")] = False,
    url: Annotated[str | None, typer.Option(help="Where the API is; else where it runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a whole table into a file, as CSV or Parquet: everything as of one moment.

    The file appears once it is whole; what is broken off, by Ctrl-C or by the network, leaves nothing.
    [dim]Example:[/dim] [cyan]tallybook export invoices --key-file acme.key --since 2026-01-01[/cyan], or
    [cyan]tallybook export invoice-lines --format parquet --out lines.parquet --key-file acme.key[/cyan]
    """
    if file_format not in FORMATS:
        raise typer.BadParameter(f"{file_format} is none of {', '.join(FORMATS)}.", param_hint="--format")
    name = resource.replace("_", "-")
    if name not in RESOURCES:
        raise typer.BadParameter(f"{resource} is none of {', '.join(RESOURCES)}.", param_hint="RESOURCE")
    address, certificate_file = address_of_api(url)
    target = out or Path(f"{resource}.{file_format}")
    parameters = {"format": file_format, **({"formulas": "plain"} if plain else {})}
    prefix = "effective_at" if name.startswith("ledger-") else "created"
    parameters |= {f"{prefix}[gte]": _instant(since, "--since")} if since else {}
    parameters |= {f"{prefix}[lt]": _instant(until, "--until")} if until else {}
    client = ApiClient(address, key_in(key_file), certificate_file=certificate_file)
    written = Written()
    try:
        is_whole = run_until_stopped(_write(client, f"/v1/exports/{name}", parameters, target, written))
    except ApiError as error:
        raise AnswerIsNo(f"The API says no: {error}. Nothing was written.") from None
    except BrokenOff as error:
        raise AnswerIsNo(f"The export was broken off: {error}. Nothing was written; run it again.") from None
    if not is_whole:
        if as_json:
            print_failure("refused", STOPPED_WORDS)
        console_for(as_json=True).print(STOPPED_WORDS)
        raise typer.Exit(STOPPED)
    if as_json:
        print_json(
            {
                "resource": resource,
                "format": file_format,
                "file": str(target),
                "rows": written.rows,
                "bytes": written.length,
                "sha256": written.sha256,
            }
        )
    else:
        console_for(as_json=False).print(f"{target}: {written.rows} rows, {written.length} bytes.", soft_wrap=True)


def _instant(given: str, option: str) -> str:
    """A time as the API takes it; a day begins at midnight in UTC."""
    try:
        if _DAY.fullmatch(given):
            return f"{date.fromisoformat(given)}T00:00:00Z"
        if datetime.fromisoformat(given).tzinfo is not None:
            return given
    except ValueError:
        pass
    raise typer.BadParameter(
        f"{given} is neither a day, such as 2026-01-31, nor a time with its offset, such as 2026-01-31T00:00:00Z.",
        param_hint=option,
    )


@contextlib.contextmanager
def _bar(rows: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; what it gives is told how many rows have come, or bytes where rows cannot be seen."""
    counted = DownloadColumn() if rows is None else MofNCompleteColumn()
    columns = (TextColumn("Exporting"), BarColumn(), counted, TextColumn("" if rows is None else "rows"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=rows)
        yield lambda count: bar.update(task, completed=count)


async def _write(client: ApiClient, path: str, parameters: dict[str, str], target: Path, written: Written) -> None:
    """Take the answer into a file beside the target, which it becomes once it is whole; tell in `written` what came."""
    beside = target.with_name(target.name + UNFINISHED)
    is_csv = parameters["format"] == "csv"
    counter, digest = RowCounter(), hashlib.sha256()
    try:
        async with client, client.download(path, parameters) as answer:
            expected = int(answer.headers["Export-Rows"])
            with beside.open("wb") as file, _bar(expected if is_csv else None) as tell:
                length = 0
                async for piece in answer.pieces():
                    file.write(piece)
                    digest.update(piece)
                    length += len(piece)
                    if is_csv:
                        counter.add(piece)
                    tell(counter.rows if is_csv else length)
                file.flush()
                os.fsync(file.fileno())
        if is_csv and counter.rows != expected:
            raise BrokenOff(f"{counter.rows} of {expected} rows came")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    written.rows, written.length, written.sha256 = expected, length, digest.hexdigest()
