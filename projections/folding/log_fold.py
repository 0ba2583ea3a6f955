"""Folding the log itself: in bulk, a slice of the keys at a time, and in small steps after that.

A slice is every event whose partition key falls into it, in position order: folds of different keys never meet (rows
that keys share are sums, which add up in any order), so slices may be folded side by side. Never a range of positions:
folds do not commute. Reads are pages of positions, each a statement of its own, so no snapshot is held for long.
"""

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.database import Connection
from projections.catalogue import BY_NAME, READ_MODELS
from projections.folding.facts import LOG_COLUMNS, PROJECTION_OF_STREAM, Shards, logged_fact
from projections.folding.fold import CachedFold, Fold
from projections.folding.row_store import load, upsert, values
from projections.folding.tables import Target
from projections.read_model import Fact, Projection, ReadModel
from schemas.codec import decode_entry, decode_event

_PAGE: Final = f"SELECT {LOG_COLUMNS} FROM log.events WHERE position > $1 AND position <= $2 "  # noqa: S608  constants
_IN_SLICE: Final = "AND crc32(convert_to(partition_key, 'UTF8')) % $3 = $4 "
_ORDER: Final = "ORDER BY position"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far to fold: per projection and partition up to a position, and of held keys only what came before."""

    partitions: int
    upto: Mapping[Projection, Mapping[int, int]]
    held: Mapping[Projection, Mapping[str, int]]

    @property
    def last(self) -> int:
        """The last position that may be within the bounds."""
        return max((position for each in self.upto.values() for position in each.values()), default=0)


def whole_log(head: int, partitions: int) -> Bounds:
    """Everything up to a position."""
    everywhere = dict.fromkeys(range(partitions), head)
    return Bounds(partitions=partitions, upto=dict.fromkeys(Projection, everywhere), held={})


class Selection:
    """Turns the log's rows into the facts that some read models want, within bounds (and after others)."""

    def __init__(self, models: Sequence[ReadModel[Any]], bounds: Bounds, *, after: Bounds | None = None) -> None:
        self._shards = Shards(bounds.partitions)
        self._ranges = {
            projection: [
                (
                    0 if after is None else after.upto.get(projection, {}).get(shard, 0),
                    bounds.upto.get(projection, {}).get(shard, 0),
                )
                for shard in range(bounds.partitions)
            ]
            for projection in Projection
        }
        self._held = bounds.held
        entries = [model for model in models if model.projection is Projection.LEDGER]
        self._entries = bool(entries)
        self._types = frozenset[str]().union(*(model.events for model in models if model not in entries))

    def facts(self, rows: Sequence[Any]) -> dict[Projection, list[Fact]]:
        """The facts of some rows in order; an event that moves money may be two: itself, and its entry."""
        types, entries, shard_of, within = self._types, self._entries, self._shards.of, self._within
        found: dict[Projection, list[Fact]] = {projection: [] for projection in Projection}
        for row in rows:
            wanted = row[6] in types
            postings = row[12] if entries else None
            if not wanted and postings is None:
                continue
            key = row[7]
            shard = shard_of(key)
            if wanted:
                projection = PROJECTION_OF_STREAM[row[3]]
                if within(projection, shard, row[0], key):
                    found[projection].append(logged_fact(row, decode_event(row[11]), shard))
            if postings is not None and within(Projection.LEDGER, shard, row[0], key):
                found[Projection.LEDGER].append(logged_fact(row, decode_entry(postings), shard))
        return found

    def _within(self, projection: Projection, shard: int, position: int, key: str) -> bool:
        first, last = self._ranges[projection][shard]
        if not first < position <= last:
            return False
        held = self._held.get(projection)
        return not held or position < held.get(key, position + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One worker's share of a bulk fold: which keys, into which tables (by read model's name), in pages of events."""

    number: int
    of: int
    tables: Mapping[str, int]
    bounds: Bounds
    page_events: int

    @property
    def targets(self) -> list[Target]:
        """The tables to fill."""
        return [Target(BY_NAME[name], version) for name, version in self.tables.items()]


def with_sources(models: Sequence[ReadModel[Any]]) -> list[ReadModel[Any]]:
    """The read models and those that tally into them: a count cannot be folded without what it counts."""
    names = {model.name for model in models}
    return [model for model in READ_MODELS if model.name in names or model.tallied_by in names]


async def fold_slice(connection: Connection, part: Slice, progress: Callable[[int], None]) -> int:
    """Fold a slice in memory and write its rows; the number of facts. Tables of sums must have their key already.

    Memory: every row of the slice until its end (about 2 KB an invoice with its payment); pages of the log besides.
    """
    targets = part.targets
    models = with_sources([target.model for target in targets])
    selection = Selection(models, part.bounds)
    folds = {
        projection: Fold([model for model in models if model.projection is projection])
        for projection in {model.projection for model in models}
    }
    facts = 0
    collecting = gc.isenabled()
    gc.disable()  # rows refer to nothing that refers back; walking millions of them finds nothing
    try:
        async for rows, upto in _pages(connection, part):
            for projection, found in selection.facts(rows).items():
                if found:
                    folds[projection].apply(found)
                    facts += len(found)
            progress(upto)
        for target in targets:
            await _write(connection, target, folds[target.model.projection])
    finally:
        if collecting:
            gc.enable()
    return facts


async def _pages(connection: Connection, part: Slice) -> Any:
    """Pages of positions, each with where it ends; the next is read while one is folded."""
    whole = part.of == 1
    sql = _PAGE + ("" if whole else _IN_SLICE) + _ORDER
    step = part.page_events * part.of
    last = part.bounds.last

    def read(after: int) -> "asyncio.Task[list[Any]]":
        more = () if whole else (part.of, part.number)
        return asyncio.create_task(connection.fetch(sql, after, min(after + step, last), *more))

    after = 0
    following = read(0) if last else None
    while following is not None:
        rows = await following
        after = min(after + step, last)
        following = read(after) if after < last else None
        await asyncio.sleep(0)  # the next page's query goes out before this page is folded
        yield rows, after


async def _write(connection: Connection, target: Target, fold: Fold) -> None:
    model = target.model
    rows = fold.rows[model.name]
    if model.sums:
        # Other slices may add to the same rows: everybody in one order.
        await upsert(connection, target, dict(sorted(rows.items())))
    elif rows:
        name = target.table.removeprefix("read.")
        columns = [column.name for column in model.columns]
        await connection.copy_records_to_table(
            name, schema_name="read", columns=columns, records=values(model, rows.items())
        )


async def fold_on(
    connection: Connection,
    targets: Sequence[Target],
    *,
    after: Bounds,
    upto: Bounds,
    page_events: int,
    only_key: str | None = None,
) -> int:
    """Bring tables from one set of bounds to a later one, page by page; the number of facts.

    `targets` are closed under tallies (`with_sources`): rows are read from the tables and written there.
    """
    by_name = {target.model.name: target for target in targets}
    models = [target.model for target in targets]
    selection = Selection(models, upto, after=after)
    first = min((p for each in after.upto.values() for p in each.values()), default=0)
    facts = 0
    folds = {
        projection: CachedFold([m for m in models if m.projection is projection], cached_rows=page_events)
        for projection in {model.projection for model in models}
    }
    sql = _PAGE + ("" if only_key is None else "AND partition_key = $3 ") + _ORDER
    while first < upto.last:
        end = min(first + page_events, upto.last)
        rows = await connection.fetch(sql, first, end, *(() if only_key is None else (only_key,)))
        found = selection.facts(rows)
        for projection, fold in folds.items():
            batch = found[projection]
            for name, keys in fold.begin(batch).items():
                fold.load(name, await load(connection, by_name[name], keys))
            fold.apply(batch)
            for name, changed in fold.changed().items():
                await upsert(connection, by_name[name], changed)
            fold.keep()
            facts += len(batch)
        first = end
    return facts
