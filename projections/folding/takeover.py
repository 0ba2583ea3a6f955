"""How one set of tables takes over from another under the views, and how a newer incarnation is folded anew.

A topic that was published anew holds every fact again. They are folded into the next version of the tables, from the
first record on, while readers keep the old one; it takes over once it has come as far. So nobody ever sees a read
model that is half filled, and the tables owe nothing to what was there before.
"""

from collections.abc import Sequence

import structlog

from infra.database import Connection
from infra.settings import DatabaseSettings
from projections.catalogue import read_models_of
from projections.folding.tables import Target, create_sql, drop_leftovers, finish_sql, layout_of, next_version, view_sql
from projections.read_model import Projection

log = structlog.get_logger(__name__)


async def adopt(connection: Connection, projection: Projection, incarnation: int) -> None:
    """Nothing was ever folded here: take this incarnation as the first. Nothing happens if somebody else did."""
    await connection.execute(
        "UPDATE read.projections SET incarnation = $2, epoch = epoch + 1 "
        "WHERE name = $1 AND incarnation = 0 AND next_fold IS NULL",
        projection.value,
        incarnation,
    )


async def begin_refold(owner: Connection, projection: Projection, incarnation: int) -> None:
    """Make the tables that a newer incarnation is folded into. Nothing happens if somebody else has done it."""
    async with owner.transaction():
        row = await owner.fetchrow(
            "SELECT fold, incarnation, next_fold, next_incarnation FROM read.projections WHERE name = $1 FOR UPDATE",
            projection.value,
        )
        if row is None or incarnation <= max(row["incarnation"], row["next_incarnation"] or 0):
            return
        for model in read_models_of(projection):
            target = await next_version(owner, model)
            await owner.execute(create_sql(model, target.version) + finish_sql(model, target.version))
            await owner.execute(
                "UPDATE read.models SET next_table_version = $2 WHERE name = $1", model.name, target.version
            )
        fold = max(row["fold"], row["next_fold"] or 0) + 1
        await owner.execute(
            "UPDATE read.projections SET epoch = epoch + 1, next_fold = $2, next_incarnation = $3 WHERE name = $1",
            projection.value,
            fold,
            incarnation,
        )
    log.warning("projection_folds_anew", projection=projection.value, incarnation=incarnation)


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
    """Swap the views to these tables, within the caller's transaction and lock time-out."""
    for target in targets:
        await owner.execute(view_sql(target.model, target.version))
        await owner.execute(
            "UPDATE read.models SET table_version = $2, next_table_version = NULL, layout = $3 WHERE name = $1",
            target.model.name,
            target.version,
            layout_of(target.model),
        )
