"""Pages of the schema `access`: rows that are as new as the log, and whose ids sort by the time they were made."""

from collections.abc import Mapping

from projections.read_model import Record
from projections.reading import Page, PageRequest, Reader, UnknownCursor


async def page_by_id(
    connection: Reader, select: str, table_id: str, where: Mapping[str, object], request: PageRequest
) -> Page[Record]:
    """A page of what `select` finds, newest first. `table_id` is the column of the id; conditions of `where` that are
    None do not filter. All names are our own. Raises UnknownCursor.
    """
    values: list[object] = []
    conditions: list[str] = []

    def condition(text: str, value: object) -> None:
        values.append(value)
        conditions.append(f"{text} ${len(values)}")

    for column, value in where.items():
        if value is not None:
            condition(column if " " in column else f"{column} =", value)
    backwards = request.ending_before is not None
    cursor = request.ending_before or request.starting_after
    if cursor is not None:
        there = f"{select} WHERE {' AND '.join([*conditions, f'{table_id} = ${len(values) + 1}'])} LIMIT 1"
        if not await connection.fetch(there, *values, cursor):
            raise UnknownCursor(cursor)
        condition(f"{table_id} {'>' if backwards else '<'}", cursor)
    where_all = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f"ORDER BY {table_id} {'ASC' if backwards else 'DESC'} LIMIT ${len(values) + 1}"
    found = await connection.fetch(f"{select} {where_all} {order}", *values, request.limit + 1)
    items = found[: request.limit]
    if backwards:
        items.reverse()
    return Page(items, len(found) > request.limit)
