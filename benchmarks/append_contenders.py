"""The others that `benchmarks.append` measures the writer against; its docstring says what each one does."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from domain.commands import decide
from domain.customers.customer import CUSTOMER, Customer, UpdateCustomer, evolve
from domain.kernel.stream import State, Stream
from infra.clock import system_clock
from infra.database import Connection
from infra.event_store.port import Answer
from infra.ids import EventIds, new_id
from schemas.codec import default_codec

NAIVE_MAX_CONNECTIONS: Final = 64
LIBRARY_MAX_THREADS: Final = 64
TENANT: Final = "bench"
ZONES: Final = ("Europe/Berlin", "UTC")
ANSWER: Final = Answer(b'{"id":"cus_01k0000000000000000000000","object":"customer","time_zone":"Europe/Berlin"}' * 4)
HASH: Final = hashlib.sha256(b"a request").digest()


class OneCustomer:
    """A customer's state, by itself: all that `UpdateCustomer` reads. A `Streams`."""

    def __init__(self, state: Customer | None) -> None:
        self.state = state

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        return self.state  # type: ignore[return-value]  # no other stream is asked for

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        return self.state is None


async def closed_loop(callers: list[Callable[[], Awaitable[None]]], seconds: float) -> float:
    """Let each caller call again and again; calls per second."""
    done = 0
    until = time.perf_counter() + seconds

    async def call_on(call: Callable[[], Awaitable[None]]) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await call()
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*map(call_on, callers))
    return done / (time.perf_counter() - started)


async def naive(dsn: str, ids: list[str], seconds: float) -> float:
    """A transaction per command, as one writes it first."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=min(len(ids), NAIVE_MAX_CONNECTIONS))
    event_ids = EventIds()
    event_ids.start_block(system_clock())
    codec = default_codec()
    async with pool.acquire() as connection:
        rows = await connection.fetch("SELECT stream_id, payload FROM log.events ORDER BY position")
    states: dict[str, Customer | None] = {}
    for stream_id, payload in rows:
        states[stream_id] = evolve(states.get(stream_id), codec.decode_event(payload))  # type: ignore[arg-type]  # its own

    def caller(customer_id: str) -> Callable[[], Awaitable[None]]:
        own = OneCustomer(states[customer_id])
        turn = 0

        async def call() -> None:
            nonlocal turn
            turn += 1
            key = new_id("idem_")
            async with pool.acquire() as connection, connection.transaction():
                stored = await connection.fetchrow(
                    "SELECT answer FROM log.command_results WHERE tenant_id = $1 AND idempotency_key = $2",
                    TENANT,
                    key,
                )
                assert stored is None
                version = await connection.fetchval(
                    "SELECT version FROM log.streams WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3",
                    TENANT,
                    CUSTOMER.name,
                    customer_id,
                )
                now = datetime.now(UTC)
                command = UpdateCustomer(customer_id=customer_id, time_zone=ZONES[turn % 2])
                for change in decide(command, own, now).changes:
                    own.state = CUSTOMER.evolve(own.state, change.event)
                    event_type, schema_id, payload = codec.encode_event(change.event)
                    changed = await connection.execute(
                        "UPDATE log.streams SET version = version + 1, last_change = 1 "
                        "WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 AND version = $4",
                        TENANT,
                        CUSTOMER.name,
                        customer_id,
                        version,
                    )
                    assert changed == "UPDATE 1"
                    head = await connection.fetchrow(
                        "UPDATE log.head SET position = position + 1, recorded_at = greatest(recorded_at, "
                        "clock_timestamp()) RETURNING position, recorded_at"
                    )
                    assert head is not None
                    position, recorded_at = head
                    await connection.execute(
                        "INSERT INTO log.command_results (position, events, decided_at, tenant_id, idempotency_key, "
                        "request_hash, answer) VALUES ($1, 1, $2, $3, $4, $5, $6)",
                        position,
                        recorded_at,
                        TENANT,
                        key,
                        HASH,
                        ANSWER.body,
                    )
                    await connection.execute(
                        INSERT_EVENT,
                        position,
                        recorded_at,
                        now,
                        version + 1,
                        schema_id,
                        event_ids.next(),
                        TENANT,
                        CUSTOMER.name,
                        customer_id,
                        event_type,
                        f"{TENANT}:{customer_id}",
                        "key_bench",
                        "req_bench",
                        None,
                        payload,
                        None,
                    )

        return call

    try:
        return await closed_loop([caller(one) for one in ids], seconds)
    finally:
        await pool.close()


COLUMNS: Final = (
    ("position", "bigint"),
    ("recorded_at", "timestamptz"),
    ("effective_at", "timestamptz"),
    ("stream_version", "int"),
    ("schema_id", "int"),
    ("event_id", "text"),
    ("tenant_id", "text"),
    ("stream_type", "text"),
    ("stream_id", "text"),
    ("event_type", "text"),
    ("partition_key", "text"),
    ("actor", "text"),
    ("correlation_id", "text"),
    ("causation_id", "text"),
    ("payload", "bytea"),
    ("postings", "bytea"),
)
EVENT_COLUMNS: Final = [name for name, _ in COLUMNS]
INSERT_EVENT: Final = (
    f"INSERT INTO log.events ({', '.join(EVENT_COLUMNS)}) "  # noqa: S608  constants
    f"VALUES ({', '.join(f'${n}' for n in range(1, len(EVENT_COLUMNS) + 1))})"
)
INSERT_ARRAYS: Final = (
    f"INSERT INTO log.events ({', '.join(EVENT_COLUMNS)}) SELECT * FROM unnest("  # noqa: S608  constants
    + ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(COLUMNS, start=1))
    + ")"
)


async def raw(dsn: str, ids: list[str], seconds: float) -> float:
    """Batches of encoded events into the events table with its indexes, and nothing else; the faster of two ways."""
    connection: Connection = await asyncpg.connect(dsn)
    template = await connection.fetchrow(
        f"SELECT {', '.join(EVENT_COLUMNS)} FROM log.events ORDER BY position DESC LIMIT 1"  # noqa: S608  constants
    )
    assert template is not None
    event_ids = EventIds()
    event_ids.start_block(system_clock())

    async def copy(rows: list[tuple[Any, ...]]) -> None:
        await connection.copy_records_to_table("events", schema_name="log", columns=EVENT_COLUMNS, records=rows)

    async def insert(rows: list[tuple[Any, ...]]) -> None:
        await connection.execute(INSERT_ARRAYS, *zip(*rows, strict=True))

    best = 0.0
    for way in (copy, insert):
        position: int = await connection.fetchval("SELECT max(position) FROM log.events")
        first = position
        started = time.perf_counter()
        while time.perf_counter() - started < seconds / 2:
            rows = []
            for stream_id in ids:
                position += 1
                # A version that no stream has had: the index is unique.
                row = (position, *template[1:3], position, template[4], event_ids.next(), *template[6:8], stream_id)
                rows.append((*row, *template[9:]))
            await way(rows)
        best = max(best, (position - first) / (time.perf_counter() - started))
    await connection.execute("UPDATE log.head SET position = (SELECT max(position) FROM log.events)")
    await connection.close()
    return best


class LibraryCustomer(Aggregate):
    """The same customer in the library's own way."""

    @event("Created")
    def __init__(self) -> None:
        self.time_zone = "UTC"

    @event("TimeZoneChanged")
    def change_time_zone(self, time_zone: str) -> None:
        self.time_zone = time_zone


