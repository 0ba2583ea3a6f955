"""Rebuilding read models from the log while queries and workers go on, and comparing them with it.

The next version of each table is filled from the log up to the live checkpoints, brought forward from there, and
swapped under the view in one short transaction that holds the projection's row: workers wait for its length, readers
for nothing.
"""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from queue import Empty
from typing import Any, Final

import asyncpg
import structlog

from infra.database import Connection
from infra.settings import Settings
from projections.catalogue import READ_MODELS
from projections.folding.log_fold import Bounds, Slice, fold_on, fold_slice, with_sources
from projections.folding.tables import (
    Target,
    claim_table,
    create_sql,
    drop_leftovers,
    finish_sql,
    layout_of,
    next_version,
    owner_connection,
)
from projections.folding.takeover import show
from projections.read_model import Projection, ReadModel

log = structlog.get_logger(__name__)

SWAP_TRIES_MAX: Final = 30
PROGRESS_POLL_S: Final = 0.1

# A partition that holds nothing newer has in truth come as far as the relay: without that, one that never saw a record
# would have the whole log read again with every step.
_CHECKPOINTS: Final = """
SELECT c.projection, c.fold, c.partition,
    CASE WHEN s.incarnation = c.incarnation AND coalesce(r.position, 0) <= c.position
         THEN greatest(c.position, s.position) ELSE c.position END AS position
FROM read.checkpoints c CROSS JOIN relay.state s
LEFT JOIN relay.published r ON r.topic = c.topic AND r.partition = c.partition
"""

Progress = Callable[[int, int], None]  # events done, of how many


class CannotRebuild(Exception):
    """Something else is going on with these tables; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild did: facts folded, and the tables that are shown now."""

    facts: int
    tables: tuple[str, ...]


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


async def rebuild(
    settings: Settings, models: Sequence[ReadModel[Any]], *, owner_dsn: str, progress: Progress = no_progress
) -> Rebuilt:
    """Rebuild these read models (and the counts that rest on them) and show the new tables.

    Raises CannotRebuild, Poison for a fact that this release's rules cannot take, and what the database raises;
    nothing has changed then.
    """
    owner = await owner_connection(owner_dsn, settings.database)
    try:
        async with _filled(owner, settings, models, owner_dsn, progress) as filled:
            facts = filled.facts
            for attempt in range(SWAP_TRIES_MAX):
                facts += await filled.catch_up(owner)
                try:
                    async with owner.transaction():
                        await owner.execute(f"SET LOCAL lock_timeout = {settings.projections.swap_lock_timeout_ms}")
                        await _lock(owner, filled.projections)
                        facts += await filled.catch_up(owner)
                        await show(owner, filled.wanted)
                        await owner.execute(
                            "UPDATE read.projections SET epoch = epoch + 1 WHERE name = ANY($1::text[])",
                            [projection.value for projection in filled.projections],
                        )
                    break
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    if attempt == SWAP_TRIES_MAX - 1:
                        raise CannotRebuild("the views are in use all the time; try again when it is quieter") from None
                    log.info("rebuild_waits_for_readers", attempt=attempt)
            tables = tuple(target.table for target in filled.wanted)
        await drop_leftovers(owner, settings.database)
    finally:
        owner.terminate()
    log.info("read_models_rebuilt", tables=list(tables), facts=facts)
    return Rebuilt(facts=facts, tables=tables)


async def differences(
    settings: Settings, models: Sequence[ReadModel[Any]], *, owner_dsn: str, progress: Progress = no_progress
) -> dict[str, int]:
    """How many rows of each read model differ from a fold of the log up to the same checkpoints; all zero, or a defect.

    `held:<projection>` counts the keys that wait for a dead letter; `standing:<read model>` is 1 where another
    release's table stands still until this one's is filled. Workers and queries go on.
    """
    owner = await owner_connection(owner_dsn, settings.database)
    found: dict[str, int] = {}
    try:
        async with _filled(owner, settings, models, owner_dsn, progress) as filled:
            # One snapshot of the live tables and their checkpoints; the fold is brought to exactly these inside it.
            transaction = owner.transaction(isolation="repeatable_read")
            await transaction.start()
            try:
                await filled.catch_up(owner)
                shown = {record["name"]: record for record in await owner.fetch("SELECT * FROM read.models")}
                for target in filled.wanted:
                    model = target.model
                    record = shown[model.name]
                    if record["layout"] != layout_of(model):
                        found[f"standing:{model.name}"] = 1
                        continue
                    live = Target(model, record["table_version"]).table
                    found[model.name] = await owner.fetchval(
                        f"SELECT count(*) FROM {live} l FULL JOIN {target.table} f "  # noqa: S608  our names
                        f"USING ({', '.join(model.key)}) WHERE l IS DISTINCT FROM f"
                    )
                for projection in filled.projections:
                    found[f"held:{projection}"] = len(filled.bounds.held.get(projection, {}))
            finally:
                await transaction.rollback()
    finally:
        owner.terminate()
    return found


@dataclass(slots=True)
class _Filled:
    """Tables on their way: filled from the log up to `bounds`."""

    wanted: list[Target]
    all: list[Target]
    projections: list[Projection]
    bounds: Bounds
    settings: Settings
    folds: dict[str, int]
    facts: int = 0

    async def catch_up(self, owner: Connection) -> int:
        """Bring the tables to where the live ones stand now; the number of facts."""
        bounds, folds = await live_bounds(owner, self.settings, self.projections)
        if folds != self.folds or bounds.held != self.bounds.held or bounds.partitions != self.bounds.partitions:
            raise CannotRebuild("dead letters were replayed, or a topic was published anew, meanwhile: run it again")
        facts = await fold_on(
            owner,
            self.all,
            after=self.bounds,
            upto=bounds,
            page_events=self.settings.projections.rebuild_batch_events,
        )
        self.bounds = bounds
        return facts


