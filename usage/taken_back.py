"""What was counted before a counter was reset and taken back since: no use since the reset is less for that.

What is used since a reset is all that is used less what was by then, so what is taken away later of what was there by
then would be taken off twice. The voids that were counted since the reset tell it: each says again what its event said,
and what stands in that one's place, which belongs to the time before as it did.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from domain.kernel.rounding import EXACT
from domain.metering.aggregation import ZERO, Aggregation
from domain.metering.usage_value import units
from infra.database import Pool
from infra.settings import KafkaSettings, UsageSettings
from usage.aggregation.dedupe import id_hash, id_prefix, place_in
from usage.aggregation.fold import BUCKET_US
from usage.aggregation.meters import Adoption, Meters, RefusedEvent, measured, version_at, version_from
from usage.live import Metered
from usage.lookup import CannotLook, reading, record_at
from usage.partials import Buckets, Queries
from usage.wire import EVENT, WireEvent, decode, original_appended_of, partition_of_customer, topic_of

KNOWN_MAX: Final = 100_000
"""Voids of which a process remembers what they took away."""

_VOIDS: Final = """
SELECT record_offset, nth, event_id, instead_id FROM usage.voids
WHERE tenant_id = $1 AND customer_id = $2 AND record_offset >= $3 ORDER BY record_offset, nth
"""
_SINCE: Final = """
SELECT e.nth - 1 AS nth, b.first_offset, substring(b.places FROM (b.at - 1) * 3 / 8 + 1 FOR 6) AS place
FROM unnest($3::bytea[]) WITH ORDINALITY AS e (hash, nth) CROSS JOIN LATERAL (
    SELECT k.first_offset, k.places, position(e.hash IN k.hashes) AS at FROM usage.dedupe_blocks k
    WHERE k.partition = $1 AND k.next_offset > $2 AND position(e.hash IN k.hashes) > 0
) AS b WHERE b.places <> ''
"""
_ADOPTED: Final = """
SELECT tenant_id, rule, from_offset FROM usage.adopted_meters WHERE partition = $1 AND tenant_id = $2 AND meter_id = $3
ORDER BY from_offset, version
"""


class _Void(NamedTuple):
    """A void that counted, where it stands, and whom it makes room for, if anybody."""

    offset: int
    nth: int
    event_id: str
    instead_id: str

    @property
    def place_of_other(self) -> tuple[int, int]:
        """Where what comes in its event's place stands."""
        return self.offset, self.nth + 1


class _Fact(NamedTuple):
    """What a void took away, which never changes: the event, when that was appended (ms since 1970), whether it was
    counted only since the reset (`is_new`), and what counts in its place, if anything does.
    """

    voided: WireEvent
    appended_ms: int
    is_new: bool
    instead: WireEvent | None


