"""The relay: publishes the log to Kafka in position order, at least once, and in order per partition.

It reads past its checkpoint, sends, waits for every acknowledgement, then moves the checkpoint. Any error on the way:
drop the producer and start over from the checkpoint; consumers skip what they have seen.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from prometheus_client import Counter, Gauge, Histogram

from domain.kernel.stream import Stream
from infra.database import CONNECTION_ERRORS, Connection, Role, server_settings
from infra.event_store.background import CHANNEL
from infra.event_store.log import READ, recorded
from infra.heartbeat import Stall
from infra.kafka.lease import Leadership, LeaseLost, relay_name, renew, told_of_lease, try_lead
from infra.kafka.probe import KafkaProbe
from infra.kafka.records import BEFORE_FIRST, PREVIOUS_POSITION, HeaderWriter
from infra.kafka.topics import TopicName, ensure_topics, full_name, partition_of
from infra.settings import Settings
from infra.telemetry import PartHealth, timed_part

log = structlog.get_logger(__name__)

PUBLISHED_RECORDS = Counter("tallybook_relay_records_total", "Records published", ["topic"])
LAG_EVENTS = Gauge("tallybook_relay_lag_events", "Events in the log that are not published yet")
LAG_SECONDS = Gauge("tallybook_relay_lag_seconds", "Age of the oldest event that is not published yet")
LEADS = Gauge("tallybook_relay_leads", "1 while this relay holds the lease")
RESTARTS = Counter("tallybook_relay_restarts_total", "Times the relay started over from its checkpoint")
BATCH_SECONDS = Histogram("tallybook_relay_batch_seconds", "From reading a batch to its checkpoint")

PUBLISHED = """
SELECT h.position AS head, s.position AS published, s.leader, s.incarnation,
    coalesce(s.lease_until > clock_timestamp(), false) AS led, coalesce((
    SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float FROM log.events e
    WHERE e.position = s.position + 1), 0) AS lag_s
