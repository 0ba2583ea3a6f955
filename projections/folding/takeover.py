"""How one set of tables takes over from another under the views, and how a newer incarnation is folded anew.

A topic that was published anew holds every fact again. They are folded into the next version of the tables, from the
first record on, while readers keep the old one; it takes over once it has come as far. So nobody ever sees a read
model that is half filled, and the tables owe nothing to what was there before.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from infra.database import Connection
from infra.settings import DatabaseSettings
from projections.catalogue import read_models_of
from projections.folding.tables import Target, create_sql, drop_leftovers, finish_sql, layout_of, next_version, view_sql
from projections.read_model import Projection
from projections.reports import views
from projections.reports.catalogue import resting_on

log = structlog.get_logger(__name__)


async def adopt(connection: Connection, projection: Projection, incarnation: int) -> None:
    """Nothing was ever folded here: take this incarnation as the first. Nothing happens if somebody else did."""
    await connection.execute(
        "UPDATE read.projections SET incarnation = $2, epoch = epoch + 1 "
        "WHERE name = $1 AND incarnation = 0 AND next_fold IS NULL",
        projection.value,
        incarnation,
    )


async def claim_stale(owner: Connection, projection: Projection, topic: str) -> None:
    """Let tables that another release's rule made stand still, and the counts that rest on them, to be filled anew
    beside what is live. From here on no worker folds into them, and a worker of the other release does nothing at all.
    """
    async with owner.transaction():
        await owner.execute("SELECT FROM read.projections WHERE name = $1 FOR UPDATE", projection.value)
        layouts = {model.name: layout_of(model) for model in read_models_of(projection)}
        records = await owner.fetch(
            "SELECT name, layout, wanted_layout, former_layouts FROM read.models WHERE projection = $1",
            projection.value,
        )
        stale = {
            record["name"]
            for record in records
            if record["name"] in layouts
            and layouts[record["name"]] not in (record["layout"], record["wanted_layout"], *record["former_layouts"])
        }
        stale |= {model.tallied_by for model in read_models_of(projection) if model.name in stale and model.tallied_by}
        for name in sorted(stale):
            await owner.execute(_OUTDATE, name, layouts[name])
            await owner.execute(_STAND_STILL, name, layouts[name], projection.value, topic)
        await owner.execute("UPDATE read.projections SET epoch = epoch + 1 WHERE name = $1", projection.value)
    log.warning("read_models_stand_still", projection=projection.value, read_models=sorted(stale))


# Layouts of older releases are what was made or wanted before, but for this release's own.
_OUTDATE: Final = """
UPDATE read.models SET former_layouts =
    array_remove(array_remove(array_remove(former_layouts || layout || wanted_layout, ''), NULL), $2)
WHERE name = $1
"""
# What they hold for certain: all that was published, or nothing where a partition is behind.
_STAND_STILL: Final = """
UPDATE read.models SET layout = '', wanted_layout = $2, stands_at = coalesce(stands_at, (
    SELECT CASE WHEN EXISTS (
        SELECT FROM relay.published r
        LEFT JOIN read.checkpoints c ON c.topic = r.topic AND c.partition = r.partition AND c.projection = $3
            AND c.fold = (SELECT p.fold FROM read.projections p WHERE p.name = $3)
        WHERE r.topic = $4 AND coalesce(c.position, 0) < r.position) THEN 0 ELSE s.position END
    FROM relay.state s))
