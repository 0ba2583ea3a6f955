"""The one wrapper through which Faust carries events to us; beside it, only `app.py` starts and stops the app.

Faust acknowledges a batch when the loop body is left, however that happens. So the body never raises and never gives
up half-way: a record is handled, or it becomes a dead letter, or the process ends at once without acknowledging it.
A batch is a barrier for its partitions, so nothing slow runs here: a handler issues commands, no more.

Faust spends about as long on a record as a command takes, wanted or not. So it is given a partition's share of each
poll as one event, whose offset is the last record's: acknowledged together, or not at all.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import faust
import structlog
from faust.types import TP
from faust.types.transports import SchedulingStrategyT
from prometheus_client import Counter, Histogram

from infra.event_store.port import QueueFull, StoreUnavailable
from infra.kafka.provenance import ForeignRecord, Place, place_of
from infra.kafka.records import ConsumerRecord, Delivered, NotOurRecord, delivered
from infra.settings import KafkaSettings, ProcessorSettings

log = structlog.get_logger(__name__)

DELIVERED = Counter("tallybook_processors_records_total", "Records handled", ["consumer", "result"])
BATCH_SECONDS = Histogram("tallybook_processors_batch_seconds", "Time a batch took", ["consumer"])

EXIT_CANNOT_GO_ON = 70
"""Exit status of a process that ended itself rather than lose a record; the supervisor starts it again."""

Result = TypeVar("Result")
Handle = Callable[[Delivered], Awaitable[None]]
Foreign = Callable[[Sequence[Delivered]], Awaitable[Mapping[Place, str]]]
"""Which of these records the log knows nothing of, and why."""


class DeadLetters(Protocol):
    """Where records go that cannot be handled."""

    async def bury(self, record: Any, *, consumer: str, error: BaseException, attempts: int) -> None:
        """Keep the record with its origin and error, in the table and on the topic. Raises if it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class BoundConsumer:
    """A consumer group's share of work: the topics it reads, the types it wants, how it tells a forgery, and what it
    does with one record.
    """

    name: str
    topics: tuple[str, ...]
    event_types: frozenset[str]
    foreign: Foreign
    handle: Handle


class Shares(SchedulingStrategyT):
    """A poll's records, a partition's as one: its offset is the last one's, its value the list of them.

    Faust takes the offsets between for a gap in the log, which it acknowledges with what comes after it; but not a gap
    behind offset 0, which it takes for none. So the first two records of a partition come one by one.
    """

    def __init__(self) -> None:
        pass

    def iterate(self, records: Mapping[TP, Sequence[Any]]) -> Iterator[tuple[TP, Any]]:
        """See Faust's setting ConsumerScheduler."""
        for place, share in records.items():
            alone = sum(record.offset <= 1 for record in share[:2])
            for part in (*([record] for record in share[:alone]), share[alone:]):
                if part:
                    yield place, replace(part[-1], key=None, value=part, headers=())


def end_process(why: str, **facts: object) -> NoReturn:
    """End at once, acknowledging nothing: not an exit handler more may run."""
    log.critical("process_ends", why=why, **facts)
    os._exit(EXIT_CANNOT_GO_ON)


def faust_app(
    name: str, bootstrap: str, kafka: KafkaSettings, settings: ProcessorSettings, *, folder: Path
) -> faust.App:
    """A Faust app inside the bounds in which it loses nothing (docs/decisions/0014). `folder` takes what it writes,
    which is nothing that is read again.
    """
    return faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=True,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        broker_commit_interval=0.5,
        broker_session_timeout=kafka.session_timeout_ms / 1000,
        broker_heartbeat_interval=kafka.session_timeout_ms / 3000,
        broker_rebalance_timeout=kafka.rebalance_timeout_ms / 1000,
        broker_request_timeout=kafka.request_timeout_ms / 1000,
        ConsumerScheduler=Shares,
        broker_max_poll_records=settings.batch_max_records,
        consumer_metadata_max_age_ms=kafka.metadata_max_age_ms,
        consumer_max_fetch_size=4_194_304,
        datadir=str(folder),
    )


def deliver(app: faust.App, consumer: BoundConsumer, settings: ProcessorSettings, dead_letters: DeadLetters) -> None:
    """Add an agent to the app that brings the consumer's records to its handler."""
    topic = app.topic(*consumer.topics, key_serializer="raw", value_serializer="raw")
    work = Attempts(consumer, settings, dead_letters)

    async def agent(stream: Any) -> None:
        shares: AsyncIterator[Sequence[Any]] = stream.take_events(
            settings.batch_max_shares, within=settings.batch_within_ms / 1000
        )
        try:
            async for taken in shares:
                await work.batch([record for event in taken for record in event.message.value])
        except asyncio.CancelledError:
            raise  # a rebalance or the end: Faust starts it again, or means it
        except BaseException as error:
            end_process("agent_died", consumer=consumer.name, error=repr(error))

    app.agent(topic, name=consumer.name, concurrency=1)(agent)


