"""An aggregator, one a process: it reads its partitions of usage and writes what they add up to.

Offsets are PostgreSQL's, in the transaction of what was counted; Kafka's group only says whose a partition is.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, Final, NamedTuple

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge, Histogram

from infra.database import CONNECTION_ERRORS, Connection, Role, server_settings
from infra.heartbeat import Stall
from infra.kafka.dead_letters import DeadLetters
from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import Settings
from infra.telemetry import PartHealth
from usage.aggregation import store
from usage.aggregation.fold import Folded, PartitionState, Read, fold, meters_named, read
from usage.aggregation.meters import Adoption, MeterKey, MeterSource
from usage.wire import METERING, topic_of

log = structlog.get_logger(__name__)

ROLE: Final = METERING
CONSUMER: Final = METERING
"""As dead letters name it."""
ATTEMPTS: Final = 1  # a fold is pure: what it could not count once it cannot count twice

EVENTS = Counter("tallybook_metering_events_total", "Events of usage that were read.")
COUNTED = Counter("tallybook_metering_counted_total", "Events of usage that were counted.")
DUPLICATES = Counter("tallybook_metering_duplicates_total", "Events of usage that had been counted before.")
CONFLICTS = Counter("tallybook_metering_conflicts_total", "Events under an id that counts with another content.")
DEAD = Counter("tallybook_metering_dead_letters_total", "Records of usage with something that could not be counted.")
OVERTAKEN = Counter("tallybook_metering_overtaken_total", "Polls that another aggregator had counted already.")
RESTARTS = Counter("tallybook_metering_restarts_total", "Times the aggregator started over.")
POLL_SECONDS = Histogram("tallybook_metering_poll_seconds", "Time to count and write one poll.")
LAG = Gauge("tallybook_metering_lag_records", "Records of this process's partitions that are not counted yet.")
IDS = Gauge("tallybook_metering_ids", "Ids that this process remembers.")


Polled = Mapping[PartitionState, Sequence[Any]]
"""Records of each partition, in order; there are none without."""
KNOWN_METERS_MAX: Final = 100_000
LOST_LOOK_S: Final = 2.0
"""How soon an aggregator notices that a lost partition is to go on (s)."""
BURIED_AT_ONCE: Final = 8


class UsageLost(Exception):
    """Records were deleted before they were counted, or the topic was made anew; the message says what to do."""


class Lost(NamedTuple):
    """A partition that is not counted, since its next record is gone: that record's offset, and what is to be told."""

    next_offset: int
    why: str


PASSING: Final = (KafkaError, UsageLost, store.Overtaken, *CONNECTION_ERRORS)