class LibraryCustomers(Application[UUID]):
    """The same command in the library's own way."""

    def open(self) -> UUID:
        customer = LibraryCustomer()
        self.save(customer)
        return customer.id

    def change(self, customer_id: UUID, time_zone: str) -> None:
        customer: LibraryCustomer = self.repository.get(customer_id)
        customer.change_time_zone(time_zone)
        self.save(customer)


async def eventsourcing(dsn: str, ids: list[str], seconds: float) -> float:
    """The library with its recorder for PostgreSQL, a thread per caller."""
    return await asyncio.to_thread(_eventsourcing, dsn, len(ids), seconds)


def _eventsourcing(dsn: str, callers: int, seconds: float) -> float:
    url = urlsplit(dsn)
    application = LibraryCustomers(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": url.path[1:],
            "POSTGRES_HOST": url.hostname or "",
            "POSTGRES_PORT": str(url.port),
            "POSTGRES_USER": url.username or "",
            "POSTGRES_PASSWORD": url.password or "",
            "POSTGRES_POOL_SIZE": str(min(callers, LIBRARY_MAX_THREADS)),
            "POSTGRES_MAX_OVERFLOW": "0",
            "AGGREGATE_CACHE_MAXSIZE": "10000",
        }
    )
    threads = min(callers, LIBRARY_MAX_THREADS)
    ids = [application.open() for _ in range(threads)]
    counts = [0] * threads
    until = time.perf_counter() + seconds

    def call_on(place: int) -> None:
        while time.perf_counter() < until:
            application.change(ids[place], ZONES[counts[place] % 2])
            counts[place] += 1

    started = time.perf_counter()
    running = [threading.Thread(target=call_on, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    rate = sum(counts) / (time.perf_counter() - started)
    application.close()
    return rate
