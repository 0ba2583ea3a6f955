"""What a partition's records come to in rows, and what PostgreSQL keeps of it: both in one form, so that they are
compared row by row, and what is kept otherwise is written as it is counted.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from usage.aggregation import store
from usage.aggregation.dedupe import ENTRY_BYTES, PLACE_BYTES
from usage.aggregation.fold import Block, Closed, ClosingKey, Folded, PartitionState
from usage.aggregation.meters import Adoption
from usage.days import DAY_BUCKETS, day_in_sql, day_of
from usage.partials import LAST_BUCKET, Connection
from usage.recounted_ids import IdPlaces, blocks, differ
from usage.recounted_meters import Adopted, adopted, mend_rule

Row = tuple[Any, ...]


class Table(NamedTuple):
    """A table, its columns, and where of its rows those are that are a partition's and something."""

    what: str
    name: str
    key: tuple[str, ...]
    value: tuple[str, ...]
    where: str = "partition = $1"
    names_partition: bool = True

    @property
    def select(self) -> str:
        return f"SELECT {', '.join(self.key + self.value)} FROM usage.{self.name} WHERE {self.where}"  # noqa: S608  constants

    @property
    def drop(self) -> str:
        columns = self._owned(self.key) if self.key == _PLACE else self.key
        return f"DELETE FROM usage.{self.name} WHERE ({', '.join(columns)}) = ({_numbered(columns)})"  # noqa: S608  constants

    @property
    def add(self) -> str:
        columns = self._owned(self.key + self.value)
        return f"INSERT INTO usage.{self.name} ({', '.join(columns)}) VALUES ({_numbered(columns)})"  # noqa: S608  constants

    def _owned(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        return ("partition", *columns) if self.names_partition else columns

    async def write(self, connection: Connection, partition: int, key: Row, value: Row | None) -> None:
        """Have this row under the key, or none."""
        owner = (partition,) if self.names_partition else ()
        await connection.execute(self.drop, *(owner if self.key == _PLACE else ()), *key)
        if value is not None:
            await connection.execute(self.add, *owner, *key, *value)


def _numbered(columns: Sequence[str]) -> str:
    return ", ".join(f"${nth}" for nth, _ in enumerate(columns, 1))


_OF_SERIES: Final = "series IN (SELECT series FROM usage.series WHERE partition = $1)"
_PLACE: Final = ("record_offset", "nth")
SERIES: Final = Table(
    "series", "series", ("series",), ("tenant_id", "customer_id", "meter_id", "version", "groups")
)  # fmt: skip
SUMS: Final = Table(
    "sum",
    "aggregates",
    ("series", "bucket", "late"),
    ("tenant_id", "n", "total"),
    f"{_OF_SERIES} AND (n <> 0 OR total <> 0)",
    names_partition=False,
)
TALLIES: Final = Table(
    "tally",
    "tallies",
    ("series", "bucket", "late", "at_us", "event_id", "value", "member"),
    ("tenant_id", "times"),
    f"{_OF_SERIES} AND times <> 0",
    names_partition=False,
)
DAYS: Final = Table(
    "day",
    "days",
    ("series", "day"),
    ("tenant_id", "n", "total"),
    f"{_OF_SERIES} AND (n <> 0 OR total <> 0)",
    names_partition=False,
)
CONFLICTS: Final = Table(
    "conflict", "conflicts", _PLACE, ("tenant_id", "customer_id", "event_id", "kind", "appended_at")
)
VOIDS: Final = Table("void", "voids", _PLACE, ("tenant_id", "customer_id", "event_id", "instead_id", "appended_at"))
TABLES: Final = (SERIES, SUMS, TALLIES, DAYS, CONFLICTS, VOIDS)
ADDED_UP: Final = (SUMS, TALLIES)
IDS: Final = "ids"
METER: Final = "meter"

_UPTO: Final = "SELECT next_offset FROM usage.checkpoints WHERE partition = $1"
_CLOSINGS: Final = """
SELECT covers, tenant_id, customer_id, meter_id, seq, bucket, first_bucket, end_bucket FROM usage.closings
WHERE partition = $1 ORDER BY covers, version, seq
"""
_BLOCKS: Final = """
SELECT first_offset, next_offset, day, hashes, places FROM usage.dedupe_blocks WHERE partition = $1
ORDER BY first_offset
"""
_DROP_BLOCKS: Final = "DELETE FROM usage.dedupe_blocks WHERE partition = $1 AND next_offset > $2"
_ADD_BLOCK: Final = """
INSERT INTO usage.dedupe_blocks (partition, first_offset, next_offset, day, ids, hashes, places)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_DROP_DAYS: Final = "DELETE FROM usage.days WHERE series = ANY($1::bytea[])"
_ADD_DAYS: Final = f"""
INSERT INTO usage.days (series, day, tenant_id, n, total)
SELECT series, {day_in_sql("bucket")}, min(tenant_id), sum(n), sum(total) FROM usage.aggregates
WHERE series = ANY($1::bytea[]) GROUP BY 1, 2
"""  # noqa: S608  constants
_TOUCH: Final = "INSERT INTO usage.touched (series, first_buckets) VALUES ($1, $2)"


class Difference(NamedTuple):
    """Something that is kept otherwise than it is counted, and whether it was mended. `billed_by`: the number of the
    closing that has billed it, so that it is not; 0 where none has.
    """

    what: str
    key: str
    kept: str
    counted: str
    mended: bool
    billed_by: int


class Unlike(NamedTuple):
    """A row that is kept otherwise than it is counted; None where there is none. `billed_by` as in Difference."""

    what: str
    key: Row
    kept: Row | None
    counted: Row | None
    billed_by: int = 0

    def told(self, *, mended: bool) -> Difference:
        """In words."""
        key = "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in self.key)
        return Difference(self.what, key, _shown(self.kept), _shown(self.counted), mended, self.billed_by)


def _shown(row: Row | None) -> str:
    return "nothing" if row is None else " ".join(str(part) for part in row)


@dataclass(slots=True)
class Rows:
    """Rows by table and key, and the ids of blocks."""

    of: dict[str, dict[Row, Row]] = field(default_factory=lambda: {each.what: {} for each in TABLES})
    ids: IdPlaces = field(default_factory=IdPlaces)

    def take(self, state: PartitionState, folded: Folded) -> None:
        """Add what one fold adds, as an aggregator writes it."""
        for each in folded.series.values():
            known = each.tenant_id, each.customer_id, each.meter_id, each.version, each.groups
            self.of[SERIES.what][(each.series,)] = known
        for name, bucket, late, tenant_id, n, high, low in store.sum_rows(state, folded):
            self._add(SUMS, (name, bucket, late), tenant_id, n, _whole(high, low))
        for *place, high, low, member, tenant_id, times in store.tally_rows(state, folded):
            self._add(TALLIES, (*place, _whole(high, low), member), tenant_id, times)
        for one in folded.conflicts:
            told = one.tenant_id, one.customer_id, one.event_id, one.kind, _instant(one.appended_ms)
            self.of[CONFLICTS.what][one.offset, one.nth] = told
        for void in folded.voids:
            told = void.tenant_id, void.customer_id, void.event_id, void.instead_id, _instant(void.appended_ms)
            self.of[VOIDS.what][void.offset, void.nth] = told
        for block in folded.blocks:
            self.ids.add(block)

    def _add(self, table: Table, key: Row, tenant_id: object, *numbers: Any) -> None:
        rows = self.of[table.what]
        before = rows.get(key, (tenant_id, *(0 for _ in numbers)))
        now = tuple(one + other for one, other in zip(before[1:], numbers, strict=True))
        rows[key] = (tenant_id, *now)
        if not any(now):
            del rows[key]


def _whole(high: Any, low: Any) -> int:
    return int(high * store.PARTS + low)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


class Taken(NamedTuple):
    """Quarter hours [first, end) of a meter that a closing took, and its number."""

    seq: int
    first: int
    end: int


class Kept(NamedTuple):
    """What PostgreSQL keeps of the records below an offset, and what besides them decided: versions of meters, and
    closings, each by the offset from which on it did.
    """

    upto: int
    rows: Rows
    places_from: int
    adopted: Adopted
    closings: Sequence[tuple[int, ClosingKey, Closed]]
    taken: Mapping[ClosingKey, Sequence[Taken]]


async def kept_rows(connection: Connection, partition: int) -> Kept | None:
    """Inside a transaction in which they do not change. None where nothing was ever counted."""
    upto = await connection.fetchval(_UPTO, partition)
    if upto is None:
        return None
    rows = Rows()
    for table in TABLES:
        width, found = len(table.key), rows.of[table.what]
        for record in await connection.fetch(table.select, partition):
            row = tuple(tuple(part) if isinstance(part, list) else part for part in record)
            found[row[:width]] = row[width:]
    places_from = 0
    for first, past, day, hashes, places in await connection.fetch(_BLOCKS, partition):
        block = Block(first, past, day, bytearray(hashes), bytearray(places))
        if PLACE_BYTES * len(hashes) == ENTRY_BYTES * len(places):
            rows.ids.add(block)
        else:
            places_from = past  # a block of before there were places
    closings: list[tuple[int, ClosingKey, Closed]] = []
    taken: dict[ClosingKey, list[Taken]] = {}
    for covers, tenant_id, customer_id, meter_id, seq, bucket, first, end in await connection.fetch(
        _CLOSINGS, partition
    ):
        key = tenant_id, customer_id, meter_id
        closings.append((covers, key, Closed(seq, bucket)))
        taken.setdefault(key, []).append(Taken(seq, first, end))
    counted_by = {(row[0], row[2], row[3]) for row in rows.of[SERIES.what].values()}
    meters = await adopted(connection, await store.adoptions(connection, partition), counted_by)
    return Kept(upto, rows, places_from, meters, closings, taken)


class Known(NamedTuple):
    """What a topic holds that has lost its beginning: all events of the quarter hours from `floor` on. `recent` are the
    places of conflicts and voids of such events.
    """

    floor: int
    recent: Set[Row]

    def compares(self, table: Table, key: Row) -> bool:
        """Whether a row can be told from such records."""
        if table is DAYS:
            return True
        return table is not SERIES and (key[1] >= self.floor if table in ADDED_UP else key in self.recent)


def unlike(kept: Kept, counted: Rows, known: Known | None) -> list[Unlike]:
    """Where kept rows are others than counted ones; `known` is None where the topic has all that ever was. Days are
    held against the quarter hours that are kept: what these should be is told of them.
    """
    found = [
        Unlike(METER, (one.tenant_id, one.version.meter_id, one.version.version), _rule(one), _rule(two))
        for one, two in kept.adopted.altered
    ]
    found += [Unlike(METER, key, None, ("adopted", "from somewhere on")) for key in kept.adopted.lost]
    for table in TABLES:
        mine = kept.rows.of[table.what]
        other = _by_day(kept.rows.of[SUMS.what]) if table is DAYS else counted.of[table.what]
        others = [key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)]
        for key in sorted(others):
            if known is None or known.compares(table, key):
                billed_by = _billed_by(kept, counted, key) if table in ADDED_UP else 0
                found.append(Unlike(table.what, key, mine.get(key), other.get(key), billed_by))
    ids = None if known is not None else differ(kept.rows.ids, counted.ids, since=kept.places_from)
    if ids is not None:
        found.append(Unlike(IDS, (ids.offset,), (ids.kept,), (ids.counted,)))
    return found


def _by_day(sums: Mapping[Row, Row]) -> dict[Row, Row]:
    found: dict[Row, Row] = {}
    for (series, bucket, _), (tenant_id, n, total) in sums.items():
        key = series, day_of(bucket)
        before = found.get(key, (tenant_id, 0, 0))
        found[key] = min(tenant_id, before[0]), before[1] + n, before[2] + int(total)
    return {key: row for key, row in found.items() if any(row[1:])}


def _rule(adoption: Adoption) -> Row:
    return adoption.version.as_json(), adoption.from_offset


def _billed_by(kept: Kept, counted: Rows, key: Row) -> int:
    """The closing whose rows a sum or a tally is among: they are the evidence of what was billed."""
    series, bucket, late = key[:3]
    facts = counted.of[SERIES.what].get((series,)) or kept.rows.of[SERIES.what].get((series,))
    for each in kept.taken.get(facts[:3], ()) if facts is not None else ():
        if each.seq == late + 1 > 1 or (each.seq > late and each.first <= bucket < each.end):
            return each.seq
    return 0


async def mend(
    connection: Connection, partition: int, kept: Kept, differing: Sequence[Unlike], counted: Rows
) -> Sequence[Unlike]:
    """Write what is kept otherwise as it is counted, and say what that was: all but what was billed; but nothing where
    an adoption is lost, since what was counted by it would go. Inside a transaction in which nobody else writes what is
    the partition's.
    """
    if kept.adopted.lost:
        return []
    tables = {each.what: each for each in TABLES}
    mended = [each for each in differing if not each.billed_by]
    for _, told in kept.adopted.altered:
        await mend_rule(connection, partition, told)
    first_buckets: dict[bytes, int] = {}
    for each in mended:
        if each.what == IDS:
            await _mend_ids(connection, partition, counted)
        if each.what not in tables:
            continue
        table = tables[each.what]
        if table is not DAYS:
            await table.write(connection, partition, each.key, each.counted)
        if table in ADDED_UP or table is DAYS:
            series, bucket = each.key[0], each.key[1] * (DAY_BUCKETS if table is DAYS else 1)
            first_buckets[series] = min(bucket, first_buckets.get(series, LAST_BUCKET))
    if first_buckets:
        await connection.execute(_DROP_DAYS, list(first_buckets))
        await connection.execute(_ADD_DAYS, list(first_buckets))
        await connection.execute(_TOUCH, list(first_buckets), list(first_buckets.values()))
    return mended


async def _mend_ids(connection: Connection, partition: int, counted: Rows) -> None:
    since = counted.ids.remembered_from
    await connection.execute(_DROP_BLOCKS, partition, since)
    for block in blocks(counted.ids, since=since):
        await connection.execute(_ADD_BLOCK, partition, *_block_row(block))


def _block_row(block: Block) -> Row:
    ids = len(block.entries) // ENTRY_BYTES
    return block.first_offset, block.next_offset, block.day, ids, bytes(block.entries), bytes(block.places)