WHERE name = $1
"""


async def begin_refold(owner: Connection, projection: Projection, incarnation: int) -> None:
    """Make the tables that a newer incarnation is folded into. Nothing happens if somebody else has done it; what
    another release has begun is begun anew.
    """
    async with owner.transaction():
        row = await owner.fetchrow(
            "SELECT fold, incarnation, next_fold, next_incarnation FROM read.projections WHERE name = $1 FOR UPDATE",
            projection.value,
        )
        if row is None or incarnation <= row["incarnation"] or incarnation < (row["next_incarnation"] or 0):
            return
        if incarnation == row["next_incarnation"] and not await _is_anothers(owner, projection):
            return
        for model in read_models_of(projection):
            target = await next_version(owner, model)
            await owner.execute(create_sql(model, target.version) + finish_sql(model, target.version))
            await owner.execute(_OUTDATE, model.name, layout_of(model))
            await owner.execute(
                "UPDATE read.models SET next_table_version = $2, wanted_layout = $3 WHERE name = $1",
                model.name,
                target.version,
                layout_of(model),
            )
        fold = max(row["fold"], row["next_fold"] or 0) + 1
        await owner.execute(
            "UPDATE read.projections SET epoch = epoch + 1, next_fold = $2, next_incarnation = $3 WHERE name = $1",
            projection.value,
            fold,
            incarnation,
        )
    log.warning("projection_folds_anew", projection=projection.value, incarnation=incarnation)


async def _is_anothers(owner: Connection, projection: Projection) -> bool:
    """Whether the fold on its way is of another release's rules."""
    records = await owner.fetch("SELECT name, wanted_layout FROM read.models WHERE projection = $1", projection.value)
    wanted = {record["name"]: record["wanted_layout"] for record in records}
    return any(wanted.get(model.name) != layout_of(model) for model in read_models_of(projection))


async def has_caught_up(connection: Connection, projection: Projection, topic: str) -> bool:
    """Whether the fold on its way holds all that the live one does: it has come as far as the relay, and the relay at
    least as far as the live fold.
    """
    return bool(
        await connection.fetchval(
            """SELECT s.incarnation = p.next_incarnation
                   AND s.position >= coalesce((SELECT max(c.position) FROM read.checkpoints c
                                               WHERE c.projection = p.name AND c.fold = p.fold), 0)
                   AND NOT EXISTS (
                       SELECT FROM relay.published r LEFT JOIN read.checkpoints c
                           ON c.projection = p.name AND c.fold = p.next_fold AND c.partition = r.partition
                       WHERE r.topic = $2 AND r.position > coalesce(c.position, 0))
               FROM read.projections p, relay.state s WHERE p.name = $1 AND p.next_fold IS NOT NULL""",
            projection.value,
            topic,
        )
    )


async def finish_refold(owner: Connection, projection: Projection, topic: str, settings: DatabaseSettings) -> bool:
    """Let the fold on its way take over, if it has caught up. Raises LockNotAvailableError: try again."""
    async with owner.transaction():
        await owner.execute(f"SET LOCAL lock_timeout = {settings.lock_timeout_ms}")
        row = await owner.fetchrow(
            "SELECT fold, next_fold FROM read.projections WHERE name = $1 FOR UPDATE", projection.value
        )
        if row is None or row["next_fold"] is None or not await has_caught_up(owner, projection, topic):
            return False
        records = await owner.fetch(
            "SELECT name, next_table_version FROM read.models WHERE projection = $1", projection.value
        )
        versions = {record["name"]: record["next_table_version"] for record in records}
        await show(owner, [Target(model, versions[model.name]) for model in read_models_of(projection)])
        await owner.execute(
            "UPDATE read.projections SET epoch = epoch + 1, fold = next_fold, incarnation = next_incarnation, "
            "next_fold = NULL, next_incarnation = NULL WHERE name = $1",
            projection.value,
        )
        for table in ("checkpoints", "held_keys"):
            await owner.execute(
                f"DELETE FROM read.{table} WHERE projection = $1 AND fold <> $2",  # noqa: S608  constants
                projection.value,
                row["next_fold"],
            )
    log.warning("projection_took_over", projection=projection.value, fold=row["next_fold"])
    await drop_leftovers(owner, settings)
    return True


async def show(owner: Connection, targets: Sequence[Target]) -> None:
    """Swap the views to these tables, and the reports over them, within the caller's transaction and lock time-out."""
    shown = frozenset(target.model.name for target in targets)
    await views.end_long_readers(owner)
    await views.drop_over(owner, shown)
    for target in targets:
        await owner.execute(view_sql(target.model, target.version))
        await owner.execute(_OUTDATE, target.model.name, layout_of(target.model))
        await owner.execute(
            "UPDATE read.models SET table_version = $2, next_table_version = NULL, layout = $3, wanted_layout = NULL, "
            "stands_at = NULL WHERE name = $1",
            target.model.name,
            target.version,
            layout_of(target.model),
        )
    await views.make(owner, resting_on(shown))
