"""Queries of one tenant: a connection that sees nobody else's rows, single rows, and pages of lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from projections.read_model import ReadModel, Record

PAGE_DEFAULT_ITEMS: Final = 20

Row = TypeVar("Row")


class Reader(Protocol):
    """A connection that queries run on; `reading` gives one."""

    async def fetch(self, query: str, *args: object) -> list[Record]: ...
    async def fetchrow(self, query: str, *args: object) -> Record | None: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...


class UnknownCursor(LookupError):
    """`starting_after` or `ending_before` names nothing that this list could hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which part of a list: up to `limit` items after, or before, the item with an id (newest first)."""

    limit: int = PAGE_DEFAULT_ITEMS
    starting_after: str | None = None
    ending_before: str | None = None


FIRST_PAGE: Final = PageRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A range of creation times; None leaves an end open."""

    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None


ANY_TIME: Final = Between()


class Condition(NamedTuple):
    """What rows of a list must be: a condition of ours over columns and $1 (the tenant); `{}` stands for the value."""

    text: str
    value: object


def conditions_of(column: str, between: Between) -> list[Condition]:
    """The ends that a range has."""
    ends = (">=", between.gte), (">", between.gt), ("<=", between.lte), ("<", between.lt)
    return [Condition(f"{column} {operator} {{}}", at) for operator, at in ends if at is not None]


class Page(NamedTuple, Generic[Row]):
    """Items, newest first, and whether there are more in the direction that was asked for."""

    items: list[Row]
    has_more: bool


@cache
def _select(model: ReadModel[Row]) -> str:
    return f"SELECT {', '.join(column.name for column in model.columns)} FROM read.{model.name}"  # noqa: S608  our names


async def one(connection: Reader, model: ReadModel[Row], tenant_id: str, row_id: str) -> Row | None:
    """The row with this id; None if the tenant has none."""
    sql = f"{_select(model)} WHERE tenant_id = $1 AND {model.key[-1]} = $2"
    record = await connection.fetchrow(sql, tenant_id, row_id)
    return None if record is None else model.read(record)


async def many(connection: Reader, model: ReadModel[Row], tenant_id: str, row_ids: Sequence[str]) -> list[Row]:
    """The rows with these ids, in no order; those that the tenant has not are left out."""
    sql = f"{_select(model)} WHERE tenant_id = $1 AND {model.key[-1]} = ANY($2::text[])"
    return [model.read(record) for record in await connection.fetch(sql, tenant_id, list(row_ids))]


async def page(
    connection: Reader,
    model: ReadModel[Row],
    tenant_id: str,
    *,
    where: Mapping[str, object],
    created: Between,
    request: PageRequest,
    also: Sequence[Condition] = (),
    unless: str | None = None,
) -> Page[Row]:
    """A page in the order (creation, id), newest first. Columns of `where` that are None do not filter; those that are
    several values take any of them, each by its own walk of an index that begins with the column.

    `unless` is a condition, over columns and $1 (the tenant), of what is left out; not true of what it does not know.

    Raises UnknownCursor.
    """
    row_id, sort = model.key[-1], model.sorted_by
    conditions = ["tenant_id = $1"] + ([f"({unless}) IS NOT TRUE"] if unless else [])
    values: list[object] = [tenant_id]
    walks: list[str] = []

    def meet(condition: Condition) -> None:
        values.append(condition.value)
        conditions.append(condition.text.format(f"${len(values)}"))

    for column, value in where.items():
        if isinstance(value, tuple):
            values.append(list(value))
            walks.append(f"unnest(${len(values)}::text[]) AS any_{column}")
            conditions.append(f"{column} = any_{column}")
        elif value is not None:
            meet(Condition(f"{column} = {{}}", value))
    for condition in (*conditions_of(sort, created), *also):
        meet(condition)
    backwards = request.ending_before is not None
    cursor = request.ending_before or request.starting_after
    if cursor is not None:
        at = await connection.fetchval(
            f"SELECT {sort} FROM read.{model.name} WHERE tenant_id = $1 AND {row_id} = $2",  # noqa: S608  our names
            tenant_id,
            cursor,
        )
        if at is None:
            raise UnknownCursor(cursor)
        values += [at, cursor]
        conditions.append(f"({sort}, {row_id}) {'>' if backwards else '<'} (${len(values) - 1}, ${len(values)})")
    order = "ASC" if backwards else "DESC"
    values.append(request.limit + 1)
    in_order = f"ORDER BY {sort} {order}, {row_id} {order} LIMIT ${len(values)}"
    sql = f"{_select(model)} WHERE {' AND '.join(conditions)} {in_order}"
    if walks:
        sql = f"SELECT each.* FROM {' CROSS JOIN '.join(walks)} CROSS JOIN LATERAL ({sql}) AS each {in_order}"  # noqa: S608
    records = await connection.fetch(sql, *values)
    items = [model.read(record) for record in records[: request.limit]]
    if backwards:
        items.reverse()
    return Page(items, len(records) > request.limit)
