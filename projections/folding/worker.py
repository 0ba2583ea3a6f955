"""The role `projections`: one consumer per projection, each folding what Kafka brings into its read models.

Offsets are the database's: a partition that is assigned is read from its checkpoint on, whatever Kafka remembers.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, Final

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge, Histogram

from infra.database import CONNECTION_ERRORS, Connection, Role, open_pool, server_settings
from infra.heartbeat import Stall
from infra.kafka.dead_letters import DeadLetters
from infra.kafka.probe import KafkaProbe
from infra.kafka.topics import full_name
from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import Settings
from infra.telemetry import PartHealth, timed_part
from projections.folding.live import Live, NewerIncarnation, Overtaken, StaleReadModel
from projections.folding.refill import Refill
from projections.folding.tables import owner_connection, prepare
from projections.folding.takeover import adopt, begin_refold, claim_stale, finish_refold, has_caught_up
from projections.reached import Reached, reached
from projections.read_model import Projection

log = structlog.get_logger(__name__)

RECORDS = Counter("tallybook_projections_records_total", "Records read", ["projection"])
FACTS = Counter("tallybook_projections_facts_total", "Facts folded into rows", ["projection"])
DUPLICATES = Counter("tallybook_projections_duplicates_total", "Records skipped: folded before", ["projection"])
DEAD_LETTERS = Counter("tallybook_projections_dead_letters_total", "Records that no rule could take", ["projection"])
LOSSES = Counter("tallybook_projections_losses_total", "Gaps found: a partition stands still", ["projection"])
LOST = Gauge("tallybook_projections_lost_partitions", "Partitions that stand still after a gap", ["projection"])
HELD = Gauge("tallybook_projections_held_keys", "Keys that wait for a dead letter", ["projection"])
OVERTAKEN = Counter("tallybook_projections_overtaken_total", "Batches dropped: another worker wrote", ["projection"])
RESTARTS = Counter("tallybook_projections_restarts_total", "Times a projection started over", ["projection"])
BATCH_SECONDS = Histogram("tallybook_projections_batch_seconds", "From a poll to its commit", ["projection"])
LAG_EVENTS = Gauge("tallybook_projections_lag_events", "Events in the log that are not folded yet", ["projection"])
LAG_SECONDS = Gauge("tallybook_projections_lag_seconds", "Age of the oldest event not folded yet", ["projection"])


ROLE: Final = "projections"


PASSING = (*CONNECTION_ERRORS, KafkaError)
"""What a server that is away makes: said in one line, for a traceback would tell nothing."""


class TopicAway(Exception):
    """The topic was dropped: leave the group, and join it anew when the topic is back."""


KEYPLAN: Final = {"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off"}
"""A batch's rows are found by their keys, however few rows a table had when it was last looked at."""


