"""What a read model is: a table, a pure rule by which facts change its rows, and how rows go to the table and back.

Each read model reads one topic, so the facts of a key reach it in one order. A rule never looks at a clock and puts
nothing into a row but what facts say: the live table and a rebuilt one are the same to the byte.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import asyncpg

from infra.kafka.topics import TopicName

Record: TypeAlias = asyncpg.Record
Key: TypeAlias = tuple[object, ...]
Row = TypeVar("Row")
Rows: TypeAlias = dict[Key, Row]


class Projection(StrEnum):
    """Everything that is folded from one topic: it has one worker per process, and checkpoints of its own."""

    BILLING = "billing"
    PAYMENTS = "payments"
    LEDGER = "ledger"

    @property
    def topic(self) -> TopicName:
        """The topic's name without its cell's prefix."""
        return _TOPICS[self]


_TOPICS = {
    Projection.BILLING: TopicName.BILLING,
    Projection.PAYMENTS: TopicName.PAYMENTS,
    Projection.LEDGER: TopicName.LEDGER,
}


class Fact(NamedTuple):
    """An event, or a ledger entry, as a rule sees it: decoded, with where it stands in the log.

    `subject` is what its partition key names beside the tenant: the customer, or the stream where there is none.
    `shard` is its partition. Rows that many customers share carry it in their key, so that every row has one writer.
    """

    event: Any
    event_type: str
    tenant_id: str
    stream_type: str
    stream_id: str
    stream_version: int
    position: int
    event_id: str
    effective_at: datetime
    recorded_at: datetime
    causation_id: str | None
    subject: str
    shard: int


class Column(NamedTuple):
    """A column and its type in SQL, `text COLLATE "C" NOT NULL` for one."""

    name: str
    definition: str

    @property
    def type(self) -> str:
        """The bare type, as in a cast."""
        return self.definition.split(" ", 1)[0]


Tally: TypeAlias = Callable[[Rows[list[int]], Fact, Any, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadModel(Generic[Row]):
    """A table and its rule.

    `apply` changes rows in memory; the rows of `key_of(fact)` are there if they exist, unless `begins(fact)` says that
    they cannot. Columns in `sums` are added to what the table holds (rows in memory are then deltas, never loaded).
    Lists are in the order of `sorted_by` and the key's last column. `tally` tells the read model `tallied_by` how a
    row changed. `version` moves when the rule changes its meaning. `partial_indexes`: columns, and the rows they hold.
    `texts`: columns (or expressions) whose words are searched, of those rows that have any.
    """

    name: str
    version: int
    projection: Projection
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    events: frozenset[str]
    apply: Callable[[Rows[Row], Fact], None]
    write: Callable[[Key, Row], tuple[object, ...]]
    read: Callable[[Record], Row]
    key_of: Callable[[Fact], Key]
    begins: Callable[[Fact], bool]
    indexes: tuple[str, ...] = ()
    partial_indexes: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    sorted_by: str = ""
    view: str = "SELECT * FROM {table}"
    tally: Tally | None = None
    tallied_by: str | None = None
    of_customer: str = "customer_id"

    @property
    def words(self) -> str:
        """The searched words of a row, in SQL: as they are written, in whatever language."""
        joined = " || ' ' || ".join(f"coalesce({column}, '')" for column in self.texts)
        return f"to_tsvector('simple', {joined})"

    @property
    def customer_column(self) -> str | None:
        """The column that says whose a row is; None for what is no customer's own."""
        return self.of_customer if any(column.name == self.of_customer for column in self.columns) else None


def no_rule(rows: Rows[list[int]], fact: Fact) -> None:
    """The rule of a read model that is only tallied into by others."""


def sums_model(
    *,
    name: str,
    version: int,
    projection: Projection,
    key: tuple[Column, ...],
    sums: tuple[str, ...],
    view: str,
    events: frozenset[str] = frozenset(),
    apply: Callable[[Rows[list[int]], Fact], None] = no_rule,
    indexes: tuple[str, ...] = (),
) -> ReadModel[list[int]]:
    """A table of sums (whole numbers) per key."""
    names = tuple(column.name for column in key)
    return ReadModel(
        name=name,
        version=version,
        projection=projection,
        columns=(*key, *(Column(each, "bigint NOT NULL") for each in sums)),
        key=names,
        events=events,
        apply=apply,
        write=lambda row_key, row: (*row_key, *row),
        read=lambda record: [record[each] for each in sums],
        key_of=lambda fact: (),
        begins=lambda fact: True,
        indexes=indexes,
        sums=sums,
        view=view,
    )


def add(rows: Rows[list[int]], key: Key, first: int, second: int = 0) -> None:
    """Add to a row of two sums."""
    row = rows.get(key)
    if row is None:
        rows[key] = [first, second]
    else:
        row[0] += first
        row[1] += second
