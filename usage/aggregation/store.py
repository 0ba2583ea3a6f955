"""What an aggregator keeps in PostgreSQL: loaded when it takes on a partition, written in one transaction a poll.

The checkpoint is moved by compare-and-set, so who has lost a partition cannot write, and its row is locked until the
commit, so a closing comes before a poll or after it, never between its parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from infra.database import Connection
from usage.aggregation.dedupe import ENTRY_BYTES
from usage.aggregation.fold import Closed, ClosingKey, Folded, PartitionState
from usage.aggregation.meters import Adoption, Meters, version_from
from usage.days import day_in_sql
from usage.partials import LAST_BUCKET
from usage.partials import Connection as AnyConnection

BLOCKS_AT_ONCE: Final = 200
PARTS: Final = 10**18
"""Totals and values may be beyond 64 bits, so each is copied as two numbers: how often this goes into it, and what is
left: a client writes whole numbers of 64 bits much faster than numerics.
"""

TEMPORARY: Final = """
CREATE TEMPORARY TABLE poll_sums (series bytea, bucket integer, late integer, tenant_id text, n bigint, high bigint,
    low bigint) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE poll_tallies (series bytea, bucket integer, late integer, at_us bigint, event_id text,
    high bigint, low bigint, member text, tenant_id text, times bigint) ON COMMIT DELETE ROWS;
