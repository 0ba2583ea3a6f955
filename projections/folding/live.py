"""One projection as one process folds it: from records to rows and checkpoint, in one transaction.

The checkpoint is moved by compare-and-set, so a worker that has lost a partition cannot write; the projection's row is
held FOR SHARE, so a batch cannot land in a table that a rebuild has just swapped out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import structlog

from infra.database import Connection
from infra.kafka.records import BEFORE_FIRST, ConsumerRecord, Delivered, NotOurRecord, delivered
from projections.catalogue import read_models_of
from projections.folding.facts import delivered_fact
from projections.folding.fold import CachedFold, Poison
from projections.folding.row_store import load, upsert
from projections.folding.tables import Target, layout_of
from projections.read_model import Fact, Projection

log = structlog.get_logger(__name__)

ATTEMPTS = 1  # a rule is pure: what it could not take once it cannot take twice
ERROR_CHARS_MAX = 500


class Overtaken(Exception):
    """Another worker moved a checkpoint, or a rebuild swapped tables: load everything again. Nothing was written."""


class NewerIncarnation(Exception):
    """The topic was published anew: its facts are folded anew, into tables of their own."""

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        super().__init__(f"incarnation {incarnation}")


class StaleReadModel(Exception):
    """A live table was made by another release's rule; a rebuild must come first."""


class DeadLetters(Protocol):
    """Where records go that cannot be folded."""

    async def bury(self, record: ConsumerRecord, *, consumer: str, error: BaseException, attempts: int) -> None:
        """Keep the record with its origin and error. Raises if it cannot."""
        ...


class Checkpoint(NamedTuple):
    """How far a partition has come: the last position that was folded, and the next record to read."""

    position: int
    offset: int


class Held(NamedTuple):
    """A key that waits for a dead letter."""

    partition: int
    since_position: int
    error: str


@dataclass(slots=True)
class Projected:
    """What a batch came to."""

    records: int = 0
    facts: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    lost: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Batch:
    """Records accepted, as facts, with what the checkpoints become."""

    facts: list[Fact] = field(default_factory=list)
    origins: dict[int, ConsumerRecord] = field(default_factory=dict)  # by position
    moved: dict[int, Checkpoint] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    buried: list[tuple[ConsumerRecord, BaseException]] = field(default_factory=list)
    outcome: Projected = field(default_factory=Projected)


