"""One resource as the log has it at this instant, however far its read model has come."""

from functools import cache
from typing import Any, Final, TypeVar

from domain.kernel.stream import Stream
from projections.folding.facts import LOG_COLUMNS, logged_fact
from projections.read_model import ReadModel, Record, Rows
from projections.reading import Reader
from schemas.codec import decode_event

Row = TypeVar("Row")

_NEWER: Final = (
    f"SELECT {LOG_COLUMNS} FROM log.events "  # noqa: S608  constants
    "WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 AND stream_version > $4 "
    "AND event_type = ANY($5::text[]) ORDER BY stream_version"
)
NO_SHARD: Final = -1
"""A resource's row is its key's alone, whatever the partition."""


@cache
def _row_and_version(model: ReadModel[Any]) -> str:
    columns = ", ".join(f"r.{column.name}" for column in model.columns)
    return (
        f"SELECT {columns}, s.version AS log_version FROM log.streams s "  # noqa: S608  our names
        f"LEFT JOIN read.{model.name} r ON r.tenant_id = s.tenant_id AND r.{model.key[-1]} = s.stream_id "
        "WHERE s.tenant_id = $1 AND s.stream_type = $2 AND s.stream_id = $3"
    )


@cache
def _part_and_version(model: ReadModel[Any]) -> str:
    columns = ", ".join(f"r.{column.name}" for column in model.columns)
    return (
        f"SELECT {columns}, s.version AS log_version, s.stream_id AS whole FROM log.claims c "  # noqa: S608  our names
        "JOIN log.streams s ON s.tenant_id = c.tenant_id AND s.stream_type = $2 AND s.stream_id = c.owner "
        f"LEFT JOIN read.{model.name} r ON r.tenant_id = c.tenant_id AND r.{model.key[-1]} = c.value "
        "WHERE c.tenant_id = $1 AND c.value = $3 AND c.kind = $4"
    )


async def current(
    connection: Reader, model: ReadModel[Row], stream: Stream[Any], tenant_id: str, stream_id: str
) -> Row | None:
    """The row of a stream as of the stream's last event in the log; None if the tenant has no such stream.

    Where the table has come as far, that is its row, and one query. What the row lacks is folded here, by the model's
    own rule. The model has a row per stream, and a column `stream_version`.
    """
    record = await connection.fetchrow(_row_and_version(model), tenant_id, stream.name, stream_id)
    if record is None:
        return None
    return await as_logged(connection, model, stream, stream_id, (tenant_id, stream_id), record)


async def current_part(
    connection: Reader, model: ReadModel[Row], stream: Stream[Any], tenant_id: str, part_id: str, *, claim: str
) -> Row | None:
    """The same of what lives in another's stream under an id of its own, as a refund does in its payment's.

    A claim of this kind leads from the id to the stream.
    """
    record = await connection.fetchrow(_part_and_version(model), tenant_id, stream.name, part_id, claim)
    if record is None:
        return None
    return await as_logged(connection, model, stream, record["whole"], (tenant_id, part_id), record)


async def as_logged(
    connection: Reader, model: ReadModel[Row], stream: Stream[Any], stream_id: str, key: tuple[str, str], record: Record
) -> Row:
    """The row with what it lacks: the stream's events since its own last one, as far as they are about it.

    `record` has the model's columns, all null where there is no row yet, and the stream's version as `log_version`.
    """
    version: int = record["stream_version"] or 0
    rows: Rows[Row] = {} if version == 0 else {key: model.read(record)}
    if version < record["log_version"]:
        newer = await connection.fetch(_NEWER, key[0], stream.name, stream_id, version, list(model.events))
        for each in newer:
            fact = logged_fact(each, decode_event(each["payload"]), NO_SHARD)
            if model.key_of(fact) == key:
                model.apply(rows, fact)
    return rows[key]
