"""What nobody can ask for any more goes, each hour, beside the counting: neither tables nor memory grow with time.

- Ids that are no longer remembered, by the broker's time as `dedupe` reckons it: nothing that comes looks for them.
- Small blocks of ids, one a poll, become large ones: a partition is taken on in one read of a few thousand rows.
- Tallies that events and their voids have brought to nothing: they are in no figure, no hash and no recount.
- Conflicts, and what tells of voids, of records that the topic no longer holds: no recount and no list finds them.

Sums and tallies of closed periods stay: they are the evidence of what was billed (0126).
"""

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

import structlog
from aiokafka.errors import KafkaError

from infra.database import CONNECTION_ERRORS, Pool
from infra.settings import Settings
from usage.aggregation.dedupe import PLACE_BYTES, REMEMBERED_DAYS
from usage.ends import KafkaEnds
from usage.partials import Connection

log = structlog.get_logger(__name__)

BLOCK_IDS: Final = 16_384
"""Ids of a large block: a look-up of one reads as many events at most."""
SPARE_DAYS: Final = 1
"""Ids are kept so much longer than remembered: a broker's clock may have been set back."""
PRUNED_AT_ONCE: Final = 10_000

_LAST_DAY: Final = "SELECT max(day) FROM usage.dedupe_blocks WHERE partition = $1"
_EXPIRE: Final = "DELETE FROM usage.dedupe_blocks WHERE partition = $1 AND day < $2"
_BLOCKS: Final = """
SELECT first_offset, day, ids FROM usage.dedupe_blocks WHERE partition = $1 ORDER BY first_offset
"""
_MERGE: Final = f"""
WITH gone AS (DELETE FROM usage.dedupe_blocks WHERE partition = $1 AND first_offset = ANY($2::bigint[]) RETURNING *)
INSERT INTO usage.dedupe_blocks (partition, first_offset, next_offset, day, ids, hashes, places)
SELECT partition, min(first_offset), max(next_offset), day, sum(ids),
    string_agg(hashes, ''::bytea ORDER BY first_offset),
    CASE WHEN bool_and(length(places) = {PLACE_BYTES} * ids) THEN string_agg(places, ''::bytea ORDER BY first_offset)
        ELSE '' END
FROM gone GROUP BY partition, day
"""  # noqa: S608  constants
_PRUNE_TALLIES: Final = """
DELETE FROM usage.tallies WHERE times = 0 AND ctid = ANY(ARRAY(
    SELECT ctid FROM usage.tallies WHERE times = 0 LIMIT $1 FOR UPDATE SKIP LOCKED))
"""
"""It waits for no aggregator, so none waits for it crosswise."""
_PRUNE_CONFLICTS: Final = "DELETE FROM usage.conflicts WHERE partition = $1 AND record_offset < $2"
_PRUNE_VOIDS: Final = "DELETE FROM usage.voids WHERE partition = $1 AND record_offset < $2"
_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('usage.upkeep', $1))"
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('usage.upkeep', $1))"
"""For whoever else changes what an upkeep does; it waits."""


class Block(NamedTuple):
    """A block of ids, without them."""

    first_offset: int
    day: int
    ids: int


class Kept(NamedTuple):
    """How many rows an upkeep took away of each table; `merged` are blocks that are in larger ones now."""

    expired: int = 0
    merged: int = 0
    tallies: int = 0
    conflicts: int = 0
    voids: int = 0


class Upkeep:
    """Runs now and then. The pool's role is the aggregator's."""

    def __init__(self, settings: Settings, pool: Pool, *, bootstrap: str) -> None:
        self._settings = settings
        self._pool = pool
        self._ends = KafkaEnds(settings, bootstrap=bootstrap)

    async def run(self) -> None:
        """Again and again, until cancelled. What fails is tried at the next time."""
        try:
            while True:
                await asyncio.sleep(self._settings.metering.upkeep_interval_s)
                try:
                    log.info("usage_upkeep", **(await self.once())._asdict())
                except (KafkaError, *CONNECTION_ERRORS) as error:
                    log.warning("usage_upkeep_failed", why=f"{type(error).__name__}: {error}")
        finally:
            await self.close()

    async def close(self) -> None:
        """Let go of the connection to the brokers."""
        await self._ends.close()

    async def once(self) -> Kept:
        """Every partition once. Raises what the brokers and the database raise; what is done by then stays done."""
        kept = Kept()
        async with self._pool.acquire() as connection:
            for partition in range(self._settings.usage.partitions):
                beginning = await self._ends.beginning(partition)
                done = await _keep(connection, partition, beginning)
                kept = Kept(*(one + other for one, other in zip(kept, done, strict=True)))
            while pruned := _rows(await connection.execute(_PRUNE_TALLIES, PRUNED_AT_ONCE)):
                kept = kept._replace(tallies=kept.tallies + pruned)
        return kept


async def _keep(connection: Connection, partition: int, beginning: int) -> Kept:
    """One partition's ids, conflicts and voids, unless another aggregator is at it."""
    async with connection.transaction():
        if not await connection.fetchval(_TRY_LOCK, partition):
            return Kept()
        conflicts = _rows(await connection.execute(_PRUNE_CONFLICTS, partition, beginning))
        voids = _rows(await connection.execute(_PRUNE_VOIDS, partition, beginning))
        last = await connection.fetchval(_LAST_DAY, partition)
        if last is None:
            return Kept(conflicts=conflicts, voids=voids)
        expired = _rows(await connection.execute(_EXPIRE, partition, last - REMEMBERED_DAYS - SPARE_DAYS))
        merged = 0
        for group in groups(Block(*row) for row in await connection.fetch(_BLOCKS, partition)):
            await connection.execute(_MERGE, partition, [each.first_offset for each in group])
            merged += len(group)
        return Kept(expired, merged, 0, conflicts, voids)


def groups(blocks: Iterable[Block]) -> list[list[Block]]:
    """Neighbours of one day that are to be one block: as many as fit into BLOCK_IDS."""
    found: list[list[Block]] = []
    group: list[Block] = []
    ids = 0
    for block in blocks:
        if group and (block.day != group[0].day or ids + block.ids > BLOCK_IDS):
            found.append(group)
            group, ids = [], 0
        group.append(block)
        ids += block.ids
    found.append(group)
    return [each for each in found if len(each) > 1]


def _rows(status: str) -> int:
    """How many rows a statement changed, as PostgreSQL tells it."""
    return int(status.rpartition(" ")[2])
