"""An export as an answer: rows of one snapshot, made as the client takes them, a bounded number at a time."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

import structlog

from api.http.call import Call
from api.http.problems import PARQUET_NOT_INSTALLED, Problem
from api.http.replies import Header, Reply
from infra.database import Connection
from projections.read_model import Record
from projections.reports.csv_rows import CsvWriter, header
from projections.reports.parquet_rows import ParquetMissing, ParquetWriter
from projections.reports.reading import Wanted
from projections.reports.report import Column

CSV_ROWS_AT_ONCE: Final = 250
"""So few that other requests are not kept waiting while they are written."""
PARQUET_ROWS_AT_ONCE: Final = 5_000
"""Rows of a row group: it is compressed as a whole."""

CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"

_log: Final = structlog.stdlib.get_logger("exports")

Shows = Callable[[Connection, Sequence[Record]], Awaitable[Sequence[Sequence[Any]]]]
"""Rows as they are shown, of rows as they were read."""


class ExportFormat(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    PARQUET = "parquet"


class _Encoder(Protocol):
    rows_at_once: int

    async def write(self, rows: Sequence[Sequence[Any]]) -> bytes: ...
    async def finish(self) -> bytes: ...


class _Csv:
    rows_at_once = CSV_ROWS_AT_ONCE

    def __init__(self, columns: Sequence[Column], *, is_spreadsheet_safe: bool) -> None:
        self._writer = CsvWriter(columns, is_spreadsheet_safe=is_spreadsheet_safe)
        self._header = header(columns)

    async def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        written, self._header = self._header + self._writer.write(rows), b""
        return written

    async def finish(self) -> bytes:
        return self._header


class _Parquet:
    """In a thread: loading pyarrow takes a second, and a row group some hundredths of one."""

    rows_at_once = PARQUET_ROWS_AT_ONCE

    def __init__(self, writer: ParquetWriter) -> None:
        self._writer = writer

    async def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        return await asyncio.to_thread(self._writer.write, rows)

    async def finish(self) -> bytes:
        return await asyncio.to_thread(self._writer.finish)


class Export(NamedTuple):
    """What is to be exported, and how. `columns` are those of the rows that `shows` makes."""

    wanted: Wanted
    columns: tuple[Column, ...]
    shows: Shows | None
    format: ExportFormat
    is_spreadsheet_safe: bool


async def export_reply(call: Call, export: Export) -> Reply:
    """The answer, begun. Its rows' number is in its head, so that whoever takes it can tell that they have all.

    Raises Problem: too many at once, or no pyarrow.
    """
    encoder = await _encoder(export)
    stack = AsyncExitStack()
    try:
        connection = await stack.enter_async_context(call.parts.exports.snapshot(call.principal))
        rows = await export.wanted.count(connection)
        parts = _parts(stack, connection, export, encoder)
        beginning = await anext(parts)
    except BaseException:
        await stack.aclose()
        raise
    return Reply(200, _headers(export, rows), beginning, parts)


async def _encoder(export: Export) -> _Encoder:
    if export.format is ExportFormat.CSV:
        return _Csv(export.columns, is_spreadsheet_safe=export.is_spreadsheet_safe)
    try:
        return _Parquet(await asyncio.to_thread(ParquetWriter, export.columns))
    except ParquetMissing:
        raise Problem(PARQUET_NOT_INSTALLED, param="format") from None


def _headers(export: Export, rows: int) -> list[Header]:
    media_type = f"{CSV}; charset=utf-8; header=present" if export.format is ExportFormat.CSV else PARQUET
    name = f"{export.wanted.report.name}.{export.format}"
    return [
        (b"content-type", media_type.encode()),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"export-rows", str(rows).encode()),
    ]


async def _parts(
    stack: AsyncExitStack, connection: Connection, export: Export, encoder: _Encoder
) -> AsyncGenerator[bytes, None]:
    """The parts of the file; the first holds what is there of the first rows. What it holds goes as it is closed."""
    async with stack:
        try:
            async for batch in export.wanted.batches(connection, encoder.rows_at_once):
                shown = [tuple(row) for row in batch] if export.shows is None else await export.shows(connection, batch)
                written = await encoder.write(shown)
                if written:
                    yield written
            yield await encoder.finish()
        except Exception as error:
            # The head is out: all that can be said is said by breaking off.
            _log.warning("export_broken_off", report=export.wanted.report.name, why=repr(error))
            raise
