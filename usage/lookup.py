"""Finding an event that counts: a block says between which offsets it stands, and the topic has it whole."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.database import Pool
from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import KafkaSettings, UsageSettings
from usage.aggregation.dedupe import id_hash, id_prefix, place_in
from usage.fates import Fate, Found, fates, voids
from usage.turns import TooManyWait, Turns
from usage.wire import EVENT, VOID, MalformedUsage, WireEvent, decode, partition_of_customer, tenant_of, topic_of

LOOK_UPS_MAX: Final = 4
"""At once, of a process: each looks through the ids of 70 days of a partition."""
LOOK_UPS_EACH_MAX: Final = 2
"""Of these, for one tenant."""
WAITING_MAX: Final = 256
"""Look-ups for one tenant that wait for their turn."""
POLL_MS: Final = 500
FETCH_WAIT_MS: Final = 20
"""How long a broker may wait for a record at the end of a partition: what is asked for next waits behind that."""

_BLOCK: Final = """
SELECT first_offset, next_offset, substring(hashes FROM position($2::bytea IN hashes) + 12 FOR 4) AS checksum,
    substring(places FROM (position($2::bytea IN hashes) - 1) * 3 / 8 + 1 FOR 6) AS place
FROM usage.dedupe_blocks WHERE partition = $1 AND position($2::bytea IN hashes) > 0
ORDER BY first_offset LIMIT 1
"""


class CannotLook(Exception):
    """No broker gives what it has, or not in time."""


@contextlib.asynccontextmanager
async def reading(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaConsumer]:
    """Reads what was committed again, of places that whoever asks assigns. Raises CannotLook without brokers."""
    if kafka.bootstrap is None:
        raise CannotLook("no brokers are named")
    tolerate_unreadable_batches()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def record_at(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> Any:
    """The record at an offset. Raises CannotLook where the topic no longer has it."""
    consumer.seek(place, offset)
    while await consumer.position(place) <= offset:
        for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
            if record.offset == offset:
                return record
            if record.offset > offset:
                break
    raise CannotLook(f"{place.topic}/{place.partition} has no record {offset} any more")


class CountedEvent(NamedTuple):
    """An event that was counted, as it was sent, when the broker appended it (ms since 1970), and whether it was taken
    away again; and where it stands, `nth` in its record. `instead_id` is the id of what the void that counted put in
    its place, empty where that was nothing.
    """

    event: WireEvent
    appended_ms: int
    partition: int
    offset: int
    nth: int
    is_voided: bool
    instead_id: str = ""


class _Wanted(NamedTuple):
    """An event that counted, and its content's checksum."""

    tenant_id: str
    customer_id: str
    event_id: str
    checksum: int

    def is_(self, event: WireEvent) -> bool:
        """Whether this is it."""
        wanted = self.customer_id, self.event_id, self.checksum
        return event.kind != VOID and (event.customer, event.id, event.checksum) == wanted


class CountedEvents:
    """Looks up what aggregators have counted. What they have not read yet is not there."""

    def __init__(self, pool: Pool, kafka: KafkaSettings, usage: UsageSettings) -> None:
        """`pool` may read the blocks of ids."""
        self._pool = pool
        self._kafka = kafka
        self._usage = usage
        self._turns = Turns(LOOK_UPS_MAX, each_max=LOOK_UPS_EACH_MAX, waiting_max=WAITING_MAX)

    async def find(self, tenant_id: str, customer_id: str, event_id: str) -> CountedEvent | None:
        """The event that counts under this id of a customer; None where there is none. Raises CannotLook."""
        partition = partition_of_customer(tenant_id, customer_id, self._usage.partitions)
        async with self._looking(tenant_id):
            block = await self._block(partition, tenant_id, customer_id, EVENT, event_id)
            if block is None:
                return None
            voided = await self._block(partition, tenant_id, customer_id, VOID, event_id)
            wanted = _Wanted(tenant_id, customer_id, event_id, int.from_bytes(block["checksum"], "little"))
            found = await self._read(partition, *_between(block), wanted)
        if found is None or voided is None:
            return found
        async with self._pool.acquire() as connection:
            taken_away = await voids(connection, tenant_id, [found.event])
        return found._replace(is_voided=True, instead_id=taken_away.get((customer_id, event_id), ""))

    async def fate(self, tenant_id: str, one: CountedEvent) -> Fate:
        """What became of an event that was found: it is in the figures, or its meter's filters leave it out."""
        found = Found(one.partition, one.offset, one.nth, one.appended_ms, one.event)
        async with self._pool.acquire() as connection:
            (fate,) = await fates(connection, tenant_id, one.partition, [found])
        return fate

    async def at(self, tenant_id: str, partition: int, offset: int, nth: int) -> Found | None:
        """The event of a tenant at a place, while the topic keeps it. Raises CannotLook."""
        async with self._looking(tenant_id):
            offsets = range(offset, offset + 1)
            return await _first(self._kafka, tenant_id, partition, offsets, lambda found: found.nth == nth)

    @contextlib.asynccontextmanager
    async def _looking(self, tenant_id: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._usage.ack_timeout_ms / 1000), self._turns.taken(tenant_id):
                yield
        except (KafkaError, TimeoutError, TooManyWait) as error:
            raise CannotLook(str(error) or type(error).__name__) from error

    async def _block(self, partition: int, tenant_id: str, customer_id: str, kind: str, event_id: str) -> Any:
        hashed = id_hash(id_prefix(tenant_id, customer_id, kind), event_id)
        return await self._pool.fetchrow(_BLOCK, partition, hashed)

    async def _read(self, partition: int, first_offset: int, next_offset: int, wanted: _Wanted) -> CountedEvent | None:
        """The event that counted, of all that two offsets hold. Others may bear its id: those of another content did
        not count, and of equal ones it is the first.
        """
        offsets = range(first_offset, next_offset)
        one = await _first(self._kafka, wanted.tenant_id, partition, offsets, lambda found: wanted.is_(found.event))
        if one is None:
            return None
        event = one.event._replace(kind=EVENT)
        return CountedEvent(event, one.appended_ms, partition, one.offset, one.nth, is_voided=False)


async def _first(
    kafka: KafkaSettings, tenant_id: str, partition: int, offsets: range, wants: Callable[[Found], bool]
) -> Found | None:
    """The first one that is wanted of a tenant's events at these offsets; None where the topic has it no longer."""
    place = TopicPartition(topic_of(kafka.topic_prefix), partition)
    async with reading(kafka) as consumer:
        consumer.assign([place])
        consumer.seek(place, offsets.start)
        while await consumer.position(place) < offsets.stop:
            for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                if record.offset not in offsets:
                    return None
                for nth, event in enumerate(_events(record, tenant_id)):
                    found = Found(partition, record.offset, nth, record.timestamp, event)
                    if wants(found):
                        return found
    return None


def _between(block: Any) -> tuple[int, int]:
    """The offsets between which an id's record stands: right behind the first, unless its block is of before places."""
    first_offset, next_offset, place = block["first_offset"], block["next_offset"], block["place"]
    if not place:
        return first_offset, next_offset
    offset, _ = place_in(place, first_offset)
    return offset, offset + 1


def _events(record: Any, tenant_id: str) -> list[WireEvent]:
    try:
        return decode(record.value or b"") if tenant_of(record.headers) == tenant_id else []
    except MalformedUsage:
        return []
