"""A report's rows as Parquet, for which pyarrow is wanted: the extra `parquet`.

Columns are what they are in CSV: whole numbers are int64, decimal numbers are text (each currency has its own
decimals), instants are microseconds in UTC, JSON is text. Nothing is escaped: a type says what a cell is.
"""

from collections.abc import Sequence
from typing import Any, Final

from projections.reports.csv_rows import plain
from projections.reports.report import Column, Kind

COMPRESSION: Final = "zstd"


class ParquetMissing(Exception):
    """pyarrow is not installed."""


class _Sink:
    """A file that is taken away as it is written."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._length = 0

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        self._length += len(data)
        return len(data)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """There is nothing to close: the parts have been taken."""

    def taken(self) -> bytes:
        """What was written since this was asked last."""
        taken = b"".join(self._written)
        self._written.clear()
        return taken


class ParquetWriter:
    """Writes rows of these columns, a row group each time; loading pyarrow takes a while. Raises ParquetMissing."""

    def __init__(self, columns: Sequence[Column]) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise ParquetMissing from error
        types = {
            Kind.TEXT: pa.string(),
            Kind.JSON: pa.string(),
            Kind.DECIMAL: pa.string(),
            Kind.INTEGER: pa.int64(),
            Kind.INSTANT: pa.timestamp("us", tz="UTC"),
            Kind.DAY: pa.date32(),
            Kind.FLAG: pa.bool_(),
        }
        self._arrow = pa
        self._decimals = [column.kind is Kind.DECIMAL for column in columns]
        self._schema = pa.schema([pa.field(c.name, types[c.kind], metadata={"description": c.about}) for c in columns])
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression=COMPRESSION)

    def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Rows as one row group."""
        if rows:
            arrays = [
                self._arrow.array([_plain(value) for value in values] if is_decimal else values, type=field.type)
                for values, is_decimal, field in zip(zip(*rows, strict=True), self._decimals, self._schema, strict=True)
            ]
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        return self._sink.taken()

    def finish(self) -> bytes:
        """The end of the file, without which it cannot be read."""
        self._writer.close()
        return self._sink.taken()


def _plain(value: Any) -> str | None:
    return None if value is None else plain(value)