FROM log.head h, relay.state s
"""
"""How far publishing has come, and the age of the oldest event that is not published."""

PASSING = (*CONNECTION_ERRORS, KafkaError)
"""What a server that is away makes: said in one line, for a traceback would tell nothing."""

KNOWN_KEYS_MAX = 200_000

ROWS_AT_ONCE = 200
"""So many events are put into batches before others get to run."""

Partition = tuple[str, int]


class PartitionsRefused(Exception):
    """The log was published with another number of partitions: keys would move, and their order be lost."""


class Page(NamedTuple):
    """Events read, and put into batches: what to send, the last position of each partition, and of all."""

    batches: dict[Partition, list[BatchBuilder]]
    touched: dict[Partition, int]
    upto: int


class Relay:
    """One relay process: a follower until it gets the lease, then the publisher. `run` ends when it is cancelled."""

    def __init__(self, settings: Settings, *, dsn: str, bootstrap: str, streams: dict[str, Stream[object]]) -> None:
        prefix = settings.kafka.topic_prefix
        self._settings = settings
        self._dsn = dsn
        self._bootstrap = bootstrap
        self._source = f"tallybook/{settings.general.cell}".encode()
        self._topics = {name: full_name(prefix, stream.topic) for name, stream in streams.items()}
        self._ledger = full_name(prefix, TopicName.LEDGER)
        self._partitions = settings.kafka.partitions
        self._partition_of_key: dict[str, int] = {}
        self._last: dict[Partition, int] = {}
        self.leads = False
        self.position = 0
        self.last_error: str | None = None
        topics = [*self._topics.values(), self._ledger]
        self._kafka = KafkaProbe(bootstrap, topics, timeout_ms=settings.telemetry.health_timeout_ms)
        self._stall = Stall(settings.telemetry.stalled_ms)

    async def run(self) -> None:
        """Follow or lead until cancelled; every failure starts over from the checkpoint after a pause."""
        pause_s = self._settings.relay.restart_backoff_ms / 1000
        while True:
            try:
                await self._lead_once()
            except LeaseLost as lost:
                log.warning("relay_lease_lost", why=str(lost))
            except Exception as error:
                # Whatever it was, the checkpoint is right: nothing is known to be sent that was not acknowledged.
                first = _first_of(error)
                self.last_error = f"{type(first).__name__}: {first}"
                if isinstance(first, (*PASSING, PartitionsRefused)):
                    log.error("relay_starts_over", error=self.last_error)
                else:
                    log.exception("relay_starts_over", error=type(first).__name__)
            finally:
                self.leads = False
                LEADS.set(0)
            RESTARTS.inc()
            await asyncio.sleep(pause_s)

    async def health(self, connection: "Connection | None") -> tuple[PartHealth, ...]:
        """Whether brokers answer and the log is being published; how far that is behind, by the log itself."""
        kafka = await timed_part("kafka", self._kafka.check)
        row = None if connection is None else await connection.fetchrow(PUBLISHED)
        if row is None:
            return kafka, PartHealth(name="relay", ok=self.last_error is None, detail=self.last_error or "")
        lag = row["head"] - row["published"]
        LAG_EVENTS.set(lag)
        LAG_SECONDS.set(row["lag_s"])
        problem = self.last_error or ("" if not self.leads else self._stall.why(row["published"], lag))
        lease = told_of_lease(led=row["led"], leader=row["leader"], incarnation=row["incarnation"])
        if not row["led"]:
            problem = problem or lease
        detail = problem or lease or ("leads" if self.leads else "follows")
        return kafka, PartHealth(name="relay", ok=not problem, detail=detail, lag_events=lag, lag_s=row["lag_s"])

    async def _lead_once(self) -> None:
        settings = self._settings.relay
        connection: Connection = await asyncpg.connect(
            self._dsn,
            timeout=self._settings.database.connect_timeout_s,
            command_timeout=settings.lease_ms / 1000,
            server_settings=server_settings(Role.RELAY, self._settings.database),
        )
        woken = asyncio.Event()
        try:
            await connection.add_listener(CHANNEL, lambda *_: woken.set())
            leadership = await self._await_lease(connection)
            log.info("relay_leads", epoch=leadership.epoch, position=leadership.position)
            await self._prepare(connection, leadership)
            async with self._producer() as producer, asyncio.TaskGroup() as tasks:
                self.leads = True
                self.last_error = None
                LEADS.set(1)
                lock = asyncio.Lock()
                tasks.create_task(self._keep_lease(connection, lock, leadership.epoch))
                tasks.create_task(self._publish(connection, lock, producer, leadership, woken))
        except* LeaseLost as lost:
            raise LeaseLost(str(_first_of(lost))) from None
        finally:
            # Not `close`: it waits for a server that may be gone, and ending the session gives the lease back.
            connection.terminate()

    async def _await_lease(self, connection: Connection) -> Leadership:
        while True:
            leadership = await try_lead(connection, lease_ms=self._settings.relay.lease_ms)
            if leadership is not None:
                return leadership
            await self._follow(connection)
            await asyncio.sleep(self._settings.relay.poll_interval_ms / 1000)

    async def _follow(self, connection: Connection) -> None:
        """Another one leads: what went wrong here is over. Unless this one could not take its place, or what is seen is
        but the lease of its own last try.
        """
        row = await connection.fetchrow("SELECT leader, partitions FROM relay.state")
        assert row is not None, "the relay's state is one row"
        try:
            self._refuse_other_partitions(row["partitions"])
        except PartitionsRefused as refusal:
            self.last_error = f"{type(refusal).__name__}: {refusal}"
        else:
            if row["leader"] != relay_name():
                self.last_error = None

    def _refuse_other_partitions(self, published_with: int | None) -> None:
        partitions = self._settings.kafka.partitions
        if published_with not in (None, partitions):
            raise PartitionsRefused(
                f"published with {published_with} partitions before, the settings say {partitions}: set "
                "TALLYBOOK_KAFKA_PARTITIONS to what it was, or run `tallybook relay republish`, so that every consumer "
                "starts over"
            )

    async def _prepare(self, connection: Connection, leadership: Leadership) -> None:
        """Topics exist, the partition count is the one published under, and the last positions are known."""
        kafka = self._settings.kafka
        self._refuse_other_partitions(leadership.partitions)
        await ensure_topics(
            self._bootstrap,
            prefix=kafka.topic_prefix,
            partitions=kafka.partitions,
            replication_factor=kafka.replication_factor,
            request_timeout_ms=kafka.request_timeout_ms,
        )
        if leadership.partitions is None:
            await connection.execute(
                "UPDATE relay.state SET partitions = $2 WHERE epoch = $1", leadership.epoch, kafka.partitions
            )
        rows = await connection.fetch("SELECT topic, partition, position FROM relay.published")
        self._last = {(row["topic"], row["partition"]): row["position"] for row in rows}
        self.position = leadership.position

    @contextlib.asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,
            acks="all",
            max_batch_size=1_048_576 - 4_096,
            request_timeout_ms=self._settings.kafka.request_timeout_ms,
        )
        await producer.start()
        try:
            yield producer
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), timeout=self._settings.relay.send_timeout_ms / 1000)

    async def _keep_lease(self, connection: Connection, lock: asyncio.Lock, epoch: int) -> None:
        lease_ms = self._settings.relay.lease_ms
        while True:
            await asyncio.sleep(lease_ms / 3000)
            async with lock:
                await renew(connection, epoch, lease_ms=lease_ms)

    async def _publish(
        self,
        connection: Connection,
        lock: asyncio.Lock,
        producer: AIOKafkaProducer,
        leadership: Leadership,
        woken: asyncio.Event,
    ) -> None:
        settings = self._settings.relay
        limit = settings.batch_max_events
        headers = HeaderWriter(self._source, leadership.incarnation)

        async def following(after: int) -> Page | None:
            async with lock:
                rows = await connection.fetch(READ, after, limit)
            return await self._page(producer, rows, headers) if rows else None

        page = await following(self.position)
        while True:
            if page is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), timeout=settings.poll_interval_ms / 1000)
                woken.clear()
                page = await following(self.position)
                continue
            with BATCH_SECONDS.time():
                # The next page is made while the brokers take this one; it is sent only after this one is safe.
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._send_in_rounds(producer, page.batches))
                    preparing = tasks.create_task(following(page.upto))
                await self._checkpoint(connection, lock, leadership.epoch, page)
            page = preparing.result()

    async def _page(
        self, producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record], header_writer: HeaderWriter
    ) -> Page:
        """The records of these events, in batches. Whatever is sent after this has to be sent after these."""
        batches: dict[Partition, list[BatchBuilder]] = {}
        touched: dict[Partition, int] = {}
        last = self._last
        recorded_at: datetime | None = None
        timestamp_ms = 0
        for nth, row in enumerate(rows):
            if nth % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)  # the page before this one is being sent meanwhile
            event = recorded(row)
            if event.recorded_at != recorded_at:  # one for all events of a commit
                recorded_at = event.recorded_at
                timestamp_ms = int(recorded_at.timestamp() * 1000)
            headers = header_writer.write(event)
            number = self._partition(event.partition_key)
            key = event.partition_key.encode()
            targets = [(self._topics[event.stream_type], event.payload)]
            if event.postings is not None:
                targets.append((self._ledger, event.postings))
            for topic, value in targets:
                place = (topic, number)
                complete = [*headers, (PREVIOUS_POSITION, b"%d" % last.get(place, BEFORE_FIRST))]
                queue = batches.get(place)
                if queue is None:
                    queue = batches[place] = [producer.create_batch()]
                if queue[-1].append(key=key, value=value, timestamp=timestamp_ms, headers=complete) is None:
                    queue.append(producer.create_batch())
                    if queue[-1].append(key=key, value=value, timestamp=timestamp_ms, headers=complete) is None:
                        raise RuntimeError(f"event {event.event_id} is larger than a Kafka batch")
                last[place] = touched[place] = event.position
        return Page(batches, touched, int(rows[-1]["position"]))

    async def _send_in_rounds(self, producer: AIOKafkaProducer, batches: dict[Partition, list[BatchBuilder]]) -> None:
        """One batch per partition at a time: were a second one under way when the first fails, it could land without
        it, and a consumer would have to take the gap for a loss.
        """
        async with asyncio.timeout(self._settings.relay.send_timeout_ms / 1000):
            for nth in range(max(map(len, batches.values()))):
                acknowledgements = [
                    await producer.send_batch(queue[nth], topic, partition=number)
                    for (topic, number), queue in batches.items()
                    if nth < len(queue)
                ]
                await asyncio.gather(*acknowledgements)
        for (topic, _), queue in batches.items():
            PUBLISHED_RECORDS.labels(topic).inc(sum(batch.record_count() for batch in queue))

    def _partition(self, key: str) -> int:
        known = self._partition_of_key.get(key)
        if known is None:
            if len(self._partition_of_key) >= KNOWN_KEYS_MAX:
                self._partition_of_key.clear()
            known = self._partition_of_key[key] = partition_of(key.encode(), self._partitions)
        return known

    async def _checkpoint(
        self,
        connection: Connection,
        lock: asyncio.Lock,
        epoch: int,
        page: Page,
    ) -> None:
        async with lock:
            moved = await connection.fetchval(
                """WITH moved AS (UPDATE relay.state SET position = $2 WHERE epoch = $1 RETURNING 1),
                   kept AS (INSERT INTO relay.published (topic, partition, position)
                            SELECT t, p, x FROM unnest($3::text[], $4::int[], $5::bigint[]) AS u (t, p, x)
                            WHERE EXISTS (SELECT FROM moved)
                            ON CONFLICT (topic, partition) DO UPDATE SET position = excluded.position)
                   SELECT count(*) FROM moved""",
                epoch,
                page.upto,
                [topic for topic, _ in page.touched],
                [number for _, number in page.touched],
                list(page.touched.values()),
            )
        if not moved:
            raise LeaseLost(f"epoch {epoch} is over")
        self.position = page.upto
        self.last_error = None


def _first_of(error: BaseException) -> BaseException:
    """What broke first, where tasks broke together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
