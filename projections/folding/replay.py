"""Keys that wait for a dead letter, brought up to date once whatever stopped them is mended.

A poison record stops its key alone: the key's rows stay as they were before it, and its later records are passed by.
A replay folds all of the key's events from the poison one on, from the log, in order, into the live tables; so it
comes to the same rows as if nothing had happened, whatever the read model.
"""

from dataclasses import replace

import structlog

from infra.settings import Settings
from projections.catalogue import read_models_of
from projections.folding.log_fold import Bounds, fold_on
from projections.folding.rebuild import live_bounds
from projections.folding.tables import Target, owner_connection
from projections.read_model import Projection

log = structlog.get_logger(__name__)

CONSUMER_PREFIX = "projections."


class NotHeld(LookupError):
    """The key waits for nothing."""


async def replay(settings: Settings, projection: Projection, partition_key: str, *, owner_dsn: str) -> int:
    """Fold a held key's events from the log and release it; the number of facts.

    Raises NotHeld, Poison if the record still cannot be folded (nothing has changed then), and CannotRebuild. Workers
    of the projection wait for its length.
    """
    owner = await owner_connection(owner_dsn, settings.database)
    try:
        async with owner.transaction():
            await owner.fetchrow("SELECT FROM read.projections WHERE name = $1 FOR UPDATE", projection.value)
            row = await owner.fetchrow(
                "SELECT h.partition, h.since_position, h.fold FROM read.held_keys h "
                "JOIN read.projections p ON p.name = h.projection AND p.fold = h.fold "
                "WHERE h.projection = $1 AND h.partition_key = $2",
                projection.value,
                partition_key,
            )
            if row is None:
                raise NotHeld(f"{partition_key} waits for no dead letter in {projection}")
            bounds, _ = await live_bounds(owner, settings, [projection])
            partition, since = row["partition"], row["since_position"]
            released = {key: at for key, at in bounds.held[projection].items() if key != partition_key}
            before = Bounds(partitions=bounds.partitions, upto={projection: {partition: since - 1}}, held={})
            upto = replace(
                bounds,
                upto={projection: {partition: bounds.upto[projection][partition]}},
                held={projection: released},
            )
            records = await owner.fetch(
                "SELECT name, table_version FROM read.models WHERE projection = $1", projection.value
            )
            versions = {record["name"]: record["table_version"] for record in records}
            targets = [Target(model, versions[model.name]) for model in read_models_of(projection)]
            facts = await fold_on(
                owner,
                targets,
                after=before,
                upto=upto,
                page_events=settings.projections.rebuild_slice_events,
                only_key=partition_key,
            )
            await owner.execute(
                "DELETE FROM read.held_keys WHERE projection = $1 AND fold = $2 AND partition_key = $3",
                projection.value,
                row["fold"],
                partition_key,
            )
            await owner.execute("UPDATE read.projections SET epoch = epoch + 1 WHERE name = $1", projection.value)
    finally:
        owner.terminate()
    log.info("held_key_replayed", projection=projection.value, partition_key=partition_key, facts=facts)
    return facts