class TakenBack:
    """Looks at voids, at each once. The pool's role is the writer's: it reads voids and the blocks of ids."""

    def __init__(self, pool: Pool, kafka: KafkaSettings, usage: UsageSettings) -> None:
        self._pool = pool
        self._kafka = kafka
        self._usage = usage
        self._known: dict[tuple[int, _Void, int], _Fact] = {}
        self._looking = asyncio.Lock()

    async def learn(self, metered: Metered, counted_to: int) -> None:
        """Look at the voids that there are: so whoever then asks with a snapshot in hand does not hold it while brokers
        are asked. Raises CannotLook.
        """
        rows = await self._pool.fetch(_VOIDS, metered.tenant_id, metered.customer_id, counted_to)
        await self._facts(metered, [_Void(*row) for row in rows], counted_to)

    async def since(self, connection: Queries, metered: Metered, buckets: Buckets, counted_to: int) -> Decimal:
        """How much less is counted of these quarter hours by what was taken away since the record `counted_to`, of what
        the records before it brought. In the meter's unit, of a count, a sum or amounts. Raises CannotLook.
        """
        rows = await connection.fetch(_VOIDS, metered.tenant_id, metered.customer_id, counted_to)
        if not rows:
            return ZERO
        facts = await self._facts(metered, [_Void(*row) for row in rows], counted_to)
        meter = await self._meter(metered)
        total, placed = ZERO, set[str]()
        for void, fact in facts.items():
            if fact.is_new and void.event_id not in placed:
                continue
            total = EXACT.add(total, meter.takes(fact.voided, fact.appended_ms, buckets))
            if fact.instead is not None:
                total = EXACT.subtract(total, meter.takes(fact.instead, fact.appended_ms, buckets))
                placed.add(void.instead_id)
        return total

    async def _facts(self, metered: Metered, voids: Sequence[_Void], counted_to: int) -> Mapping[_Void, _Fact]:
        """In the order of the voids. What this process has not looked at yet it looks at, one question at a time."""
        partition = partition_of_customer(metered.tenant_id, metered.customer_id, self._usage.partitions)
        found = {each: self._known.get((partition, each, counted_to)) for each in voids}
        if None in found.values():
            try:
                async with asyncio.timeout(self._usage.ack_timeout_ms / 1000), self._looking:
                    found = {each: self._known.get((partition, each, counted_to)) for each in voids}
                    lacking = [each for each, fact in found.items() if fact is None]
                    found |= await self._look_at(partition, metered, lacking, counted_to)
            except (KafkaError, TimeoutError) as error:
                raise CannotLook(str(error) or type(error).__name__) from error
        return {void: fact for void, fact in found.items() if fact is not None}

    async def _look_at(
        self, partition: int, metered: Metered, voids: Sequence[_Void], counted_to: int
    ) -> Mapping[_Void, _Fact]:
        if not voids:
            return {}
        counted_at = await self._counted_since(partition, metered, voids, counted_to)
        place = TopicPartition(topic_of(self._kafka.topic_prefix), partition)
        found: dict[_Void, _Fact] = {}
        async with reading(self._kafka) as consumer:
            consumer.assign([place])
            record: Any = None
            for void in voids:
                if record is None or record.offset != void.offset:
                    record = await record_at(consumer, place, void.offset)
                found[void] = _fact(record, void, counted_at)
        if len(self._known) + len(found) > KNOWN_MAX:
            self._known.clear()
        self._known |= {(partition, void, counted_to): fact for void, fact in found.items()}
        return found

    async def _counted_since(
        self, partition: int, metered: Metered, voids: Sequence[_Void], counted_to: int
    ) -> Mapping[str, tuple[int, int]]:
        """Of the events that voids name those that were counted since that record, each with its place."""
        names = sorted({name for each in voids for name in (each.event_id, each.instead_id) if name})
        prefix = id_prefix(metered.tenant_id, metered.customer_id, EVENT)
        hashes = [id_hash(prefix, name) for name in names]
        found: dict[str, tuple[int, int]] = {}
        for row in await self._pool.fetch(_SINCE, partition, counted_to, hashes):
            place = place_in(row["place"], row["first_offset"])
            if place[0] >= counted_to:
                found[names[row["nth"]]] = place
        return found

    async def _meter(self, metered: Metered) -> "_Meter":
        partition = partition_of_customer(metered.tenant_id, metered.customer_id, self._usage.partitions)
        rows = await self._pool.fetch(_ADOPTED, partition, metered.tenant_id, metered.meter_id)
        adopted = (Adoption(row["tenant_id"], version_from(row["rule"]), row["from_offset"]) for row in rows)
        return _Meter(metered, Meters(adopted))


class _Meter(NamedTuple):
    """What a meter takes from events, by the versions that its partition counts by."""

    metered: Metered
    versions: Meters

    def takes(self, event: WireEvent, appended_ms: int, buckets: Buckets) -> Decimal:
        """What the event adds to those quarter hours; nothing where it is another meter's, or left out by this one."""
        versions = self.versions.of(self.metered.tenant_id, event.meter)
        if not versions or not buckets.first <= event.timestamp_us // BUCKET_US < buckets.end:
            return ZERO
        with contextlib.suppress(RefusedEvent):  # of a meter that was revised meanwhile, only the header can tell
            version = version_at(versions, event.timestamp_us, appended_ms)
            taken = measured(version, event)
            if taken is not None:
                return Decimal(1) if version.aggregation is Aggregation.COUNT else units(taken.value)
        return ZERO


def _fact(record: Any, void: _Void, counted_at: Mapping[str, tuple[int, int]]) -> _Fact:
    events = decode(record.value or b"")
    appended_ms = original_appended_of(record.headers)
    has_instead = void.instead_id and counted_at.get(void.instead_id) == void.place_of_other
    return _Fact(
        voided=events[void.nth],
        appended_ms=record.timestamp if appended_ms is None else appended_ms,
        is_new=void.event_id in counted_at,
        instead=events[void.nth + 1] if has_instead else None,
    )
