"""Usage events as the topic has them: some of the last ones, and then what comes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from host.addresses import owner_pool
from infra.database import Connection
from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import Settings
from usage.aggregation.log_meters import LogMeters
from usage.wire import MalformedUsage, WireEvent, decode, partition_of_customer, tenant_of, topic_of

POLL_MS: Final = 500
RECORDS_MAX: Final = 200
METERS_MAX: Final = 10_000
"""Whose codes are remembered."""


class NoUsage(Exception):
    """There is no topic of usage; the message says why."""


class TailedEvent(NamedTuple):
    """An event, whose it is, when it came in (ms since 1970), and its meter's code, as far as that is known."""

    tenant_id: str
    event: WireEvent
    received_ms: int
    code: str | None = None


class MeterCodes:
    """What meters are called by those who send events; records name them by id."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: dict[tuple[str, str], str | None] = {}

    async def named(self, event: TailedEvent) -> TailedEvent:
        """The event with its meter's code; without one where there is no such meter, or no database answers."""
        key = event.tenant_id, event.event.meter
        if key not in self._found:
            if len(self._found) >= METERS_MAX:
                self._found.clear()
            self._found[key] = await self._code(*key)
        return event._replace(code=self._found[key])

    async def _code(self, tenant_id: str, meter: str) -> str | None:
        try:
            async with owner_pool(self._settings) as pool, pool.acquire() as connection:
                versions = await LogMeters().versions(cast("Connection", connection), [(tenant_id, meter)])
        except (OSError, asyncpg.PostgresError):
            return None
        return versions[0][1].code if versions else None


class Tailed(NamedTuple):
    """Whose events, of those that came in at a time or later (ms since 1970). None: all."""

    tenant_id: str | None = None
    customer_id: str | None = None
    since_ms: int | None = None


async def tail_events(
    settings: Settings, show: Callable[[TailedEvent], None], *, of: Tailed, last: int, follow: bool
) -> None:
    """Show the last events, the order being that of the topic's partitions, and then those that come. Records that are
    none of usage are passed over; the role `metering` keeps them as dead letters.
    """
    topic = topic_of(settings.kafka.topic_prefix)
    numbers: Sequence[int] = range(settings.usage.partitions)
    if of.tenant_id is not None and of.customer_id is not None:
        numbers = [partition_of_customer(of.tenant_id, of.customer_id, settings.usage.partitions)]
    places = [TopicPartition(topic, number) for number in numbers]
    tolerate_unreadable_batches()
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        if topic not in await consumer.topics():
            raise NoUsage(f"There is no topic {topic}: nobody has sent usage yet")
        consumer.assign(places)
        codes = MeterCodes(settings)
        for event in await _last(consumer, places, of=of, last=last):
            show(await codes.named(event))
        while follow:
            for records in (await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)).values():
                for record in records:
                    for event in _events(record, of):
                        show(await codes.named(event))
    finally:
        await consumer.stop()


async def _last(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], *, of: Tailed, last: int
) -> list[TailedEvent]:
    """The last events of all partitions by the times of their records. Where all of them are wanted no more records are
    read of a partition than events, as each holds one at least; else all that are kept, or came in since then.
    """
    found: list[TailedEvent] = []
    beginnings, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    if of.since_ms is not None:
        since = await consumer.offsets_for_times(dict.fromkeys(places, of.since_ms))
        beginnings = {place: ends[place] if since[place] is None else since[place].offset for place in places}
    reads_all = of.since_ms is not None or of.customer_id is not None
    for place in places:
        consumer.seek(place, beginnings[place] if reads_all else max(beginnings[place], ends[place] - last))
        newest: deque[TailedEvent] = deque(maxlen=last)
        while await consumer.position(place) < ends[place]:
            for record in (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                newest += _events(record, of)
        found += newest
    found.sort(key=lambda each: each.received_ms)
    return found[len(found) - min(last, len(found)) :]


def _events(record: Any, of: Tailed) -> Iterator[TailedEvent]:
    try:
        whose = tenant_of(record.headers)
        events = decode(record.value or b"") if of.tenant_id in (None, whose) else []
    except MalformedUsage:
        return
    for event in events:
        if of.customer_id in (None, event.customer):
            yield TailedEvent(whose, event, record.timestamp)
