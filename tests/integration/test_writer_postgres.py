"""What only PostgreSQL can show of the writer: bytes it cannot write, its plans, its partitions, its snapshots."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from infra.database import Connection
from infra.event_store.opening import open_writer
from infra.event_store.port import Answer, Decided, Outcome
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from testing.requests import request
from testing.services import FreshDatabase
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Raise, RaiseAsMuchAs, Remind, Rename
from tests.contracts.event_store_contract import value_of

RUN_LIMIT_S = 60


def counter_writer(dsn: str, **limits: int) -> GroupCommitWriter:
    settings = WriterSettings(**limits)
    return open_writer(dsn, settings, handlers=HANDLERS, codec=CounterCodec())


@pytest.fixture
async def writer(database: FreshDatabase) -> AsyncIterator[GroupCommitWriter]:
    writer = counter_writer(database.dsn)
    yield writer
    await writer.close()


@pytest.fixture
async def admin(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def until(connection: Connection, query: str) -> None:
    """Wait until a query says true."""
    async with asyncio.timeout(RUN_LIMIT_S):
        while not await connection.fetchval(query):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("unwritable", ["a\x00b", "lone \ud800"])
async def test_text_that_postgresql_cannot_hold_fails_its_command_alone(
    writer: GroupCommitWriter, unwritable: str
) -> None:
    results = await asyncio.gather(
        *(writer.submit(request(Open(counter_id=f"c{n}" if n != 3 else unwritable))) for n in range(9)),
        return_exceptions=True,
    )
    assert [isinstance(result, Outcome) for result in results] == [n != 3 for n in range(9)]
    assert isinstance(results[3], (asyncpg.PostgresError, ValueError))


AWKWARD = ['"', "\\", "{}", ",", "NULL", "null", " ", "\t\n", "'", '\\"', "é…😀", "{a,b}", '","', "$1", "%s"]


async def test_awkward_text_is_written_as_it_is(writer: GroupCommitWriter, admin: Connection) -> None:
    outcomes = await asyncio.gather(
        *(writer.submit(request(Open(counter_id=text, customer_id=text), key=text)) for text in AWKWARD)
    )
    assert [outcome.refusal_code for outcome in outcomes] == [None] * len(AWKWARD)
    rows = await admin.fetch(
        "SELECT e.stream_id, r.idempotency_key, e.partition_key FROM log.events e "
        "JOIN log.command_results r USING (position) ORDER BY position"
    )
    assert [tuple(row) for row in rows] == [(text, text, f"acme:{text}") for text in AWKWARD]


async def test_answers_of_all_lengths_are_stored_as_they_are(writer: GroupCommitWriter, admin: Connection) -> None:
    answers = [None, Answer(b""), Answer(b"\x00\xff" * 5_000, "p1"), Answer(b"x"), None, Answer(b"last")]

    def giving(answer: Answer) -> Callable[[Decided], Answer]:
        return lambda _: answer

    await asyncio.gather(
        *(
            writer.submit(request(Open(counter_id=f"c{n}"), answer=None if answer is None else giving(answer)))
            for n, answer in enumerate(answers)
        )
    )
    rows = await admin.fetch("SELECT answer, answer_person_id FROM log.command_results ORDER BY position")
    assert [None if row[0] is None else Answer(row[0], row[1]) for row in rows] == answers


async def test_the_writer_never_scans_a_table(database: FreshDatabase, admin: Connection) -> None:
    await admin.execute("ANALYZE")  # the worst case: statistics say that every table is empty
    first, second = counter_writer(database.dsn), counter_writer(database.dsn, cached_streams=0)
    for n in range(40):
        await asyncio.gather(
            first.submit(request(Open(counter_id=f"a{n}", name=f"n{n}"))),
            second.submit(request(Open(counter_id=f"b{n}"))),
            second.submit(request(Raise(counter_id="a0", by=1), key=f"k{n // 2}")),
            first.submit(request(RaiseAsMuchAs(counter_id=f"a{n}", as_id="a0"))),
            first.submit(request(Rename(counter_id=f"a{n}", name=f"m{n}"))),
            second.submit(request(Open(counter_id=f"c{n}", name=f"m{n // 2}"))),
            first.submit(request(Remind(counter_id=f"a{n}", after_ms=5))),
            second.submit(request(Remind(counter_id=f"a{n // 2}"))),
        )
    # Counters reach the statistics when their sessions end.
    await first.close()
    await second.close()
    await until(admin, "SELECT sum(n_tup_ins) > 100 FROM pg_stat_user_tables WHERE relname = 'events_from_1'")
    scans = await admin.fetch(
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname IN ('log', 'vault') AND seq_scan > 0 "
        "AND relname NOT IN ('partitioning', 'head', 'events_from_20000001')"  # attaching the last one looks at it
    )
    assert [tuple(scan) for scan in scans] == []


async def test_partitions_are_made_ahead_while_the_log_grows(database: FreshDatabase, admin: Connection) -> None:
    # As if the log had been made with partitions of 50 positions.
    await admin.execute(
        "UPDATE log.partitioning SET partition_positions = 50;"
        "UPDATE log.head SET position = made_up_to - 110 FROM log.partitioning"
    )
    writer = counter_writer(database.dsn)
    await writer.submit(request(Open(counter_id="c1")))
    for _ in range(20):
        await asyncio.gather(*(writer.submit(request(Raise(counter_id="c1", by=1, events=5))) for _ in range(5)))
    await writer.close()
    partitions = await admin.fetch(
        "SELECT tableoid::regclass::text, count(*), max(position) - min(position) + 1 FROM log.events GROUP BY 1"
    )
    assert len(partitions) >= 9
    assert sum(row[1] for row in partitions) == 501
    assert all(row[1] == row[2] for row in partitions), "gapless"
    # A partition made while the log grew refuses changes as the first ones do.
    newest = max(row[0] for row in partitions)
    for change in (f"DELETE FROM {newest}", f"TRUNCATE {newest}", f"UPDATE {newest} SET actor = ''"):  # noqa: S608
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await admin.execute(change)


async def test_a_log_out_of_partitions_gets_one_without_losing_a_command(
    database: FreshDatabase, admin: Connection
) -> None:
    await admin.execute("UPDATE log.head SET position = made_up_to - 1 FROM log.partitioning")
    writer = counter_writer(database.dsn)
    outcomes = await asyncio.gather(*(writer.submit(request(Open(counter_id=f"c{n}"))) for n in range(10)))
    await writer.close()
    assert [outcome.position for outcome in outcomes] == list(range(20_000_000, 20_000_010))


async def test_a_snapshot_stands_in_for_the_events_before_it(database: FreshDatabase, admin: Connection) -> None:
    writer = counter_writer(database.dsn, snapshot_every_events=10)
    await writer.submit(request(Open(counter_id="c1")))
    for _ in range(12):
        await writer.submit(request(Raise(counter_id="c1", by=2)))
    await until(admin, "SELECT count(*) = 1 FROM log.snapshots WHERE stream_id = 'c1' AND version = 10")
    await writer.close()

    async def value_for_a_new_writer() -> Answer | None:
        fresh = counter_writer(database.dsn)
        outcome = await fresh.submit(request(Raise(counter_id="c1", by=1), answer=value_of))
        await fresh.close()
        return outcome.answer

    assert await value_for_a_new_writer() == Answer(b"value: 25")
    # Another counter's state in the snapshot shows that it is what was loaded.
    await writer_of(database, "c2", by=100)
    await admin.execute("UPDATE log.snapshots SET state = s.state FROM log.snapshots s WHERE s.stream_id = 'c2'")
    assert await value_for_a_new_writer() == Answer(b"value: 908")  # 900, the four raises since version 10, and its own
    # Without it the events say what is right.
    await admin.execute("DELETE FROM log.snapshots")
    assert await value_for_a_new_writer() == Answer(b"value: 27")


async def writer_of(database: FreshDatabase, counter_id: str, *, by: int) -> None:
    """Write a stream long enough for a snapshot, and wait for it."""
    writer = counter_writer(database.dsn, snapshot_every_events=10)
    await writer.submit(request(Open(counter_id=counter_id)))
    await writer.submit(request(Raise(counter_id=counter_id, by=by, events=9)))
    connection = await asyncpg.connect(database.dsn)
    await until(connection, f"SELECT count(*) = 1 FROM log.snapshots WHERE stream_id = '{counter_id}'")  # noqa: S608
    await connection.close()
    await writer.close()
