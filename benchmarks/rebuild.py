"""Rebuilding every read model from the log, against only reading and decoding the same rows; and projecting live.

`python -m benchmarks.rebuild [events …]` (by default 10,000, 100,000 and 1,000,000: some minutes). The log
is the telecom months: subscriptions renewed, invoiced, charged and paid. A rebuild is timed whole: new tables, fold,
COPY, indexes, row security, swapped views. The limit reads pages of the log and decodes each event and entry, once.
"""

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from benchmarks.servers import bench_servers, found_by
from domain.catalogue import STREAMS
from infra.event_store.log import READ
from infra.kafka.relay import Relay
from infra.settings import Settings
from projections.catalogue import READ_MODELS
from projections.folding.rebuild import rebuild
from projections.folding.tables import migrate
from projections.folding.worker import Projections
from projections.read_model import Projection
from schemas.codec import decode_entry, decode_event
from testing.histories import History, renewals, write_log

SIZES = (10_000, 100_000, 1_000_000)
LIVE_EVENTS = 40_000
ROUNDS = 3
ROUNDS_OF_LONG_LOGS = 2
LONG_LOG_EVENTS = 500_000
PAGE_EVENTS = 5_000
EVENTS_OF_A_CUSTOMER = 12  # to the first paid invoice; seven a month after that
EVENTS_OF_A_RENEWAL = 7
MONTHS = 12


async def rows(sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """Events per second; `flat` is the time per event of the longest log over that of the shortest."""
    async with bench_servers() as settings:
        found = [await _rebuild(settings, events) for events in sizes]
        longest, shortest = found[-1], found[0]
        live = await _live(settings)
    flat = shortest["ours"] / longest["ours"]
    notes = "; ".join(f"{each['events']:,} events: {each['ours']:,.0f}/s, {each['memory_mib']} MiB" for each in found)
    return [
        {
            "id": "rebuild",
            "ours": round(longest["ours"]),
            "unit": "events/s",
            "ratios": {"read and decode": round(longest["ratio"], 2), "time per event, longest log": round(flat, 2)},
            "notes": notes,
        },
        {"id": "project-live", "ours": round(live), "unit": "records/s", "ratios": {}},
    ]


async def _rebuild(settings: Settings, events: int) -> dict[str, Any]:
    dsn = await _database(settings, f"rebuild_{events}")
    connection = await asyncpg.connect(dsn)
    history = renewals(max(1, events // (EVENTS_OF_A_CUSTOMER + EVENTS_OF_A_RENEWAL * MONTHS)), MONTHS)
    await write_log(connection, history.events)
    head = len(history.events)
    del history
    await connection.execute("VACUUM ANALYZE log.events")
    await _come_as_far_as(connection, head)
    ours: list[float] = []
    limit: list[float] = []
    for _ in range(ROUNDS if events < LONG_LOG_EVENTS else ROUNDS_OF_LONG_LOGS):
        limit.append(await _read_and_decode(connection))
        start = time.perf_counter()
        await rebuild(settings, READ_MODELS, owner_dsn=dsn)
        ours.append(time.perf_counter() - start)
    await connection.close()
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "events": head,
        "ours": head / min(ours),
        "ratio": min(limit) / min(ours),
        "memory_mib": max(usage) // 1024,
    }


async def _read_and_decode(connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    """Seconds to read the log page by page and decode what each row holds."""
    start = time.perf_counter()
    position = 0
    while page := await connection.fetch(READ, position, PAGE_EVENTS):
        for row in page:
            decode_event(row["payload"])
            if row["postings"] is not None:
                decode_entry(row["postings"])
        position = page[-1]["position"]
    return time.perf_counter() - start


async def _come_as_far_as(connection: "asyncpg.Connection[asyncpg.Record]", head: int) -> None:
    """Say that workers have folded all of it, as a rebuild goes exactly as far as they."""
    for projection in Projection:
        await connection.execute(
            """INSERT INTO read.checkpoints (projection, fold, partition, topic, incarnation, position, kafka_offset)
               SELECT $1, 1, p, '', 1, $2, 0 FROM generate_series(0, 11) AS p""",
            projection.value,
            head,
        )


async def _live(settings: Settings) -> float:
    """Records per second of one process that folds what waits in Kafka."""
    dsn = await _database(settings, "live")
    assert settings.kafka.bootstrap is not None
    connection = await asyncpg.connect(dsn)
    history: History = renewals(LIVE_EVENTS // (EVENTS_OF_A_CUSTOMER + EVENTS_OF_A_RENEWAL * MONTHS), MONTHS)
    await write_log(connection, history.events)
    settings = replace(settings, kafka=settings.kafka.model_copy(update={"topic_prefix": "live."}))
    relay = Relay(settings, dsn=dsn, bootstrap=str(settings.kafka.bootstrap), streams=STREAMS)
    publishing = asyncio.create_task(relay.run())
    while relay.position < len(history.events):  # noqa: ASYNC110  nothing tells
        await asyncio.sleep(0.05)
    await _stop(publishing)
    records = await connection.fetchval(
        "SELECT count(*) + count(postings) FROM log.events WHERE position <= $1", len(history.events)
    )
    workers = Projections(settings, dsn=dsn, bootstrap=str(settings.kafka.bootstrap))
    folding = asyncio.create_task(workers.run())
    start = 0.0
    while not await connection.fetchval(
        "SELECT NOT EXISTS (SELECT FROM relay.published r LEFT JOIN read.checkpoints c "
        "ON c.topic = r.topic AND c.partition = r.partition WHERE coalesce(c.position, 0) < r.position)"
    ):
        if not start and await connection.fetchval("SELECT coalesce(sum(position), 0) > 0 FROM read.checkpoints"):
            start = time.perf_counter()
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - start
    await _stop(folding)
    await connection.close()
    return float(records / seconds)


async def _database(settings: Settings, name: str) -> str:
    """A migrated database of its own beside the others; its address."""
    url = settings.database.owner_url or settings.database.url
    assert url is not None
    parts = urlsplit(url.get_secret_value())
    connection = await asyncpg.connect(parts.geturl())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    dsn = parts._replace(path=f"/{name}").geturl()
    await migrate(dsn)
    return dsn


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def main() -> None:
    for row in await rows([int(each) for each in sys.argv[1:]] or SIZES):
        print(row)


if __name__ == "__main__":
    found_by(main())
