"""What an export writes is what was there: CSV and Parquet of any rows are read back, and counted however they come."""

import csv
import io
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cli.export_command import RowCounter
from projections.reports.csv_rows import FORMULA_SIGNS, CsvWriter, header
from projections.reports.parquet_rows import ParquetMissing, ParquetWriter
from projections.reports.report import Column, Kind

COLUMNS = tuple(Column(kind.value, kind, "", f"Some {kind}.") for kind in Kind)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ["", "'", '"', "=1+1", "\r\n", "-", "＝x", ',"', "'=", "@a\n"]
)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: TEXT,
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    Kind.DECIMAL: st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**15), max_value=10**15),
    Kind.INSTANT: st.datetimes(timezones=st.just(UTC)),
    Kind.DAY: st.dates(),
    Kind.FLAG: st.booleans(),
    Kind.JSON: st.sampled_from(['{"a": "b\\n,"}', "[]", "{}"]),
}
ROWS = st.lists(st.tuples(*(st.none() | VALUES[column.kind] for column in COLUMNS)), max_size=6)
READ: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.DECIMAL: Decimal,
    Kind.INSTANT: datetime.fromisoformat,
    Kind.DAY: date.fromisoformat,
    Kind.FLAG: lambda text: {"true": True, "false": False}[text],
    Kind.JSON: str,
}


def cells(content: bytes) -> list[list[str | None]]:
    """RFC 4180 by hand, as no reader here tells an empty cell from an empty text."""
    text, place = content.decode(), 0
    lines: list[list[str | None]] = []
    line: list[str | None] = []
    while place < len(text):
        if text[place] == '"':
            end = place + 1
            while text[end] != '"' or text[end + 1] == '"':
                end += 2 if text[end] == '"' else 1
            line.append(text[place + 1 : end].replace('""', '"'))
            place = end + 1
        else:
            end = min(found for sign in (",", "\r\n") if (found := text.find(sign, place)) >= 0)
            line.append(text[place:end] or None)
            place = end
        if text[place] == ",":
            place += 1
        else:
            assert text[place : place + 2] == "\r\n"
            lines.append(line)
            line, place = [], place + 2
    assert not line
    return lines


@given(ROWS)
def test_csv_is_read_back_as_it_was(rows: list[tuple[Any, ...]]) -> None:
    content = header(COLUMNS) + CsvWriter(COLUMNS, is_spreadsheet_safe=False).write(rows)
    names, *lines = cells(content)
    assert names == [column.name for column in COLUMNS]
    read = [
        tuple(None if cell is None else READ[column.kind](cell) for column, cell in zip(COLUMNS, line, strict=True))
        for line in lines
    ]
    assert read == rows
    by_another = [[cell or None for cell in line] for line in csv.reader(io.StringIO(content.decode(), newline=""))]
    assert by_another[1:] == [[cell or None for cell in line] for line in lines]


@given(ROWS)
def test_no_text_is_taken_for_a_formula_and_one_apostrophe_taken_off_gives_it_back(rows: list[tuple[Any, ...]]) -> None:
    place = [column.kind for column in COLUMNS].index(Kind.TEXT)
    lines = cells(CsvWriter(COLUMNS, is_spreadsheet_safe=True).write(rows))
    texts = [line[place] for line in lines]
    assert not any(text.startswith(FORMULA_SIGNS) for text in texts if text is not None)
    given_back = [text[1:] if text is not None and text.startswith("'") else text for text in texts]
    assert given_back == [row[place] for row in rows]
    plain = cells(CsvWriter(COLUMNS, is_spreadsheet_safe=False).write(rows))
    others = [place for place, column in enumerate(COLUMNS) if column.kind is not Kind.TEXT]
    assert [[line[each] for each in others] for line in lines] == [[line[each] for each in others] for line in plain]


def test_a_number_below_zero_is_a_number() -> None:
    columns = (Column("amount", Kind.DECIMAL, "", ""), Column("minor", Kind.INTEGER, "", ""))
    written = CsvWriter(columns, is_spreadsheet_safe=True).write([(Decimal("-0.0000001"), -5)])
    assert written == b"-0.0000001,-5\r\n"


@given(ROWS, st.data())
def test_rows_are_counted_however_they_are_cut(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    content = header(COLUMNS) + CsvWriter(COLUMNS, is_spreadsheet_safe=True).write(rows)
    counter = RowCounter()
    place = 0
    while place < len(content):
        upto = data.draw(st.integers(place + 1, min(place + 40, len(content))))
        counter.add(content[place:upto])
        place = upto
    assert counter.rows == len(rows)
    cut = RowCounter()
    cut.add(content[:-1])
    assert cut.rows == max(0, len(rows) - 1)


@given(st.lists(ROWS, max_size=3))
def test_parquet_is_read_back_as_it_was(groups: list[Sequence[tuple[Any, ...]]]) -> None:
    writer = ParquetWriter(COLUMNS)
    content = b"".join([*(writer.write(rows) for rows in groups), writer.finish()])
    table = parquet.read_table(io.BytesIO(content))
    rows = [row for rows in groups for row in rows]
    decimals = [column.name for column in COLUMNS if column.kind is Kind.DECIMAL]
    read = [
        tuple(Decimal(row[name]) if name in decimals and row[name] is not None else row[name] for name in row)
        for row in table.to_pylist()
    ]
    assert read == rows
    assert table.schema.names == [column.name for column in COLUMNS]
    assert table.schema.field("day").metadata == {b"description": b"Some day."}


def test_without_pyarrow_it_is_said_that_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParquetMissing):
        ParquetWriter(COLUMNS)
