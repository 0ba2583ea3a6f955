"""The events of a tenant as they came in, the newest first, each with what became of it: for whoever asks why a figure
is what it is.

The topic alone has them, so it is read, backwards, and what a page costs is bounded: after so many records, bytes or
seconds it ends, however much it has found, and the next one goes on from there. So a page is a short turn, and tenants
take turns.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.database import Pool
from infra.settings import KafkaSettings, UsageSettings
from usage.backwards import Backwards, Budget, Passed, Place
from usage.fates import Fate, Found, fates, overtaken, voids
from usage.lookup import CannotLook, CountedEvents, reading
from usage.turns import TooManyWait, Turns
from usage.wire import TENANT, VOID, MalformedUsage, WireEvent, decode, partition_of_customer, topic_of

RECORDS_MAX: Final = 10_000
"""Records that are looked at for one page; at least one is, whatever else is spent."""
BYTES_MAX: Final = 32_000_000
"""Bytes that are read for one page, about."""
READING_S: Final = 1.0
"""For so long a page reads on, once it has begun (s)."""
LISTS_MAX: Final = 3
"""Pages that a process reads at a time, of one tenant one."""
WAITING_MAX: Final = 16
"""Pages of one tenant that wait for their turn."""
DAY_MS: Final = 86_400_000
LISTED_DAYS: Final = 35
"""How far back events are listed, by when they came in."""
_PLACE: Final = re.compile(r"([0-9]{1,5})\.([0-9]{1,19})\.([0-9]{1,5})")
"""A partition of a cursor, which has one for each that goes on."""


class UnknownPlace(Exception):
    """A cursor that no page of this list has given."""


class Asked(NamedTuple):
    """Which events. None and nothing ask for all. `meters` are names of one meter: its id and its code. Times of events
    are in microseconds since 1970, those at which they came in in milliseconds; each from one on and before another.
    """

    tenant_id: str
    customer_id: str | None = None
    event_id: str | None = None
    meters: frozenset[str] = frozenset()
    since_us: int | None = None
    until_us: int | None = None
    received_since_ms: int | None = None
    received_until_ms: int | None = None

    def wants(self, event: WireEvent) -> bool:
        """Whether it asks for the event."""
        return (
            event.kind != VOID
            and self.customer_id in (None, event.customer)
            and self.event_id in (None, event.id)
            and (not self.meters or event.meter in self.meters)
            and (self.since_us is None or self.since_us <= event.timestamp_us)
            and (self.until_us is None or event.timestamp_us < self.until_us)
        )

    def may_be_in(self, record: Any) -> bool:
        """Whether a record may hold such an event, by a look at when it came in and at its bytes."""
        if not self._is_of(record.timestamp):
            return False
        value, texts = record.value or b"", (self.customer_id, self.event_id)
        is_own = any(name == TENANT and whose == self.tenant_id.encode() for name, whose in record.headers)
        return is_own and all(text is None or text.encode() in value for text in texts)

    def _is_of(self, received_ms: int) -> bool:
        since_ms, until_ms = self.received_since_ms, self.received_until_ms
        return (since_ms is None or since_ms <= received_ms) and (until_ms is None or received_ms < until_ms)


class ListedEvent(NamedTuple):
    """An event as it came in, when that was (ms since 1970), and what became of it. `instead_id` is the one in its
    place, empty where there is none.
    """

    event: WireEvent
    received_ms: int
    fate: Fate
    is_voided: bool
    instead_id: str


class EventPage(NamedTuple):
    """Some of them, and where the others begin; None where there are none."""

    events: Sequence[ListedEvent]
    cursor: str | None


class UsageEventList:
    """Lists what came in. The pool's role is the writer's."""

    def __init__(self, counted: CountedEvents, pool: Pool, kafka: KafkaSettings, usage: UsageSettings) -> None:
        self._counted = counted
        self._pool = pool
        self._kafka = kafka
        self._usage = usage
        self._turns = Turns(LISTS_MAX, each_max=1, waiting_max=WAITING_MAX)

    async def named(self, tenant_id: str, customer_id: str, event_id: str) -> ListedEvent | None:
        """The event that counts under this id of a customer; where none does, the last one that was to come in the
        place of another and was too late for it. For as long as the topic keeps them. Raises CannotLook.
        """
        one = await self._counted.find(tenant_id, customer_id, event_id)
        if one is None:
            return await self._overtaken(tenant_id, customer_id, event_id)
        found = Found(one.partition, one.offset, one.nth, one.appended_ms, one.event)
        (listed,) = await self._told(tenant_id, [found])
        return listed._replace(is_voided=one.is_voided)

    async def _overtaken(self, tenant_id: str, customer_id: str, event_id: str) -> ListedEvent | None:
        async with self._pool.acquire() as connection:
            place = await overtaken(connection, tenant_id, customer_id, event_id)
        if place is None:
            return None
        partition = partition_of_customer(tenant_id, customer_id, self._usage.partitions)
        one = await self._counted.at(tenant_id, partition, *place)
        return None if one is None else (await self._told(tenant_id, [one]))[0]

    async def page(self, asked: Asked, *, limit: int, cursor: str | None, now_ms: int) -> EventPage:
        """A page, from its beginning or a cursor on. It may be empty, and yet others follow.

        Raises UnknownPlace, and CannotLook where no broker answers, not in time, or too many pages wait.
        """
        try:
            async with asyncio.timeout(self._usage.ack_timeout_ms / 1000), self._turns.taken(asked.tenant_id):
                found, places = await self._read(asked, limit, cursor, now_ms)
                return EventPage(await self._told(asked.tenant_id, found), _cursor_of(places))
        except (KafkaError, TimeoutError, TooManyWait) as error:
            raise CannotLook(str(error) or type(error).__name__) from error

    async def _read(
        self, asked: Asked, limit: int, cursor: str | None, now_ms: int
    ) -> tuple[list[Found], Mapping[int, Place]]:
        async with reading(self._kafka) as consumer:
            return await self._newest(consumer, asked, limit, cursor, now_ms)

    async def _newest(
        self, consumer: AIOKafkaConsumer, asked: Asked, limit: int, cursor: str | None, now_ms: int
    ) -> tuple[list[Found], Mapping[int, Place]]:
        numbers: Sequence[int] = range(self._usage.partitions)
        if asked.customer_id is not None:
            numbers = [partition_of_customer(asked.tenant_id, asked.customer_id, self._usage.partitions)]
        topic = topic_of(self._kafka.topic_prefix)
        first, ends = await _bounds(consumer, topic, numbers, asked, now_ms)
        upto = ends if cursor is None else _places_in(cursor, ends)
        backwards = await Backwards.begin(consumer, topic, first, upto, asked.may_be_in)
        found: list[Found] = []
        looked_at, budget = 0, Budget(BYTES_MAX, READING_S)
        while len(found) < limit and (record := backwards.newest) is not None:
            events = _events(record, asked)
            room = limit - len(found)
            found += events[:room]
            if len(events) > room:
                rest = Place(record.offset, found[-1].nth)
                return found, {**backwards.places, record.partition: rest}
            await backwards.take(budget)
            looked_at += 1
            if looked_at == RECORDS_MAX or budget.is_spent:
                break
            if record.value is not None:
                await asyncio.sleep(0)  # it was decoded: others have their turn
        return found, backwards.places

    async def _told(self, tenant_id: str, found: Sequence[Found]) -> list[ListedEvent]:
        by_partition: dict[int, list[Found]] = {}
        for each in found:
            by_partition.setdefault(each.partition, []).append(each)
        became: dict[tuple[int, tuple[int, int]], Fate] = {}
        async with self._pool.acquire() as connection:
            for partition, some in by_partition.items():
                told = await fates(connection, tenant_id, partition, some)
                became.update(((partition, each.place), fate) for each, fate in zip(some, told, strict=True))
            taken_away = await voids(connection, tenant_id, [each.event for each in found])
        return [_listed(each, became[each.partition, each.place], taken_away) for each in found]


def _listed(found: Found, fate: Fate, taken_away: Mapping[tuple[str, str], str]) -> ListedEvent:
    """An event that is not the one that counts under its id is not the one that was taken away either."""
    counts = fate in (Fate.COUNTED, Fate.LEFT_OUT)
    instead_id = taken_away.get((found.event.customer, found.event.id)) if counts else None
    return ListedEvent(found.event, found.appended_ms, fate, instead_id is not None, instead_id or "")


def _events(record: Passed, asked: Asked) -> list[Found]:
    """The events of a record that are asked for, the last one first."""
    if record.value is None:
        return []
    try:
        events = decode(record.value)
    except MalformedUsage:
        return []
    found = [
        Found(record.partition, record.offset, nth, record.timestamp_ms, event)
        for nth, event in enumerate(events[: record.nth or None])
        if asked.wants(event)
    ]
    return found[::-1]


async def _bounds(
    consumer: AIOKafkaConsumer, topic: str, numbers: Sequence[int], asked: Asked, now_ms: int
) -> tuple[dict[int, int], dict[int, Place]]:
    """Between which offsets each partition has what may be listed."""
    places = [TopicPartition(topic, number) for number in numbers]
    floor_ms = max(asked.received_since_ms or 0, now_ms - LISTED_DAYS * DAY_MS)
    ends = await consumer.end_offsets(places)
    since = await consumer.offsets_for_times(dict.fromkeys(places, floor_ms))
    first = {each.partition: ends[each] if since[each] is None else since[each].offset for each in places}
    if asked.received_until_ms is not None:
        for each, found in (await consumer.offsets_for_times(dict.fromkeys(places, asked.received_until_ms))).items():
            ends[each] = ends[each] if found is None else min(ends[each], found.offset)
    return first, {each.partition: Place(ends[each]) for each in places}


def _cursor_of(places: Mapping[int, Place]) -> str | None:
    """Where the next page begins."""
    texts = (f"{number}.{place.offset}.{place.nth}" for number, place in sorted(places.items()))
    return "_".join(texts) or None


def _places_in(cursor: str, ends: Mapping[int, Place]) -> dict[int, Place]:
    """The inverse of `_cursor_of`. Raises UnknownPlace for what lies beyond the ends."""
    found: dict[int, Place] = {}
    for text in cursor.split("_"):
        told = _PLACE.fullmatch(text)
        if told is None:
            raise UnknownPlace(cursor)
        number, place = int(told[1]), Place(int(told[2]), int(told[3]))
        if number not in ends or number in found or place.past > ends[number].offset:
            raise UnknownPlace(cursor)
        found[number] = place
    return found
