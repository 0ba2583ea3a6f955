"""The books: every balanced entry with its postings, and what the accounts came to at any moment in both times.

An entry is what one event moved. `effective_at` is the business time it counts for, `position` (and `recorded_at`)
when the log learned of it: "January as we knew it on 3 February" is a question about both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from domain.catalogue import STREAMS
from domain.kernel.accounts import CONTROL_ACCOUNTS, Entry
from domain.kernel.stream import no_postings
from domain.ledger.journal_entry import JOURNAL_ENTRY
from projections import reading
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import OutOfOrder
from schemas.codec import LEDGER_ENTRY


class FoundEntry(NamedTuple):
    """A journal entry and the event that made it. `entry_id` is that event's id; `subject` the customer, or stream.

    `accounts` names those that it is posted to, in order, with commas: there are few such sets, so that they are an
    index by account.
    """

    state: Entry
    entry_id: str
    event_type: str
    stream_type: str
    stream_id: str
    subject: str
    effective_at: datetime
    recorded_at: datetime
    position: int
    accounts: str


POSTING_STREAMS: Final = tuple(name for name, stream in STREAMS.items() if stream.postings is not no_postings)
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
        _named(tuple([posting.account for posting in fact.event.postings])),
    )


@lru_cache(maxsize=4_096)
def _named(accounts: tuple[str, ...]) -> str:
    return ",".join(sorted(set(accounts)))


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
        "tenant_id, accounts, effective_at, entry_id",
        "tenant_id, stream_type, stream_id",
        "tenant_id, recorded_at, position",
    ),
    sorted_by="effective_at",
    of_customer="subject",
)


_SETS_OF_ACCOUNTS: Final = """
WITH RECURSIVE sets AS (
    (SELECT accounts FROM read.ledger_entries WHERE tenant_id = $1 ORDER BY accounts LIMIT 1)
    UNION ALL
    SELECT following.accounts FROM sets CROSS JOIN LATERAL (
        SELECT accounts FROM read.ledger_entries e
        WHERE e.tenant_id = $1 AND e.accounts > sets.accounts ORDER BY e.accounts LIMIT 1
    ) AS following
)
SELECT accounts FROM sets
"""
"""Each set of accounts that any entry is posted to: one step down the index a set, however many entries there are."""

_OF_CUSTOMER: Final = f"AND (e.subject = $4 OR e.stream_type = '{JOURNAL_ENTRY.name}') AND p.customer_id = $4"


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
    account: str | None = None,
    effective: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[FoundEntry]:
    """Entries, the latest effective first. `stream_id`: those of one invoice, payment or journal entry."""
    where: dict[str, object] = {"subject": customer_id, "stream_id": stream_id}
    if stream_id is not None:
        where["stream_type"] = POSTING_STREAMS
    if account is not None:
        found = await connection.fetch(_SETS_OF_ACCOUNTS, tenant_id)
        where["accounts"] = tuple(each[0] for each in found if account in each[0].split(","))
    return await reading.page(connection, TABLE, tenant_id, where=where, created=effective, request=request)


async def balances_as_of(
    connection: Reader, tenant_id: str, as_of: AsOf, *, customer_id: str | None = None
) -> Sequence[Balance]:
    """Every account's debits and credits at a moment in both times, from the entries themselves.

    Of one customer: from the entries of what is theirs, and from those by hand, which name a customer in each posting.
    """
    records = await connection.fetch(
        f"""SELECT p.account, (p.amount ->> 'currency') AS currency,
               coalesce(sum((p.amount ->> 'amount')::bigint) FILTER (WHERE p.side = 'debit'), 0)::bigint AS debit,
               coalesce(sum((p.amount ->> 'amount')::bigint) FILTER (WHERE p.side = 'credit'), 0)::bigint AS credit
           FROM read.ledger_entries e,
               jsonb_to_recordset(e.postings) AS p (account text, side text, amount jsonb, customer_id text)
           WHERE e.tenant_id = $1 AND e.position <= $2 AND ($3::timestamptz IS NULL OR e.effective_at < $3)
               {"" if customer_id is None else _OF_CUSTOMER}
           GROUP BY 1, 2 ORDER BY 2, 1""",  # noqa: S608  a constant
        tenant_id,
        as_of.position,
        as_of.effective_before,
        *([] if customer_id is None else [customer_id]),
    )
    return [Balance(*record) for record in records]


async def controlled_balances(connection: Reader, tenant_id: str, customer_id: str) -> Sequence[Balance]:
    """A customer's control accounts by now, in one statement, so of one moment. By hand nothing is posted to them."""
    records = await connection.fetch(
        """SELECT p.account, (p.amount ->> 'currency') AS currency,
               coalesce(sum((p.amount ->> 'amount')::bigint) FILTER (WHERE p.side = 'debit'), 0)::bigint AS debit,
               coalesce(sum((p.amount ->> 'amount')::bigint) FILTER (WHERE p.side = 'credit'), 0)::bigint AS credit
           FROM read.ledger_entries e,
               jsonb_to_recordset(e.postings) AS p (account text, side text, amount jsonb, customer_id text)
           WHERE e.tenant_id = $1 AND e.subject = $2 AND p.customer_id = $2 AND p.account = ANY($3::text[])
           GROUP BY 1, 2 ORDER BY 2, 1""",
        tenant_id,
        customer_id,
        list(CONTROL_ACCOUNTS),
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
