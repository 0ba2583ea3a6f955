"""Whether records are the log's: what a topic says is believed as far as the log says the same.

Anybody who may write to a topic can write a record of our form. Before a saga acts on one, and before a projection
takes one that does not fit for a loss, a poison or a new incarnation, the log is asked (docs/decisions/0023).
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from infra.kafka.records import Delivered

_AT: Final = """
SELECT position, event_id, partition_key, {value} AS value FROM log.events
WHERE position = ANY($1::bigint[]) AND position BETWEEN $2 AND $3
"""
_EVENTS: Final = _AT.format(value="payload")
_ENTRIES: Final = _AT.format(value="postings")

Place = tuple[str, int, int]  # topic, partition, offset


class ForeignRecord(Exception):
    """A record of our form that the log knows nothing of."""


class Connection(Protocol):
    """A connection, or a pool, of a role that may read the log."""

    async def fetch(self, query: str, *args: object) -> Any: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...


def place_of(record: Delivered) -> Place:
    """Where a record stands."""
    return record.topic, record.partition, record.offset


async def foreign(connection: Connection, records: Iterable[Delivered], *, entries: bool = False) -> dict[Place, str]:
    """Which of these records are not the log's, and why. `entries`: their values are postings, not events.

    A record is the log's if the event at its position has its id, its key and its bytes, and its incarnation has begun.
    """
    asked = list(records)
    if not asked:
        return {}
    positions = [record.position for record in asked]
    rows = await connection.fetch(_ENTRIES if entries else _EVENTS, positions, min(positions), max(positions))
    known = {row[0]: (row[1], row[2].encode(), row[3]) for row in rows}
    begun = await connection.fetchval("SELECT incarnation FROM relay.state")
    found: dict[Place, str] = {}
    for record in asked:
        if record.incarnation > begun:
            found[place_of(record)] = f"incarnation {record.incarnation}, but only {begun} have begun"
        elif known.get(record.position) != (record.event_id, record.key, record.value):
            found[place_of(record)] = f"the log has no such event at position {record.position}"
    return found