class Attempts:
    """Handles batches: keys side by side, one key in order, each record tried a bounded number of times."""

    def __init__(self, consumer: BoundConsumer, settings: ProcessorSettings, dead_letters: DeadLetters) -> None:
        self._consumer = consumer
        self._settings = settings
        self._dead_letters = dead_letters

    async def batch(self, records: Sequence[ConsumerRecord]) -> None:
        """Handle all of them; return only when each is done or a dead letter. Raises nothing but a cancellation,
        and that only after the batch is finished: Faust acknowledges it either way.
        """
        wanted = [record for record in records if self._wanted(record)]
        if not wanted:
            return
        with BATCH_SECONDS.labels(self._consumer.name).time():
            work = asyncio.ensure_future(self._all(wanted))
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                await self._finish(work)
                raise
            except BaseException as error:
                end_process("defect", consumer=self._consumer.name, error=repr(error))

    async def _finish(self, work: "asyncio.Future[None]") -> None:
        try:
            await asyncio.wait_for(work, timeout=self._settings.stop_batch_ms / 1000)
        except BaseException as error:
            end_process("stopped_in_a_batch", consumer=self._consumer.name, error=repr(error))

    def _wanted(self, record: ConsumerRecord) -> bool:
        for name, value in record.headers:
            if name == "ce_type":
                return value is None or value.decode("utf-8", "replace") in self._consumer.event_types
        return True  # no type: let it be looked at, and buried

    async def _all(self, records: Sequence[ConsumerRecord]) -> None:
        keys: dict[bytes, list[tuple[ConsumerRecord, Delivered]]] = {}
        for record in records:
            try:
                fact = delivered(record)
            except NotOurRecord as error:
                await self._bury(record, error, attempts=1)
            else:
                keys.setdefault(fact.key, []).append((record, fact))
        if keys:
            foreign = await self._foreign([fact for queue in keys.values() for _, fact in queue])
            await asyncio.gather(*(self._in_order(queue, foreign) for queue in keys.values()))

    async def _foreign(self, facts: Sequence[Delivered]) -> Mapping[Place, str]:
        try:
            return await self._tried(lambda: self._consumer.foreign(facts))
        except Exception as error:
            end_process("store_unavailable", consumer=self._consumer.name, error=repr(error))

    async def _in_order(self, queue: Sequence[tuple[ConsumerRecord, Delivered]], foreign: Mapping[Place, str]) -> None:
        for record, fact in queue:
            why = foreign.get(place_of(fact))
            if why is None:
                await self._one(record, fact)
            else:
                await self._bury(record, ForeignRecord(why), attempts=1)

    async def _one(self, record: ConsumerRecord, fact: Delivered) -> None:
        try:
            await self._tried(lambda: self._consumer.handle(fact))
        except (StoreUnavailable, QueueFull, OSError) as error:
            # Not the record's fault: burying it would blame the innocent.
            end_process("store_unavailable", consumer=self._consumer.name, error=repr(error))
        except Exception as error:
            await self._bury(record, error, attempts=self._settings.attempts_max)
        else:
            DELIVERED.labels(self._consumer.name, "handled").inc()

    async def _tried(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """What the work comes to, within a bounded number of tries; raises what the last one raised."""
        settings = self._settings
        backoff_ms = settings.attempt_backoff_ms
        for _ in range(settings.attempts_max - 1):
            try:
                async with asyncio.timeout(settings.attempt_timeout_ms / 1000):
                    return await work()
            except Exception:
                await asyncio.sleep(backoff_ms / 1000)
                backoff_ms *= 2
        async with asyncio.timeout(settings.attempt_timeout_ms / 1000):
            return await work()

    async def _bury(self, record: ConsumerRecord, error: Exception, *, attempts: int) -> None:
        try:
            async with asyncio.timeout(self._settings.attempt_timeout_ms / 1000):
                await self._dead_letters.bury(record, consumer=self._consumer.name, error=error, attempts=attempts)
        except Exception as failure:
            end_process("cannot_bury", consumer=self._consumer.name, error=repr(error), failure=repr(failure))
        DELIVERED.labels(self._consumer.name, "dead_letter").inc()
        log.error(
            "dead_letter", consumer=self._consumer.name, topic=record.topic, offset=record.offset, error=repr(error)
        )
