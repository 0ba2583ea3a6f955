"""One resource as the log has it at this instant, however far its read model has come."""

from functools import cache
from typing import Any, Final, TypeVar

from domain.kernel.stream import Stream
from projections.folding.facts import LOG_COLUMNS, logged_fact
from projections.read_model import ReadModel, Rows
from projections.reading import Reader
from schemas.codec import decode_event

Row = TypeVar("Row")

_NEWER: Final = (
    f"SELECT {LOG_COLUMNS} FROM log.events "  # noqa: S608  constants
    "WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 AND stream_version > $4 ORDER BY stream_version"
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
    version: int = record["stream_version"] or 0
    key = (tenant_id, stream_id)
    rows: Rows[Row] = {} if version == 0 else {key: model.read(record)}
    if version < record["log_version"]:
        for newer in await connection.fetch(_NEWER, tenant_id, stream.name, stream_id, version):
            model.apply(rows, logged_fact(newer, decode_event(newer["payload"]), NO_SHARD))
    return rows[key]
