"""What commands say: tables for people, or one JSON document on standard output for programs.

With `--json` standard output holds the document alone, also where a command fails; everything else goes to standard
error. Times are RFC 3339 in UTC, as everywhere. In a table no id, name
or address is ever cut or broken: where the terminal is too narrow, the table is as wide as it must be, and into a file
or a pipe every row is one line.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST: Final = 10_000
"""Columns of the widest table; what has no room even there is broken, not cut."""

JSON_OPTION: Final = "--json"
AsJson: TypeAlias = Annotated[bool, typer.Option(JSON_OPTION, help="Answer as JSON, for programs.")]
FailureKind: TypeAlias = Literal["not_understood", "refused", "failed"]
"""The command line was wrong; all was understood and the answer is no; something around the command does not work."""


class AnswerIsNo(Exception):
    """What was asked was understood and cannot be: the letter does not wait, the tenant exists. Exit code 1."""


class _Answer:
    """Whether the document is out: what fails later, such as a server under `dev`, does not add a second one."""

    is_out: ClassVar[bool] = False


def console_for(*, as_json: bool) -> Console:
    """Where words and tables go: standard output, unless that belongs to a JSON document."""
    return Console(stderr=as_json)


def print_json(value: object) -> None:
    """The document, on standard output. What JSON has no form for, such as a time, is shown as text."""
    _Answer.is_out = True
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=shown))


def print_failure(kind: FailureKind, message: str) -> None:
    """The document of a command that failed, unless its answer is out already."""
    if not _Answer.is_out:
        print_json({"error": {"kind": kind, "message": message}})


def shown(value: object) -> str:
    """A value as text: a time as RFC 3339 in UTC, None as nothing."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return "" if value is None else str(value)


def print_rows(
    on: Console, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], *, title: str | None = None
) -> None:
    """A table of rows. `columns` are headings by the name of what they show; None is shown as nothing."""
    table = Table(*columns.values(), title=title)
    for row in rows:
        table.add_row(*(shown(row[name]) for name in columns))
    print_table(on, table)


def print_table(on: Console, table: Table) -> None:
    """A table with nothing cut off and no word broken."""
    roomy = on.options.update(max_width=WIDEST)
    for column in table.columns:
        column.overflow = "fold"
        column.no_wrap = not any(" " in str(cell) for cell in column.cells)
    needed = Measurement.get(on, roomy, table)
    table.width = needed.maximum if not on.is_terminal else min(needed.maximum, max(on.width, needed.minimum))
    on.print(table, crop=False, no_wrap=True, overflow="ignore")
