"""Hands records of usage to the brokers, and says that they have them only once they all said so.

While no broker answers, whoever sends is turned away at once; a task in the background connects again. A producer
whose record failed is given up, with everything that it still holds: what its records came to is unknown, and is for
the sender to repeat, since an event counts once however often it comes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from infra.settings import KafkaSettings, UsageSettings
from usage.ingest.deadlines import Deadlines
from usage.topic import ensure_usage_topic
from usage.wire import WireEvent, encode, headers_of, topic_of

RECORD_BYTES_MAX: Final = 900_000
"""A record's value; brokers take a million bytes."""
_OVERHEAD_BYTES: Final = 4_096
RETRY_S: Final = 1.0

RECORDS = Counter("tallybook_usage_records_total", "Records of usage that the brokers have")
FAILURES = Counter("tallybook_usage_producer_failures_total", "Producers of usage that were given up")
CONNECTED = Gauge("tallybook_usage_connected", "1 while usage can be handed to the brokers")

log: Final = structlog.get_logger(__name__)


class BrokersAway(Exception):
    """No broker took the records, or nobody knows whether one did: they are to be sent again."""


class UsageProducer:
    """One process's. `connecting` keeps it connected; `append` is for any number of callers at once."""

    def __init__(self, bootstrap: str | None, kafka: KafkaSettings, usage: UsageSettings) -> None:
        """Without brokers, everything is turned away."""
        self._bootstrap = bootstrap
        self._kafka = kafka
        self._usage = usage
        self._topic = topic_of(kafka.topic_prefix)
        self._deadlines = Deadlines(usage.ack_timeout_ms / 1000)
        self._producer: AIOKafkaProducer | None = None
        self._wanted = asyncio.Event()

    @contextlib.asynccontextmanager
    async def connecting(self) -> AsyncIterator[None]:
        """Connect in the background, and again whenever a producer was given up."""
        if self._bootstrap is None:
            yield
            return
        self._wanted.set()
        task = asyncio.create_task(self._keep_connected(self._bootstrap), name="usage producer")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._stop(self._producer)

    @property
    def is_connected(self) -> bool:
        """Whether records can be sent now."""
        return self._producer is not None

    async def append(
        self,
        tenant_id: str,
        by_partition: Mapping[int, Sequence[WireEvent]],
        *,
        original_appended_ms: int | None = None,
    ) -> None:
        """Return once all of them are where no crash of a broker loses them; voids among them say when what they take
        away was appended. Raises BrokersAway: none, some, or all of them may be there then.
        """
        await self.send(tenant_id, self.made(by_partition), original_appended_ms=original_appended_ms)

    def made(self, by_partition: Mapping[int, Sequence[WireEvent]]) -> list[tuple[int, bytes]]:
        """The records that hold these events, each with its partition."""
        return [(number, value) for number, events in by_partition.items() for value in records_of(events)]

    async def send(
        self, tenant_id: str, records: Sequence[tuple[int, bytes]], *, original_appended_ms: int | None = None
    ) -> None:
        """The same for records that are made already."""
        producer = self._producer
        if producer is None:
            raise BrokersAway("no broker answers")
        headers = headers_of(tenant_id, original_appended_ms)
        try:
            await self._deadlines.within(self._acknowledged(producer, records, headers))
        except (KafkaError, OSError, TimeoutError) as error:
            self._give_up(producer, error)
            raise BrokersAway(str(error) or type(error).__name__) from error
        RECORDS.inc(len(records))

    async def _acknowledged(
        self, producer: AIOKafkaProducer, records: Sequence[tuple[int, bytes]], headers: Sequence[tuple[str, bytes]]
    ) -> None:
        waiting = [
            await producer.send(self._topic, value, partition=number, headers=headers) for number, value in records
        ]
        await (waiting[0] if len(waiting) == 1 else asyncio.gather(*waiting))

    def _give_up(self, producer: AIOKafkaProducer, error: Exception) -> None:
        if self._producer is producer:
            log.warning("usage_producer_failed", why=f"{type(error).__name__}: {error}")
            FAILURES.inc()
            CONNECTED.set(0)
            self._producer = None
            self._wanted.set()

    async def _keep_connected(self, bootstrap: str) -> None:
        given_up: AIOKafkaProducer | None = None
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._stop(given_up)
            given_up = self._producer = await self._connected(bootstrap)
            CONNECTED.set(1)
            log.info("usage_producer_connected", topic=self._topic)

    async def _connected(self, bootstrap: str) -> AIOKafkaProducer:
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                enable_idempotence=True,
                acks="all",
                compression_type="zstd",
                max_batch_size=RECORD_BYTES_MAX + _OVERHEAD_BYTES,
                request_timeout_ms=self._kafka.request_timeout_ms,
            )
            try:
                await ensure_usage_topic(
                    bootstrap,
                    prefix=self._kafka.topic_prefix,
                    partitions=self._usage.partitions,
                    replication_factor=self._kafka.replication_factor,
                    retention_days=self._usage.retention_days,
                    request_timeout_ms=self._kafka.request_timeout_ms,
                )
                await producer.start()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("usage_brokers_away", why=f"{type(error).__name__}: {error}")
                await self._stop(producer)
                await asyncio.sleep(RETRY_S)
            else:
                return producer

    async def _stop(self, producer: AIOKafkaProducer | None) -> None:
        """Let go of one, without waiting long for what it still holds."""
        if producer is None:
            return
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.stop(), timeout=self._usage.ack_timeout_ms / 1000)


def records_of(events: Sequence[WireEvent]) -> list[bytes]:
    """The values of the records that hold these events in their order: one, unless it would be too long."""
    value = encode(events)
    if len(value) <= RECORD_BYTES_MAX or len(events) == 1:
        return [value]
    middle = len(events) // 2
    return [*records_of(events[:middle]), *records_of(events[middle:])]