class Live:
    """State of one projection in this process. Call `load` first and after Overtaken; `open` before a partition."""

    def __init__(
        self,
        projection: Projection,
        *,
        topic: str,
        dead_letters: DeadLetters,
        cached_rows: int,
    ) -> None:
        self.projection = projection
        self.models = read_models_of(projection)
        self._topic = topic
        self._dead_letters = dead_letters
        self._fold = CachedFold(self.models, cached_rows=cached_rows)
        self._targets: dict[str, Target] = {}
        self._epoch = -1
        self.fold = 0
        self.incarnation = 0
        self.filling = False
        self.checkpoints: dict[int, Checkpoint] = {}
        self.held: dict[str, Held] = {}
        self.lost: dict[int, str] = {}

    async def load(self, connection: Connection) -> None:
        """Learn which tables to fill, from which incarnation. Raises StaleReadModel."""
        self._fold.forget()
        self.checkpoints.clear()
        row = await connection.fetchrow(
            "SELECT epoch, fold, incarnation, next_fold, next_incarnation FROM read.projections WHERE name = $1",
            self.projection.value,
        )
        if row is None:
            raise StaleReadModel(f"{self.projection} has no tables yet: run `tallybook migrate`")
        self._epoch = row["epoch"]
        self.filling = row["next_fold"] is not None
        self.fold = row["next_fold"] if self.filling else row["fold"]
        self.incarnation = row["next_incarnation"] if self.filling else row["incarnation"]
        records = await connection.fetch(
            "SELECT name, layout, table_version, next_table_version FROM read.models WHERE projection = $1",
            self.projection.value,
        )
        known = {record["name"]: record for record in records}
        stale = [
            model.name
            for model in self.models
            if model.name not in known or known[model.name]["layout"] != layout_of(model)
        ]
        if stale:
            raise StaleReadModel(f"{', '.join(stale)}: run `tallybook projections rebuild {' '.join(stale)}`")
        version = "next_table_version" if self.filling else "table_version"
        self._targets = {model.name: Target(model, known[model.name][version]) for model in self.models}
        holds = await connection.fetch(
            "SELECT partition_key, partition, since_position, error FROM read.held_keys "
            "WHERE projection = $1 AND fold = $2",
            self.projection.value,
            self.fold,
        )
        self.held = {hold["partition_key"]: Held(*hold[1:]) for hold in holds}

    async def open(self, connection: Connection, partitions: Sequence[int]) -> dict[int, Checkpoint]:
        """Take on these partitions and no others; their checkpoints (made where there are none) say where to read on.

        What was kept in memory is forgotten: others may have written since.
        """
        self._fold.forget()
        self.lost.clear()
        await connection.execute(
            """INSERT INTO read.checkpoints (projection, fold, partition, topic, incarnation, position, kafka_offset)
               SELECT $1, $2, p, $3, $4, 0, 0 FROM unnest($5::int[]) AS p ON CONFLICT DO NOTHING""",
            self.projection.value,
            self.fold,
            self._topic,
            self.incarnation,
            list(partitions),
        )
        rows = await connection.fetch(
            "SELECT partition, position, kafka_offset FROM read.checkpoints "
            "WHERE projection = $1 AND fold = $2 AND partition = ANY($3::int[])",
            self.projection.value,
            self.fold,
            list(partitions),
        )
        self.checkpoints = {row["partition"]: Checkpoint(row["position"], row["kafka_offset"]) for row in rows}
        return dict(self.checkpoints)

    async def project(self, connection: Connection, records: Mapping[int, Sequence[ConsumerRecord]]) -> Projected:
        """Fold a poll's records and write what they change, with the new checkpoints; all or nothing.

        Raises Overtaken, NewerIncarnation (what came before it is written first), and what the database raises.
        """
        batch = _Batch()
        newer: NewerIncarnation | None = None
        for partition, found in records.items():
            try:
                self._accept(partition, found, batch)
            except NewerIncarnation as incarnation:
                newer = incarnation
        await self._fold_batch(connection, batch)
        await self._write(connection, batch)
        if newer is not None:
            raise newer
        return batch.outcome

    def _accept(self, partition: int, records: Sequence[ConsumerRecord], batch: _Batch) -> None:
        checkpoint = self.checkpoints[partition]
        position, offset = checkpoint
        try:
            for record in records:
                try:
                    fact_record = delivered(record)
                except NotOurRecord as error:
                    # It cannot be placed. If it was one of ours, the next record's previous position tells.
                    batch.buried.append((record, error))
                    if partition not in self.lost:
                        offset = record.offset + 1
                    continue
                if fact_record.incarnation > self.incarnation:
                    raise NewerIncarnation(fact_record.incarnation)
                if fact_record.incarnation == self.incarnation:
                    if fact_record.position <= position:
                        batch.outcome.duplicates += 1
                    elif fact_record.previous_position != position:
                        self._lose(partition, position, fact_record, batch)
                    else:
                        self.lost.pop(partition, None)
                        position = fact_record.position
                        self._take(fact_record, record, batch)
                    batch.outcome.records += 1
                if partition not in self.lost:
                    offset = record.offset + 1
        finally:
            if (position, offset) != checkpoint:
                batch.moved[partition] = Checkpoint(position, offset)

    def _lose(self, partition: int, position: int, record: Delivered, batch: _Batch) -> None:
        """Nothing after a gap is folded: the partition stands until the missing record or a newer incarnation comes."""
        if partition not in self.lost:
            expected = "its first record" if position == BEFORE_FIRST else f"position {position}"
            why = (
                f"{record.topic}/{partition}@{record.offset}: position {record.position} follows "
                f"{record.previous_position}, but the last one folded is {expected}"
            )
            self.lost[partition] = batch.outcome.lost[partition] = why

    def _take(self, record: Delivered, origin: ConsumerRecord, batch: _Batch) -> None:
        if self._fold.wants(record.event_type) is None:
            return
        key = record.key.decode()
        hold = self.held.get(key) or batch.held.get(key)
        if hold is not None and record.position >= hold.since_position:
            return
        try:
            batch.facts.append(delivered_fact(self.projection, record))
            batch.origins[record.position] = origin
        except Exception as error:
            self._hold(key, record.partition, record.position, origin, error, batch)

    def _hold(
        self, key: str, partition: int, position: int, origin: ConsumerRecord, error: BaseException, batch: _Batch
    ) -> None:
        batch.held[key] = Held(partition, position, f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX])
        batch.buried.append((origin, error))
        batch.outcome.dead_letters += 1

    async def _fold_batch(self, connection: Connection, batch: _Batch) -> None:
        """Fold; a poison fact puts its key aside from there on, and the rest is folded again without it."""
        while True:
            try:
                wanted = self._fold.begin(batch.facts)
                for name, keys in wanted.items():
                    self._fold.load(name, await load(connection, self._targets[name], keys))
                self._fold.apply(batch.facts)
            except Poison as poison:
                fact = poison.fact
                key = f"{fact.tenant_id}:{fact.subject}"
                error = poison.__cause__ or poison
                self._hold(key, fact.shard, fact.position, batch.origins[fact.position], error, batch)
                batch.facts = [
                    each
                    for each in batch.facts
                    if each.position < fact.position or each.subject != fact.subject or each.tenant_id != fact.tenant_id
                ]
            else:
                batch.outcome.facts = len(batch.facts)
                return

    async def _write(self, connection: Connection, batch: _Batch) -> None:
        if not batch.moved:
            await self._bury(batch)
            self._fold.drop()
            return
        try:
            async with connection.transaction():
                await self._move(connection, batch.moved)
                # Only now: what an overtaken worker took for poison may have been another's row, ahead of its records.
                await self._bury(batch)
                for key, hold in batch.held.items():
                    await connection.execute(
                        "INSERT INTO read.held_keys "
                        "(projection, fold, partition_key, partition, since_position, error) "
                        "VALUES ($1, $2, $3, $4, $5, $6)",
                        self.projection.value,
                        self.fold,
                        key,
                        *hold,
                    )
                for name, rows in self._fold.changed().items():
                    await upsert(connection, self._targets[name], rows)
        except BaseException:
            # Whether it was committed is unknown: what the database holds is read again.
            self._fold.forget()
            self.checkpoints.clear()
            raise
        self._fold.keep()
        self.checkpoints |= batch.moved
        self.held |= batch.held

    async def _bury(self, batch: _Batch) -> None:
        for record, error in batch.buried:
            await self._dead_letters.bury(record, consumer=self.consumer, error=error, attempts=ATTEMPTS)

    async def _move(self, connection: Connection, moved: Mapping[int, Checkpoint]) -> None:
        epoch = await connection.fetchval(
            "SELECT epoch FROM read.projections WHERE name = $1 FOR SHARE", self.projection.value
        )
        if epoch != self._epoch:
            raise Overtaken(f"{self.projection}: tables were swapped")
        before = [self.checkpoints[partition] for partition in moved]
        status = await connection.execute(
            """UPDATE read.checkpoints c SET position = m.position, kafka_offset = m.kafka_offset, incarnation = $3
               FROM unnest($4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
                   AS m (partition, was_position, was_offset, position, kafka_offset)
               WHERE c.projection = $1 AND c.fold = $2 AND c.partition = m.partition
                   AND c.position = m.was_position AND c.kafka_offset = m.was_offset""",
            self.projection.value,
            self.fold,
            self.incarnation,
            list(moved),
            [checkpoint.position for checkpoint in before],
            [checkpoint.offset for checkpoint in before],
            [checkpoint.position for checkpoint in moved.values()],
            [checkpoint.offset for checkpoint in moved.values()],
        )
        if status != f"UPDATE {len(moved)}":
            raise Overtaken(f"{self.projection}: another worker moved a checkpoint")

    @property
    def consumer(self) -> str:
        """What its dead letters name as their consumer."""
        return f"projections.{self.projection}"
