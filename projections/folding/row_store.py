"""Rows between memory and tables: one query loads all that a batch touches, one statement writes them per table."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from infra.database import Connection
from projections.folding.tables import Target
from projections.read_model import Key, ReadModel, Rows


@cache
def _load_sql(target: Target) -> str:
    model = target.model
    types = {column.name: column.type for column in model.columns}
    arrays = ", ".join(f"${place}::{types[name]}[]" for place, name in enumerate(model.key, 1))
    columns = ", ".join(f"t.{column.name}" for column in model.columns)
    matches = " AND ".join(f"t.{name} = k.{name}" for name in model.key)
    return (
        f"SELECT {columns} FROM unnest({arrays}) AS k ({', '.join(model.key)}) "  # noqa: S608  our names
        f"JOIN {target.table} t ON {matches}"
    )


@cache
def _upsert_sql(target: Target) -> str:
    model = target.model
    columns = ", ".join(column.name for column in model.columns)
    arrays = ", ".join(f"${place}::{column.type}[]" for place, column in enumerate(model.columns, 1))
    changes = ", ".join(
        f"{column.name} = t.{column.name} + excluded.{column.name}"
        if column.name in model.sums
        else f"{column.name} = excluded.{column.name}"
        for column in model.columns
        if column.name not in model.key
    )
    return (
        f"INSERT INTO {target.table} AS t ({columns}) SELECT * FROM unnest({arrays}) "  # noqa: S608  our names
        f"ON CONFLICT ({', '.join(model.key)}) DO UPDATE SET {changes}"
    )


async def load(connection: Connection, target: Target, keys: Sequence[Key]) -> list[tuple[Key, Any]]:
    """The rows that exist of these keys."""
    model = target.model
    records = await connection.fetch(_load_sql(target), *(list(each) for each in zip(*keys, strict=True)))
    return [(tuple(record[name] for name in model.key), model.read(record)) for record in records]


async def upsert(connection: Connection, target: Target, rows: Rows[Any]) -> None:
    """Write rows: new ones are inserted, others replaced, sums added to. Nothing happens for no rows."""
    if rows:
        columns = zip(*values(target.model, rows.items()), strict=True)
        await connection.execute(_upsert_sql(target), *(list(column) for column in columns))


def values(model: ReadModel[Any], rows: Iterable[tuple[Key, Any]]) -> Iterable[tuple[object, ...]]:
    """Rows as tuples in the order of the table's columns."""
    write = model.write
    return [write(key, row) for key, row in rows]