"""
_MERGE_SUMS: Final = f"""
INSERT INTO usage.aggregates AS kept (series, bucket, late, tenant_id, n, total)
SELECT series, bucket, late, tenant_id, n, high::numeric * {PARTS} + low FROM poll_sums
ON CONFLICT (series, bucket, late) DO UPDATE SET n = kept.n + excluded.n, total = kept.total + excluded.total;
INSERT INTO usage.days AS kept (series, day, tenant_id, n, total)
SELECT series, {day_in_sql("bucket")}, tenant_id, sum(n), sum(high) * {PARTS} + sum(low) FROM poll_sums
GROUP BY 1, 2, 3 ORDER BY 1, 2
ON CONFLICT (series, day) DO UPDATE SET n = kept.n + excluded.n, total = kept.total + excluded.total
"""  # noqa: S608  constants
_MERGE_TALLIES: Final = f"""
INSERT INTO usage.tallies AS kept (series, bucket, late, at_us, event_id, value, member, tenant_id, times)
SELECT series, bucket, late, at_us, event_id, high::numeric * {PARTS} + low, member, tenant_id, times FROM poll_tallies
ON CONFLICT (series, bucket, late, at_us, event_id, value, member) DO UPDATE SET times = kept.times + excluded.times
"""  # noqa: S608  constants
_MOVE: Final = """
UPDATE usage.checkpoints AS c SET next_offset = u.upto, moved_at = clock_timestamp()
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS u (partition, since, upto)
WHERE c.partition = u.partition AND c.next_offset = u.since RETURNING c.partition, c.closings
"""
_CLOSED_SINCE: Final = "SELECT count(*) FROM usage.closings WHERE partition = $1 AND version > $2"
_SERIES: Final = """
INSERT INTO usage.series (series, tenant_id, customer_id, meter_id, version, groups, partition)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
"""
_BLOCK: Final = """
INSERT INTO usage.dedupe_blocks (partition, first_offset, next_offset, day, ids, hashes, places)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_CONFLICT: Final = """
INSERT INTO usage.conflicts (partition, record_offset, nth, tenant_id, customer_id, event_id, kind, appended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_VOID: Final = """
INSERT INTO usage.voids (partition, record_offset, nth, tenant_id, customer_id, event_id, instead_id, appended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_ADOPTION: Final = """
INSERT INTO usage.adopted_meters (partition, tenant_id, meter_id, version, from_offset, rule)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_TOUCHED: Final = "INSERT INTO usage.touched (series, first_buckets) VALUES ($1, $2)"


class Overtaken(Exception):
    """Another aggregator has moved a checkpoint: nothing was written; load the partitions again."""


async def load(connection: Connection, partition: int, partitions: int, *, beginning: int) -> PartitionState:
    """A partition as the last commit left it; one that nobody has read begins at `beginning`."""
    await connection.execute(
        "INSERT INTO usage.checkpoints (partition, next_offset) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        partition,
        beginning,
    )
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(
            "SELECT next_offset, closings FROM usage.checkpoints WHERE partition = $1", partition
        )
        assert row is not None, "the checkpoint was just made"
        state = PartitionState(partition, partitions, row["next_offset"], row["closings"])
        state.meters = Meters(await adoptions(connection, partition))
        state.closed = dict(await _closed(connection, {partition: -1}))
        await _load_ids(connection, state)
    return state


async def next_offsets(connection: Connection, partitions: Sequence[int]) -> dict[int, int]:
    """How far partitions are counted."""
    rows = await connection.fetch(
        "SELECT partition, next_offset FROM usage.checkpoints WHERE partition = ANY($1::int[])", partitions
    )
    return {row["partition"]: row["next_offset"] for row in rows}


async def adoptions(connection: AnyConnection, partition: int) -> list[Adoption]:
    """The meters' versions that a partition counts by, in the order of their adoption."""
    rows = await connection.fetch(
        "SELECT tenant_id, rule, from_offset FROM usage.adopted_meters WHERE partition = $1 "
        "ORDER BY from_offset, tenant_id, meter_id, version",
        partition,
    )
    return [Adoption(row["tenant_id"], version_from(row["rule"]), row["from_offset"]) for row in rows]


async def _load_ids(connection: Connection, state: PartitionState) -> None:
    after = -1
    while True:
        blocks = await connection.fetch(
            "SELECT first_offset, day, hashes FROM usage.dedupe_blocks WHERE partition = $1 AND first_offset > $2 "
            "ORDER BY first_offset LIMIT $3",
            state.partition,
            after,
            BLOCKS_AT_ONCE,
        )
        for block in blocks:
            state.seen.load(block["hashes"], block["day"])
        if len(blocks) < BLOCKS_AT_ONCE:
            return
        after = blocks[-1]["first_offset"]


async def _closed(connection: Connection, since: Mapping[int, int]) -> list[tuple[ClosingKey, Closed]]:
    """The last closing of each meter of a customer, of those beyond a version of each partition."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (c.tenant_id, c.customer_id, c.meter_id) "
        "c.tenant_id, c.customer_id, c.meter_id, c.seq, c.bucket FROM usage.closings c "
        "JOIN unnest($1::int[], $2::bigint[]) AS u (partition, version) USING (partition) "
        "WHERE c.version > u.version ORDER BY c.tenant_id, c.customer_id, c.meter_id, c.seq DESC",
        list(since),
        list(since.values()),
    )
    return [((row[0], row[1], row[2]), Closed(row[3], row[4])) for row in rows]


async def move(connection: Connection, polled: Sequence[tuple[PartitionState, int]]) -> None:
    """Move checkpoints to new offsets, and learn of closings. Inside a transaction; raises Overtaken, also where a
    number of closings is nobody's: rows were mended, and what is known of them is old.
    """
    rows = await connection.fetch(
        _MOVE,
        [state.partition for state, _ in polled],
        [state.next_offset for state, _ in polled],
        [upto for _, upto in polled],
    )
    if len(rows) < len(polled):
        raise Overtaken(f"{len(polled) - len(rows)} of {len(polled)} partitions are another aggregator's")
    versions = {row["partition"]: row["closings"] for row in rows}
    moved = {state.partition: state for state, _ in polled if versions[state.partition] != state.closings}
    for partition, state in moved.items():
        closed = await connection.fetchval(_CLOSED_SINCE, partition, state.closings)
        if closed < versions[partition] - state.closings:
            raise Overtaken(f"what is kept of partition {partition} was mended")
        state.closed.update(await _closed(connection, {partition: state.closings}))
        state.closings = versions[partition]


async def write(
    connection: Connection,
    polled: Sequence[tuple[PartitionState, Folded]],
    adopted: Iterable[tuple[int, Adoption]],
) -> None:
    """What a poll adds, inside the transaction that has moved its checkpoints."""
    new = [
        (each.series, each.tenant_id, each.customer_id, each.meter_id, each.version, list(each.groups), state.partition)
        for state, folded in polled
        for each in folded.series.values()
        if each.series not in state.written_series
    ]
    await _many(connection, _SERIES, new)
    blocks = [
        (
            state.partition,
            each.first_offset,
            each.next_offset,
            each.day,
            len(each.entries) // ENTRY_BYTES,
            bytes(each.entries),
            bytes(each.places),
        )
        for state, folded in polled
        for each in folded.blocks
    ]
    await _many(connection, _BLOCK, blocks)
    conflicts = [
        (
            state.partition,
            each.offset,
            each.nth,
            each.tenant_id,
            each.customer_id,
            each.event_id,
            each.kind,
            _instant(each.appended_ms),
        )
        for state, folded in polled
        for each in folded.conflicts
    ]
    await _many(connection, _CONFLICT, conflicts)
    voids = [
        (state.partition, *each[:-1], _instant(each.appended_ms)) for state, folded in polled for each in folded.voids
    ]
    await _many(connection, _VOID, voids)
    await _many(
        connection,
        _ADOPTION,
        [
            (partition, each.tenant_id, each.version.meter_id, each.version.version, each.from_offset, rule)
            for partition, each in adopted
            for rule in (each.version.as_json(),)
        ],
    )
    touched = [first for _, folded in polled if (first := first_buckets(folded))]
    await _many(connection, _TOUCHED, [(list(first), list(first.values())) for first in touched])
    await _merge(connection, "poll_sums", _MERGE_SUMS, [row for each in polled for row in sum_rows(*each)])
    await _merge(connection, "poll_tallies", _MERGE_TALLIES, [row for each in polled for row in tally_rows(*each)])


def first_buckets(folded: Folded) -> dict[bytes, int]:
    """The series in which something was counted, each with the first bucket of it: for whoever watches thresholds."""
    found: dict[bytes, int] = {}
    for series, bucket in folded.sums:
        if bucket < found.get(series, LAST_BUCKET):
            found[series] = bucket
    return found


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def sum_rows(state: PartitionState, folded: Folded) -> list[tuple[object, ...]]:
    """Sums as rows of poll_sums, in the order of their key: two aggregators never wait for each other crosswise."""
    rows: list[tuple[object, ...]] = []
    for (name, bucket), (n, total) in sorted(folded.sums.items()):
        series = folded.series[name]
        rows.append((name, bucket, state.late(series, bucket), series.tenant_id, n, *divmod(total, PARTS)))
    return rows


def tally_rows(state: PartitionState, folded: Folded) -> list[tuple[object, ...]]:
    """Tallies as rows of poll_tallies."""
    rows: list[tuple[object, ...]] = []
    for (name, bucket, at_us, event_id, value, member), times in folded.tallies.items():
        if times:
            series = folded.series[name]
            late = state.late(series, bucket)
            rows.append((name, bucket, late, at_us, event_id, *divmod(value, PARTS), member, series.tenant_id, times))
    return rows


async def _many(connection: Connection, statement: str, rows: Sequence[Sequence[object]]) -> None:
    if rows:
        await connection.executemany(statement, rows)


async def _merge(connection: Connection, table: str, statement: str, rows: Sequence[Sequence[object]]) -> None:
    if rows:
        await connection.copy_records_to_table(table, records=rows)
        await connection.execute(statement)
