"""A report's rows as CSV (RFC 4180): UTF-8, one header, lines that end with CRLF, quotes only where they are needed.

What is null is an empty cell, a text without characters is `""`. A spreadsheet takes a text that begins with = for a
formula and runs it, whoever wrote it: such texts get an apostrophe before them, and so do those that begin with one, so
that whoever takes one apostrophe off each text that begins with it has what was written (docs/guides/exports.md).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from projections.reports.report import Column, Kind

FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a text begins with that some spreadsheet takes for a formula, after OWASP's list of CSV injection."""

_ESCAPED: Final = ("'", *FORMULA_SIGNS)
_LINE_END: Final = "\r\n"
_QUOTED: Final = frozenset('",\r\n')


def header(columns: Sequence[Column]) -> bytes:
    """The first line: the columns' names."""
    return (",".join(column.name for column in columns) + _LINE_END).encode()


class CsvWriter:
    """Writes rows of these columns; `is_spreadsheet_safe`: no text of theirs is taken for a formula."""

    def __init__(self, columns: Sequence[Column], *, is_spreadsheet_safe: bool) -> None:
        self._cells = [cell_of(column.kind, is_spreadsheet_safe=is_spreadsheet_safe) for column in columns]

    def write(self, rows: Iterable[Sequence[Any]]) -> bytes:
        """Rows as bytes, each with the end of its line."""
        cells = self._cells
        lines = [
            ",".join(["" if value is None else cell(value) for cell, value in zip(cells, row, strict=True)]) + _LINE_END
            for row in rows
        ]
        return "".join(lines).encode()


def cell_of(kind: Kind, *, is_spreadsheet_safe: bool) -> Callable[[Any], str]:
    """How a value of this kind, which is not null, is written."""
    match kind:
        case Kind.TEXT:
            return _safe_text if is_spreadsheet_safe else _text
        case Kind.JSON:
            return _text
        case Kind.DECIMAL:
            return plain
        case Kind.INSTANT:
            return instant
        case Kind.DAY:
            return date.isoformat
        case Kind.FLAG:
            return lambda value: "true" if value else "false"
        case Kind.INTEGER:
            return str


def plain(value: Decimal) -> str:
    """A decimal number without an exponent; it is a number, so a minus at its beginning is no formula."""
    return format(value, "f")


def instant(value: datetime) -> str:
    """RFC 3339, in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def escaped(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + value if value.startswith(_ESCAPED) else value


def _text(value: str) -> str:
    if not value:
        return '""'
    return '"' + value.replace('"', '""') + '"' if not _QUOTED.isdisjoint(value) else value


def _safe_text(value: str) -> str:
    return _text(escaped(value))