class Aggregator:
    """Reads, folds and writes. `run` until cancelled."""

    def __init__(
        self, settings: Settings, *, dsn: str, bootstrap: str, meters: MeterSource, dead_letters: DeadLetters
    ) -> None:
        self._settings = settings
        self._dsn = dsn
        self._bootstrap = bootstrap
        self._source = meters
        self._dead_letters = dead_letters
        self._topic = topic_of(settings.kafka.topic_prefix)
        self._states: dict[int, PartitionState] = {}
        self._lost: dict[int, Lost] = {}
        self._looked_at_lost = 0.0
        self._checked: dict[MeterKey, float] = {}
        self._ends: dict[int, int] = {}
        self._stall = Stall(settings.telemetry.stalled_ms)
        self._problem = "starting"

    async def run(self) -> None:
        """Count until cancelled; whatever breaks, it starts over from what the database holds."""
        tolerate_unreadable_batches()
        while True:
            try:
                await self._consume()
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                # A client that gives up a future of its own raises the same error in whoever waits for it.
                if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                    raise
                self._problem = f"{type(error).__name__}: {error}"
                RESTARTS.inc()
                if isinstance(error, PASSING):
                    log.warning("aggregator_starts_over", why=self._problem)
                else:
                    log.exception("aggregator_starts_over")
            await asyncio.sleep(self._settings.metering.restart_backoff_ms / 1000)

    async def _consume(self) -> None:
        settings = self._settings
        connection: Connection = await asyncpg.connect(
            self._dsn,
            timeout=settings.database.connect_timeout_s,
            server_settings=server_settings(Role.METERING, settings.database)
            | {"idle_in_transaction_session_timeout": f"{settings.metering.idle_transaction_timeout_ms}ms"},
        )
        consumer = self._consumer()
        try:
            await connection.execute(store.TEMPORARY)
            await consumer.start()
            forget = _Forget(self._states, self._lost)
            consumer.subscribe([self._topic], listener=forget)
            self._states.clear()
            while True:
                await self._poll(consumer, connection)
                if forget.joined and self._lag() == 0:
                    self._problem = ""
        finally:
            self._states.clear()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(consumer.stop(), timeout=settings.kafka.session_timeout_ms / 1000)
            # Not `close`: it waits for a server that may be gone, and a poll is committed or it is not.
            connection.terminate()

    def _consumer(self) -> AIOKafkaConsumer:
        kafka = self._settings.kafka
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=f"{self._topic}.{CONSUMER}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.session_timeout_ms // 3,
            rebalance_timeout_ms=kafka.rebalance_timeout_ms,
            request_timeout_ms=kafka.request_timeout_ms,
            metadata_max_age_ms=kafka.metadata_max_age_ms,
            max_poll_records=self._settings.metering.poll_max_records,
        )

    async def _poll(self, consumer: AIOKafkaConsumer, connection: Connection) -> None:
        settings = self._settings.metering
        assigned = {place.partition for place in consumer.assignment()}
        if assigned != self._states.keys() | self._lost.keys() and not await self._open(consumer, connection, assigned):
            return
        await self._look_at_lost(connection)
        polled: Mapping[TopicPartition, Sequence[Any]] = await consumer.getmany(
            timeout_ms=settings.poll_timeout_ms, max_records=settings.poll_max_records
        )
        # Nothing is left in `_states` after a rebalance meanwhile: then all is read again, from the checkpoints on.
        held = dict(self._states)
        records = {
            held[place.partition]: after
            for place, found in polled.items()
            if place.partition in held
            and (after := [record for record in found if record.offset >= held[place.partition].next_offset])
        }
        self._ends = {
            place.partition: end for place in consumer.assignment() if (end := consumer.highwater(place)) is not None
        }
        if records:
            await self._check_gaps(consumer, records)
            for portion in _portions(records, settings.poll_max_bytes):
                await self._count(connection, portion)
            self._problem = ""  # only now: what fails at every poll would else be well in between
        else:
            await self._pass_over(consumer, connection)
        LAG.set(self._lag())
        IDS.set(sum(state.seen.count for state in self._states.values()))

    async def _open(self, consumer: AIOKafkaConsumer, connection: Connection, assigned: set[int]) -> bool:
        """Take on partitions where the database stands, before anything is read. False: they changed meanwhile."""
        self._states.clear()
        self._lost.clear()
        places = [TopicPartition(self._topic, partition) for partition in sorted(assigned)]
        if not places:
            await asyncio.sleep(0)
            return {place.partition for place in consumer.assignment()} == assigned
        beginnings = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        loaded: dict[int, PartitionState] = {}
        lost: dict[int, Lost] = {}
        for place in places:
            state = await store.load(
                connection, place.partition, self._settings.usage.partitions, beginning=beginnings[place]
            )
            if beginnings[place] <= state.next_offset <= ends[place]:
                loaded[place.partition] = state
            else:
                why = (
                    f"{self._topic}/{place.partition} holds the records {beginnings[place]} to {ends[place]}, and the "
                    f'next to be counted is {state.next_offset}: see docs/guides/usage.md, "When usage is lost"'
                )
                lost[place.partition] = Lost(state.next_offset, why)
        if {place.partition for place in consumer.assignment()} != assigned:
            return False
        for place in places:
            if place.partition in loaded:
                consumer.resume(place)
                consumer.seek(place, loaded[place.partition].next_offset)
            else:
                consumer.pause(place)
                log.critical("usage_lost", why=lost[place.partition].why)
        self._states.update(loaded)
        self._lost.update(lost)
        self._looked_at_lost = monotonic()
        log.info("usage_partitions_taken", partitions=sorted(assigned))
        return True

    async def _look_at_lost(self, connection: Connection) -> None:
        """Whether somebody has let a partition go on from elsewhere: then all are opened again."""
        if self._lost and monotonic() - self._looked_at_lost > LOST_LOOK_S:
            self._looked_at_lost = monotonic()
            offsets = await store.next_offsets(connection, list(self._lost))
            if any(offsets.get(partition) != each.next_offset for partition, each in self._lost.items()):
                self._states.clear()
                self._lost.clear()

    async def _check_gaps(self, consumer: AIOKafkaConsumer, records: Polled) -> None:
        """Offsets may be left out (a transaction's end takes one), but not because the records there are gone."""
        skipped = {
            TopicPartition(self._topic, state.partition): state.next_offset
            for state, found in records.items()
            if found[0].offset > state.next_offset
        }
        if not skipped:
            return
        for place, beginning in (await consumer.beginning_offsets(list(skipped))).items():
            if beginning > skipped[place]:
                raise UsageLost(
                    f"{self._topic}/{place.partition} begins at {beginning}, and the next record to be counted was "
                    f'{skipped[place]}: see docs/guides/usage.md, "When usage is lost"'
                )

    async def _pass_over(self, consumer: AIOKafkaConsumer, connection: Connection) -> None:
        """Offsets at a partition's end at which no record will be: a closing that waits for the end must not wait."""
        passed = []
        for partition, state in list(self._states.items()):
            position = await consumer.position(TopicPartition(self._topic, partition))
            if position > state.next_offset:
                passed.append((state, Folded(position)))
        if passed:
            await self._write(connection, passed, [])

    async def _count(self, connection: Connection, records: Polled) -> None:
        start = perf_counter()
        found = {state: read(polled) for state, polled in records.items()}
        adopted = await self._adopt(connection, found)
        polled = [(state, fold(state, each, each[-1].record.offset + 1)) for state, each in found.items()]
        await self._write(connection, polled, adopted)
        POLL_SECONDS.observe(perf_counter() - start)
        for _, folded in polled:
            EVENTS.inc(folded.events)
            COUNTED.inc(folded.counted)
            DUPLICATES.inc(folded.duplicates)
            CONFLICTS.inc(len(folded.conflicts))
            DEAD.inc(len(folded.refused))

    async def _adopt(
        self, connection: Connection, found: Mapping[PartitionState, Sequence[Read]]
    ) -> list[tuple[int, Adoption]]:
        """Ask for meters that are unknown, or were looked at too long ago; take on what is new."""
        now, oldest = monotonic(), monotonic() - self._settings.metering.meters_max_age_ms / 1000
        named = {state: meters_named(each) for state, each in found.items()}
        wanted = {
            key
            for state, keys in named.items()
            for key in keys
            if self._checked.get(key, 0.0) <= oldest or not state.meters.knows(*key)
        }
        if not wanted:
            return []
        adopted: list[tuple[int, Adoption]] = []
        for tenant_id, version in await self._source.versions(connection, wanted):
            keys = {(tenant_id, version.meter_id), (tenant_id, version.code)}
            for state in found:
                if keys & named[state] and state.meters.lacks(tenant_id, version):
                    adoption = Adoption(tenant_id, version, state.next_offset)
                    state.adopt([adoption])
                    adopted.append((state.partition, adoption))
        if len(self._checked) > KNOWN_METERS_MAX:
            self._checked.clear()
        self._checked.update(dict.fromkeys(wanted, now))
        return adopted

    async def _write(
        self,
        connection: Connection,
        polled: Sequence[tuple[PartitionState, Folded]],
        adopted: Sequence[tuple[int, Adoption]],
    ) -> None:
        try:
            async with connection.transaction():
                await store.move(connection, [(state, folded.next_offset) for state, folded in polled])
                # Only now: what an overtaken aggregator could not count, another one may have.
                await self._bury([each for _, folded in polled for each in folded.refused])
                await store.write(connection, polled, adopted)
        except BaseException as error:
            self._states.clear()  # whether it was committed is unknown: what the database holds is read again
            if isinstance(error, store.Overtaken):
                OVERTAKEN.inc()
            raise
        for state, folded in polled:
            folded.commit(state)

    async def _bury(self, refused: Sequence[tuple[Any, Exception]]) -> None:
        """Some at a time: who sends nothing else must not hold the partition up for longer than it takes."""
        for start in range(0, len(refused), BURIED_AT_ONCE):
            await asyncio.gather(
                *(
                    self._dead_letters.bury(record, consumer=CONSUMER, error=error, attempts=ATTEMPTS)
                    for record, error in refused[start : start + BURIED_AT_ONCE]
                )
            )

    def _lag(self) -> int:
        held = self._states
        return sum(max(0, end - held[place].next_offset) for place, end in self._ends.items() if place in held)

    def health(self) -> PartHealth:
        """Whether this aggregator counts."""
        lag = self._lag()
        place = sum(state.next_offset for state in self._states.values())
        lost = "; ".join(each.why for each in self._lost.values())
        problem = lost or self._problem or self._stall.why(place, lag)
        return PartHealth(name=ROLE, ok=not problem, detail=problem, lag_events=lag)


def _portions(records: Polled, bytes_max: int) -> Iterator[Polled]:
    """A poll in parts of about so many bytes: one transaction each."""
    portion: dict[PartitionState, list[Any]] = {}
    size = 0
    for state, found in records.items():
        for record in found:
            if size >= bytes_max:
                yield portion
                portion, size = {}, 0
            portion.setdefault(state, []).append(record)
            size += len(record.value or b"")
    yield portion


class _Forget(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """After any rebalance every partition is opened again: another aggregator may have moved its checkpoint."""

    def __init__(self, *held: dict[int, Any]) -> None:
        self._held = held
        self.joined = False

    def on_partitions_revoked(self, revoked: object) -> None:
        for each in self._held:
            each.clear()

    def on_partitions_assigned(self, assigned: object) -> None:
        for each in self._held:
            each.clear()
        self.joined = True
