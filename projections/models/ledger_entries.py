"""The books: every balanced entry with its postings, and what the accounts came to at any moment in both times.

An entry is what one event moved. `effective_at` is the business time it counts for, `position` (and `recorded_at`)
when the log learned of it: "January as we knew it on 3 February" is a question about both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from domain.kernel.accounts import Entry
from projections import reading
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import OutOfOrder
from schemas.codec import LEDGER_ENTRY


class FoundEntry(NamedTuple):
    """A journal entry and the event that made it. `entry_id` is that event's id; `subject` the customer, or stream."""

    state: Entry
    entry_id: str
    event_type: str
    stream_type: str
    stream_id: str
    subject: str
    effective_at: datetime
    recorded_at: datetime
    position: int


_LAYOUT = layout(FoundEntry, Entry)


def apply(rows: Rows[FoundEntry], fact: Fact) -> None:
    """An entry is only ever added."""
    key = (fact.tenant_id, fact.event_id)
    if key in rows:
        raise OutOfOrder(f"the entry of {fact.event_id} is there already")
    rows[key] = FoundEntry(
        fact.event,
        fact.event_id,
        fact.event_type,
        fact.stream_type,
        fact.stream_id,
        fact.subject,
        fact.effective_at,
        fact.recorded_at,
        fact.position,
    )


TABLE: ReadModel[FoundEntry] = ReadModel(
    name="ledger_entries",
    version=1,
    projection=Projection.LEDGER,
    columns=_LAYOUT.columns,
    key=("tenant_id", "entry_id"),
    events=frozenset({LEDGER_ENTRY}),
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.event_id),
    begins=lambda fact: True,
    indexes=(
        "tenant_id, effective_at, entry_id",
        "tenant_id, subject, effective_at, entry_id",
        "tenant_id, stream_id",
        "tenant_id, recorded_at, position",
    ),
    sorted_by="effective_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """A moment in both times: entries effective before `effective_before` (None: all) and known at `position`."""

    position: int
    effective_before: datetime | None = None


class Balance(NamedTuple):
    """What was debited to and credited to an account in one currency (minor units)."""

    account: str
    currency: str
    debit: int
    credit: int


async def get(connection: Reader, tenant_id: str, entry_id: str) -> FoundEntry | None:
    """The entry that an event made, by the event's id."""
    return await reading.one(connection, TABLE, tenant_id, entry_id)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    customer_id: str | None = None,
    stream_id: str | None = None,
    effective: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[FoundEntry]:
    """Entries, the latest effective first. `stream_id`: those of one invoice, payment or journal entry."""
    where = {"subject": customer_id, "stream_id": stream_id}
    return await reading.page(connection, TABLE, tenant_id, where=where, created=effective, request=request)


async def balances_as_of(
    connection: Reader, tenant_id: str, as_of: AsOf, *, customer_id: str | None = None
) -> Sequence[Balance]:
    """Every account's debits and credits at a moment in both times, from the entries themselves."""
    records = await connection.fetch(
        """SELECT p.account, (p.amount ->> 'currency') AS currency,
               coalesce(sum((p.amount ->> 'amount')::bigint) FILTER (WHERE p.side = 'debit'), 0)::bigint AS debit,
               coalesce(sum((p.amount ->> 'amount')::bigint) FILTER (WHERE p.side = 'credit'), 0)::bigint AS credit
           FROM read.ledger_entries e,
               jsonb_to_recordset(e.postings) AS p (account text, side text, amount jsonb, customer_id text)
           WHERE e.tenant_id = $1 AND e.position <= $2 AND ($3::timestamptz IS NULL OR e.effective_at < $3)
               AND ($4::text IS NULL OR p.customer_id = $4)
           GROUP BY 1, 2 ORDER BY 2, 1""",
        tenant_id,
        as_of.position,
        as_of.effective_before,
        customer_id,
    )
    return [Balance(*record) for record in records]


async def position_at(connection: Reader, tenant_id: str, recorded: datetime) -> int:
    """Recorded time to position: of the last entry that the log had recorded by an instant; 0 before the first.

    Positions rise with recorded time, so the entries' own index is the map, to the entry.
    """
    position = await connection.fetchval(
        "SELECT position FROM read.ledger_entries WHERE tenant_id = $1 AND recorded_at <= $2 "
        "ORDER BY recorded_at DESC, position DESC LIMIT 1",
        tenant_id,
        recorded,
    )
    return int(position or 0)