class ProjectionWorker:
    """Consumes one projection's topic. `run` ends when it is cancelled; every failure starts over."""

    def __init__(
        self,
        projection: Projection,
        settings: Settings,
        *,
        dsn: str,
        owner_dsn: str,
        bootstrap: str,
        dead_letters: DeadLetters,
    ) -> None:
        prefix = settings.kafka.topic_prefix
        self.projection = projection
        self._settings = settings
        self._dsn = dsn
        self._owner_dsn = owner_dsn
        self._bootstrap = bootstrap
        self._topic = full_name(prefix, projection.topic)
        self._group = full_name(prefix, f"projections.{projection}")
        self.live = Live(
            projection,
            topic=self._topic,
            dead_letters=dead_letters,
            cached_rows=settings.projections.cached_rows,
        )
        self._open: set[int] = set()
        self._problem = "starting"
        self._stall = Stall(settings.telemetry.stalled_ms)
        self._look_at = 0.0
        self._refill = Refill(projection, settings, owner_dsn=owner_dsn)

    @property
    def problem(self) -> str:
        """What keeps this projection from folding; empty while it does."""
        return "; ".join(
            [*(f"lost: {why}" for why in self.live.lost.values()), *filter(None, [self._problem, self._refill.problem])]
        )

    async def run(self) -> None:
        """Fold until cancelled."""
        pause_s = self._settings.projections.restart_backoff_ms / 1000
        try:
            await self._start_over_and_over(pause_s)
        finally:
            await self._refill.stop()

    async def _start_over_and_over(self, pause_s: float) -> None:
        while True:
            try:
                await self._consume()
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                self._problem = f"{type(error).__name__}: {error}"
                RESTARTS.labels(self.projection).inc()
                if isinstance(error, TopicAway):
                    log.warning("topic_is_away", projection=self.projection.value, topic=self._topic)
                elif isinstance(error, StaleReadModel):
                    log.error("projection_is_another_releases", projection=self.projection.value, why=str(error))
                elif isinstance(error, PASSING):
                    log.error("projection_starts_over", projection=self.projection.value, why=self._problem)
                else:
                    log.exception("projection_starts_over", projection=self.projection.value)
            await asyncio.sleep(pause_s)

    async def _consume(self) -> None:
        connection: Connection = await asyncpg.connect(
            self._dsn,
            timeout=self._settings.database.connect_timeout_s,
            server_settings=server_settings(Role.PROJECTOR, self._settings.database) | KEYPLAN,
        )
        consumer = self._consumer()
        try:
            await self._load(connection)
            await consumer.start()
            await self._await_topic(consumer)
            forget = _Forget(self._open)
            consumer.subscribe([self._topic], listener=forget)
            self._open.clear()
            seen = False
            while True:
                # aiokafka may keep for ever the empty assignment that it made while a topic was away.
                known = bool(consumer.partitions_for_topic(self._topic))
                if seen and not known:
                    raise TopicAway(f"{self._topic} was deleted, as a republishing does; a relay makes it anew")
                seen = known
                await self._poll(consumer, connection)
                if forget.joined and self._has_read_all(consumer):
                    self._problem = ""
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(consumer.stop(), timeout=self._settings.kafka.session_timeout_ms / 1000)
            # Not `close`: it waits for a server that may be gone, and a batch is committed or it is not.
            connection.terminate()

    async def _await_topic(self, consumer: AIOKafkaConsumer) -> None:
        """The relay makes the topics; a consumer that joins before might not notice when they come."""
        while self._topic not in await consumer.topics():
            self._problem = f"{self._topic} is not there yet"
            await asyncio.sleep(self._settings.projections.poll_timeout_ms / 1000)

    def _consumer(self) -> AIOKafkaConsumer:
        kafka = self._settings.kafka
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.session_timeout_ms // 3,
            rebalance_timeout_ms=kafka.rebalance_timeout_ms,
            request_timeout_ms=kafka.request_timeout_ms,
            metadata_max_age_ms=self._settings.kafka.metadata_max_age_ms,
            max_poll_records=self._settings.projections.poll_max_records,
        )

    async def _poll(self, consumer: AIOKafkaConsumer, connection: Connection) -> None:
        settings = self._settings.projections
        assigned = _partitions(consumer)
        if assigned != self._open:
            # Before anything is read: where Kafka would begin is not where the tables stand.
            self._open.clear()
            checkpoints = await self.live.open(connection, sorted(assigned))
            if _partitions(consumer) != assigned:
                return  # a rebalance meanwhile: look again
            for partition, checkpoint in checkpoints.items():
                consumer.seek(TopicPartition(self._topic, partition), checkpoint.offset)
            self._open |= assigned
        polled: Mapping[TopicPartition, Sequence[Any]] = await consumer.getmany(
            timeout_ms=settings.poll_timeout_ms, max_records=settings.poll_max_records
        )
        # Nothing is left in `_open` after a rebalance meanwhile: then all is read again, from the checkpoints on.
        records = {place.partition: found for place, found in polled.items() if place.partition in self._open}
        if records:
            await self._project(connection, records)
        elif monotonic() >= self._look_at:
            self._look_at = monotonic() + self._settings.kafka.metadata_max_age_ms / 1000
            await self._look_for_incarnation(connection)
            if self.live.standing:
                await self._reload(connection)  # they may be filled, or who filled them may have died
        if self.live.filling and await has_caught_up(connection, self.projection, self._topic):
            await self._take_over(connection)

    def _has_read_all(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether nothing waits in the partitions of this worker, of which it may have none."""
        for place in consumer.assignment():
            end, checkpoint = consumer.highwater(place), self.live.checkpoints.get(place.partition)
            if end is None or checkpoint is None or checkpoint.offset < end:
                return False
        return True

    async def _project(self, connection: Connection, records: Mapping[int, Sequence[Any]]) -> None:
        labels = self.projection
        start = perf_counter()
        try:
            outcome = await self.live.project(connection, records)
        except Overtaken as overtaken:
            log.info("projection_overtaken", projection=labels.value, why=str(overtaken))
            OVERTAKEN.labels(labels).inc()
            await self._reload(connection)
            return
        except NewerIncarnation as newer:
            await self._follow(connection, newer.incarnation)
            await self._reload(connection)
            return
        self._problem = ""  # only now: what fails at every batch would else be well in between
        BATCH_SECONDS.labels(labels).observe(perf_counter() - start)
        RECORDS.labels(labels).inc(outcome.records)
        FACTS.labels(labels).inc(outcome.facts)
        DUPLICATES.labels(labels).inc(outcome.duplicates)
        DEAD_LETTERS.labels(labels).inc(outcome.dead_letters)
        HELD.labels(labels).set(len(self.live.held))
        for partition, why in outcome.lost.items():
            LOSSES.labels(labels).inc()
            log.critical("records_lost", projection=labels.value, partition=partition, why=why)
        LOST.labels(labels).set(len(self.live.lost))

    async def _reload(self, connection: Connection) -> None:
        self._open.clear()
        await self._load(connection)

    async def _load(self, connection: Connection) -> None:
        """Learn where to fold; what another release's rule made is left standing, and filled beside the rest."""
        await self.live.load(connection)
        if self.live.unclaimed:
            owner = await owner_connection(self._owner_dsn, self._settings.database)
            try:
                if self.live.filling:
                    await begin_refold(owner, self.projection, self.live.incarnation)
                else:
                    await claim_stale(owner, self.projection, self._topic)
            finally:
                owner.terminate()
            await self.live.load(connection)
        self._refill.see_to(self.live.standing)

    async def _look_for_incarnation(self, connection: Connection) -> None:
        """Ask the relay. A topic that was dropped and published anew while this worker stood where the new one ends
        would else tell it nothing, until something new comes.
        """
        newest = await connection.fetchval("SELECT incarnation FROM relay.state")
        if newest > self.live.incarnation > 0:
            await self._follow(connection, newest)
            await self._reload(connection)

    async def _follow(self, connection: Connection, incarnation: int) -> None:
        if self.live.incarnation == 0:
            await adopt(connection, self.projection, incarnation)
            return
        owner = await owner_connection(self._owner_dsn, self._settings.database)
        try:
            await begin_refold(owner, self.projection, incarnation)
        finally:
            owner.terminate()

    async def _take_over(self, connection: Connection) -> None:
        owner = await owner_connection(self._owner_dsn, self._settings.database)
        try:
            await finish_refold(owner, self.projection, self._topic, self._settings.database)
        except asyncpg.LockNotAvailableError:
            return  # somebody reads a view for longer than we may hold others up: after the next batch
        finally:
            owner.terminate()
        await self._reload(connection)

    def _remarks(self) -> Iterator[str]:
        if self.live.held:
            yield f"{len(self.live.held)} keys wait for dead letters"
        if self.live.filling:
            yield f"folds incarnation {self.live.incarnation} anew; the tables before it are shown meanwhile"
        if self.live.standing:
            yield f"{', '.join(self.live.standing)} filled beside the live ones: {self._refill.progress}"

    def health(self, reached: Reached | None) -> PartHealth:
        """Whether this projection folds; how far it is behind is told by the log, not by what came from Kafka."""
        problem, detail = self.problem, "; ".join(self._remarks())
        if reached is None:
            return PartHealth(name=f"projections.{self.projection}", ok=not problem, detail=problem or detail)
        LAG_EVENTS.labels(self.projection).set(reached.lag_events)
        LAG_SECONDS.labels(self.projection).set(reached.lag_s)
        if not self.live.filling and not self.live.standing:
            problem = problem or self._stall.why(reached.position, reached.published - reached.position)
        return PartHealth(
            name=f"projections.{self.projection}",
            ok=not problem,
            detail=problem or detail,
            lag_events=reached.lag_events,
            lag_s=reached.lag_s,
        )


def _is_cancelled() -> bool:
    """Whether the running task is to end. A client that gives up a future of its own raises the same error in whoever
    waits for it; a worker that took that for its end would be gone without a word.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _partitions(consumer: AIOKafkaConsumer) -> set[int]:
    return {place.partition for place in consumer.assignment()}


class _Forget(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """After any rebalance every partition is opened again: another worker may have moved its checkpoint."""

    def __init__(self, opened: set[int]) -> None:
        self._opened = opened
        self.joined = False

    def on_partitions_revoked(self, revoked: object) -> None:
        self._opened.clear()

    def on_partitions_assigned(self, assigned: object) -> None:
        self._opened.clear()
        self.joined = True


class Projections:
    """The role: all projections side by side in one process."""

    def __init__(self, settings: Settings, *, dsn: str, bootstrap: str, owner_dsn: str | None = None) -> None:
        self._settings = settings
        self._dsn = dsn
        self._owner_dsn = owner_dsn or dsn
        self._bootstrap = bootstrap
        self.workers: list[ProjectionWorker] = []
        prefix = settings.kafka.topic_prefix
        topics = [full_name(prefix, projection.topic) for projection in Projection]
        self._kafka = KafkaProbe(bootstrap, topics, timeout_ms=settings.telemetry.health_timeout_ms)

    async def run(self) -> None:
        """Fold until cancelled; a batch under way is then committed, or dropped whole."""
        settings = self._settings
        tolerate_unreadable_batches()
        await prepare(self._owner_dsn, settings.database)
        pool = await open_pool(self._dsn, Role.PROJECTOR, settings.database)
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", request_timeout_ms=settings.kafka.request_timeout_ms
        )
        await producer.start()
        try:
            dead_letters = DeadLetters(pool, producer, topic_prefix=settings.kafka.topic_prefix)
            self.workers = [
                ProjectionWorker(
                    projection,
                    settings,
                    dsn=self._dsn,
                    owner_dsn=self._owner_dsn,
                    bootstrap=self._bootstrap,
                    dead_letters=dead_letters,
                )
                for projection in Projection
            ]
            async with asyncio.TaskGroup() as tasks:
                for worker in self.workers:
                    tasks.create_task(worker.run())
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(producer.stop(), timeout=settings.kafka.session_timeout_ms / 1000)
            pool.terminate()

    async def health(self, connection: "Connection | None") -> tuple[PartHealth, ...]:
        """Kafka, and one part per projection."""
        kafka = await timed_part("kafka", self._kafka.check)
        if not self.workers:
            return kafka, PartHealth(name=ROLE, ok=False, detail="starting")
        found = {} if connection is None else await reached(connection, self._settings.kafka.topic_prefix, ages=True)
        return kafka, *(worker.health(found.get(worker.projection)) for worker in self.workers)


async def run(settings: Settings, *, dsn: str, bootstrap: str, owner_dsn: str | None = None) -> None:
    """The role's entry point: fold until cancelled."""
    await Projections(settings, dsn=dsn, bootstrap=bootstrap, owner_dsn=owner_dsn).run()
