"""What commands say: tables for people, or one JSON document on standard output for programs.

With `--json` standard output holds the document alone; everything else goes to standard error. In a table no id, name
or address is ever cut or broken: where the terminal is too narrow, the table is as wide as it must be, and into a file
or a pipe every row is one line.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST: Final = 10_000
"""Columns of the widest table; what has no room even there is broken, not cut."""

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer as JSON, for programs.")]


def console_for(*, as_json: bool) -> Console:
    """Where words and tables go: standard output, unless that belongs to a JSON document."""
    return Console(stderr=as_json)


def print_json(value: object) -> None:
    """The document, on standard output. What JSON has no form for, such as a time, is shown as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_rows(
    on: Console, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], *, title: str | None = None
) -> None:
    """A table of rows. `columns` are headings by the name of what they show; None is shown as nothing."""
    table = Table(*columns.values(), title=title)
    for row in rows:
        table.add_row(*("" if row[name] is None else str(row[name]) for name in columns))
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