@asynccontextmanager
async def _filled(
    owner: Connection, settings: Settings, models: Sequence[ReadModel[Any]], owner_dsn: str, progress: Progress
) -> "AsyncIterator[_Filled]":
    """Next versions of the read models' tables, filled in bulk; those that are not shown by then are dropped."""
    names = {model.name for model in models} | {model.tallied_by for model in models}
    sources = with_sources([model for model in READ_MODELS if model.name in names])
    projections = sorted({model.projection for model in sources})
    bounds, folds = await live_bounds(owner, settings, projections)
    targets = []
    try:
        for model in sources:
            target = await next_version(owner, model)
            await claim_table(owner, target)
            await owner.execute(create_sql(model, target.version))
            if model.sums:
                await owner.execute(finish_sql(model, target.version))
            targets.append(target)
        facts = await fill(settings, targets, bounds, owner_dsn=owner_dsn, progress=progress)
        for target in targets:
            if not target.model.sums:
                await owner.execute(finish_sql(target.model, target.version))
        for target in targets:
            # Only what queries search by: the rest would cost as much as a third of the fold.
            searched = dict.fromkeys((*target.model.key, target.model.sorted_by or target.model.key[0]))
            await owner.execute(f"ANALYZE {target.table} ({', '.join(searched)})")
        wanted = [target for target in targets if target.model.name in names]
        yield _Filled(wanted, targets, projections, bounds, settings, folds, facts)
    finally:
        shown = await owner.fetch("SELECT name, table_version FROM read.models")
        live = {Target(t.model, r["table_version"]).table for r in shown for t in targets if t.model.name == r["name"]}
        for target in targets:
            if target.table not in live:
                await owner.execute(f"DROP TABLE IF EXISTS {target.table}")


async def fill(
    settings: Settings, targets: Sequence[Target], bounds: Bounds, *, owner_dsn: str, progress: Progress
) -> int:
    """Fold the log into empty tables, in as many processes as the settings say once there is enough to share."""
    limits = settings.projections
    total = bounds.last
    workers = limits.rebuild_workers if total >= limits.rebuild_parallel_from_events else 1
    count = max(workers, -(-total // limits.rebuild_slice_events))
    tables = {target.model.name: target.version for target in targets}
    slices = [
        Slice(number=number, of=count, tables=tables, bounds=bounds, page_events=limits.rebuild_batch_events)
        for number in range(count)
    ]
    done = [0] * count

    def tell(number: int, upto: int) -> None:
        done[number] = upto
        progress(sum(done) // count, total)

    if workers == 1:
        facts = 0
        for part in slices:
            connection = await owner_connection(owner_dsn, settings.database)
            try:
                facts += await fold_slice(connection, part, lambda upto, number=part.number: tell(number, upto))  # type: ignore[misc]
            finally:
                connection.terminate()
        return facts
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        queue = manager.Queue()
        loop = asyncio.get_running_loop()
        running = [loop.run_in_executor(pool, _slice_process, settings, part, owner_dsn, queue) for part in slices]
        finished = asyncio.gather(*running)
        while not finished.done():
            await asyncio.wait([finished], timeout=PROGRESS_POLL_S)
            try:
                while True:
                    tell(*queue.get_nowait())
            except Empty:
                pass
        return sum(finished.result())


def _slice_process(settings: Settings, part: Slice, owner_dsn: str, queue: Any) -> int:
    """A slice in a process of its own."""

    async def run() -> int:
        connection = await owner_connection(owner_dsn, settings.database)
        try:
            return await fold_slice(connection, part, lambda upto: queue.put((part.number, upto)))
        finally:
            connection.terminate()

    return asyncio.run(run())


async def live_bounds(
    connection: Connection, settings: Settings, projections: Sequence[Projection]
) -> tuple[Bounds, dict[str, int]]:
    """How far the live folds have come, and which folds they are. Raises CannotRebuild while one is folded anew."""
    rows = await connection.fetch("SELECT name, fold, next_fold FROM read.projections")
    busy = [row["name"] for row in rows if row["next_fold"] is not None and row["name"] in projections]
    if busy:
        raise CannotRebuild(f"{', '.join(busy)}: being folded anew from Kafka already; wait until that is done")
    folds = {row["name"]: row["fold"] for row in rows if row["name"] in projections}
    partitions = await connection.fetchval("SELECT partitions FROM relay.state")
    upto: dict[Projection, dict[int, int]] = {projection: {} for projection in projections}
    for row in await connection.fetch(_CHECKPOINTS):
        if folds.get(row["projection"]) == row["fold"]:
            upto[Projection(row["projection"])][row["partition"]] = row["position"]
    held: dict[Projection, dict[str, int]] = {}
    for row in await connection.fetch("SELECT projection, fold, partition_key, since_position FROM read.held_keys"):
        if folds.get(row["projection"]) == row["fold"]:
            held.setdefault(Projection(row["projection"]), {})[row["partition_key"]] = row["since_position"]
    return Bounds(partitions=partitions or settings.kafka.partitions, upto=upto, held=held), folds


async def _lock(owner: Connection, projections: Sequence[Projection]) -> None:
    await owner.fetch(
        "SELECT FROM read.projections WHERE name = ANY($1::text[]) ORDER BY name FOR UPDATE",
        [projection.value for projection in projections],
    )
