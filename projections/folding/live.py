"""One projection as one process folds it: from records to rows and checkpoint, in one transaction.

The checkpoint is moved by compare-and-set, so a worker that has lost a partition cannot write; the projection's row is
held FOR SHARE, so a batch cannot land in a table that a rebuild has just swapped out.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from infra.database import CONNECTION_ERRORS, Connection
from infra.kafka.provenance import ForeignRecord, Place, foreign
from infra.kafka.records import BEFORE_FIRST, ConsumerRecord, Delivered, NotOurRecord, delivered
from projections.catalogue import read_models_of
from projections.folding.batch import Batch, Checkpoint, Held, Misfit, Projected
from projections.folding.facts import delivered_fact
from projections.folding.fold import CachedFold, Poison
from projections.folding.row_store import load, upsert
from projections.folding.tables import Target, layout_of
from projections.read_model import Projection

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
    """This release may not fold here: its tables are not there, or a newer release has made them its own."""


class DeadLetters(Protocol):
    """Where records go that cannot be folded."""

    async def bury(self, record: ConsumerRecord, *, consumer: str, error: BaseException, attempts: int) -> None:
        """Keep the record with its origin and error. Raises if it cannot."""
        ...


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
        self._cached_rows = cached_rows
        self._fold = CachedFold(self.models, cached_rows=cached_rows)
        self._targets: dict[str, Target] = {}
        self._epoch = -1
        self.fold = 0
        self.incarnation = 0
        self.filling = False
        self.standing: tuple[str, ...] = ()
        self.unclaimed = False
        self.checkpoints: dict[int, Checkpoint] = {}
        self.held: dict[str, Held] = {}
        self.lost: dict[int, str] = {}

    async def load(self, connection: Connection) -> None:
        """Learn which tables to fill, from which incarnation. Raises StaleReadModel.

        `standing` are the read models that are not folded, because another release's rule made their tables; while
        `unclaimed`, nobody has said so yet, and nothing may be folded.
        """
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
        await self._load_tables(connection)
        holds = await connection.fetch(
            "SELECT partition_key, partition, since_position, error FROM read.held_keys "
            "WHERE projection = $1 AND fold = $2",
            self.projection.value,
            self.fold,
        )
        self.held = {hold["partition_key"]: Held(*hold[1:]) for hold in holds}

    async def _load_tables(self, connection: Connection) -> None:
        """Which read models are folded here, and into which tables. Those that stand still are filled beside it all."""
        records = await connection.fetch("SELECT * FROM read.models WHERE projection = $1", self.projection.value)
        known = {record["name"]: record for record in records}
        standing = []
        self.unclaimed = False
        for model in self.models:
            record, mine = known.get(model.name), layout_of(model)
            if record is None:
                raise StaleReadModel(f"{model.name} has no table yet: run `tallybook migrate`")
            if mine in record["former_layouts"]:
                raise StaleReadModel(
                    f"{model.name} is a newer release's: end this process, or, to go back for good, run "
                    f"`tallybook projections rebuild {model.name}`"
                )
            made_by = record["wanted_layout"] if self.filling else record["layout"]
            if made_by != mine:
                standing.append(model.name)
                self.unclaimed = self.unclaimed or record["wanted_layout"] != mine
        self.standing = tuple(standing)
        version = "next_table_version" if self.filling else "table_version"
        folded = [model for model in self.models if model.name not in standing]
        if [target.model for target in self._targets.values()] != folded:
            self._fold = CachedFold(folded, cached_rows=self._cached_rows)
        self._targets = {model.name: Target(model, known[model.name][version]) for model in folded}

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

        What does not fit is not believed at once: the log is asked which of the records are its own, and the poll is
        folded again without the others, which become dead letters.

        Raises Overtaken, NewerIncarnation (what came before it is written first), and what the database raises.
        """
        try:
            return await self._project(connection, records, None)
        except (Overtaken, *CONNECTION_ERRORS):
            raise
        except Exception as error:
            strangers = await foreign(connection, _readable(records), entries=self.projection is Projection.LEDGER)
            if not strangers and not isinstance(error, Misfit):
                raise
        if not self.checkpoints:  # a write that failed has forgotten them
            await self.open(connection, sorted(records))
        return await self._project(connection, records, strangers)

    async def _project(
        self,
        connection: Connection,
        records: Mapping[int, Sequence[ConsumerRecord]],
        strangers: Mapping[Place, str] | None,
    ) -> Projected:
        """`strangers`: what the log has said it knows nothing of; None before it was asked, when a misfit is raised."""
        batch = Batch(strangers=strangers)
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

    def _accept(self, partition: int, records: Sequence[ConsumerRecord], batch: Batch) -> None:
        checkpoint = self.checkpoints[partition]
        position, offset = checkpoint
        try:
            for record in records:
                try:
                    fact_record = batch.ours(record)
                except (NotOurRecord, ForeignRecord) as error:
                    # It cannot be placed. If it was one of ours, the next record's previous position tells.
                    batch.bury(record, error)
                    if partition not in self.lost:
                        offset = record.offset + 1
                    continue
                if fact_record.incarnation > self.incarnation:
                    batch.doubt("a newer incarnation")
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

    def _lose(self, partition: int, position: int, record: Delivered, batch: Batch) -> None:
        """Nothing after a gap is folded: the partition stands until the missing record or a newer incarnation comes."""
        if partition not in self.lost:
            batch.doubt("a gap")
            expected = "its first record" if position == BEFORE_FIRST else f"position {position}"
            why = (
                f"{record.topic}/{partition}@{record.offset}: position {record.position} follows "
                f"{record.previous_position}, but the last one folded is {expected}"
            )
            self.lost[partition] = batch.outcome.lost[partition] = why

    def _take(self, record: Delivered, origin: ConsumerRecord, batch: Batch) -> None:
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
        self, key: str, partition: int, position: int, origin: ConsumerRecord, error: BaseException, batch: Batch
    ) -> None:
        batch.doubt("a poison record", error)
        batch.held[key] = Held(partition, position, f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX])
        batch.bury(origin, error)

    async def _fold_batch(self, connection: Connection, batch: Batch) -> None:
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

    async def _write(self, connection: Connection, batch: Batch) -> None:
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

    async def _bury(self, batch: Batch) -> None:
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


def _readable(records: Mapping[int, Sequence[ConsumerRecord]]) -> Iterator[Delivered]:
    """Those of a poll's records that have our form."""
    for found in records.values():
        for record in found:
            with contextlib.suppress(NotOurRecord):
                yield delivered(record)
