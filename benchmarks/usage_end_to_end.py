"""Usage from the request to the sum: `python -m benchmarks.usage_end_to_end [events]`.

`usage-end-to-end`: events a second that are accepted and counted at once, by one process of the role `ingest`, asked as
fast as so many connections can, and one of the role `metering`, from the first request to the last commit; every event
has an id of its own, and makes one of so many keys (a series in a quarter hour). `-wide` is the same with many more
keys and a meter of unique members. The peer takes the same bodies, looks at nothing, hands them to the same brokers and
reads them once. The notes tell the processor time an event, by part, and what a million ids take: of the aggregator's
memory, of PostgreSQL and of Kafka.

`usage-visible`: at a moderate rate, from the answer to a request of one event until the sums have it; at the 95th
percentile.
"""

import asyncio
import contextlib
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.http_load import Load, Measured, all_at_once, measure, percentile_ms
from benchmarks.processor_time import ProcessorTime
from benchmarks.results import Row
from benchmarks.servers import bench_stack, found_by
from benchmarks.usage_ingest import connected
from cli.api_client import ApiClient
from cli.faults.stage import CAUGHT_UP
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.configured import bootstrap, owner_dsn
from host.embedded.process import free_port
from host.stack import Stack
from infra.kafka.topics import full_name
from projections.read_model import Projection
from usage.wire import topic_of

PATH: Final = "/v1/usage/events"
PREPARING: Final = ("api", "relay", "projections")
ROLES: Final = (*PREPARING, "ingest", "metering")
EVENTS: Final = 1_000_000
BATCH: Final = 1_000
BODIES: Final = 200
CONNECTIONS: Final = 8
DRAIN_S: Final = 300.0
SETTLE_S: Final = 0.005
START_TIMEOUT_S: Final = 60.0
RATE: Final = 5_000
RATE_BATCH: Final = 100
RATE_S: Final = 20.0
MIB: Final = 2**20
MEBI_IDS: Final = 1_000_000
BARE_TOPIC: Final = "bench.bare"

_IDS: Final = "SELECT coalesce(sum(ids), 0)::bigint FROM usage.dedupe_blocks"
_KEYS: Final = "SELECT (SELECT count(*) FROM usage.aggregates) + (SELECT count(*) FROM usage.tallies)"
_BYTES: Final = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'usage' AND c.relkind = 'r'
"""
_CHECKPOINTS: Final = "SELECT count(*) FROM usage.checkpoints"
_SUM_OF: Final = """
SELECT coalesce(sum(a.n), 0)::bigint FROM usage.aggregates a JOIN usage.series s USING (series) WHERE s.customer_id = $1
"""


@dataclass(frozen=True, slots=True)
class Width:
    """How many customers, each with six meters, there are; and of how many users the meter of unique ones is asked."""

    row: str
    customers: int
    users: int


WIDTHS: Final = (Width("usage-end-to-end", 200, 0), Width("usage-end-to-end-wide", 4_000, 20))


async def rows(events: int = EVENTS) -> list[Row]:
    """Each width on a stack of its own; visible with the first one's."""
    found: list[Row] = []
    for width in WIDTHS:
        async with bench_stack(roles=ROLES) as stack, _prepared(stack, width) as bench:
            if width is WIDTHS[0]:
                found.append(await _visible(bench))
            found.append(await _end_to_end(bench, events))
    return found


@dataclass(frozen=True, slots=True)
class _Bench:
    """A stack whose `ingest` takes the usage of customers by their ids, and a connection to its database."""

    stack: Stack
    width: Width
    key: str
    customers: Sequence[str]
    connection: "asyncpg.Connection[asyncpg.Record]"

    @property
    def port(self) -> int:
        return self.stack.supervisor.role("ingest-0").port

    def bodies(self) -> list[str]:
        """Requests whose events have ids of their own each time they are sent."""
        draw = random.Random(1)
        return [json.dumps([self.event(draw, f"{{n}}-{nth}") for nth in range(BATCH)]) for _ in range(BODIES)]

    def event(self, draw: random.Random, event_id: str) -> dict[str, Any]:
        """A meter sums bytes; where there are users, one of the six counts these instead."""
        properties = {"bytes": str(draw.randrange(10**6)), "region": draw.choice(("eu", "us"))}
        if self.width.users:
            properties["user"] = f"user {draw.randrange(self.width.users)}"
        return {
            "id": event_id,
            "meter": f"meter_{draw.randrange(6)}",
            "customer": draw.choice(self.customers),
            "timestamp": (datetime.now(UTC) - timedelta(seconds=draw.randrange(900))).isoformat(),
            "properties": properties,
        }

    def load(self, requests: int, bodies: Sequence[str], port: int) -> Load:
        return all_at_once(
            port,
            PATH,
            key=self.key,
            bodies=bodies,
            requests=requests,
            connections=CONNECTIONS,
            drain_s=DRAIN_S,
        )

    async def reaches(self, statement: str, number: int) -> None:
        """Wait until the database says so."""
        async with asyncio.timeout(DRAIN_S):
            while await self.connection.fetchval(statement) < number:  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(SETTLE_S)


@contextlib.asynccontextmanager
async def _prepared(stack: Stack, width: Width) -> AsyncIterator[_Bench]:
    """Meters and customers in the read models, an aggregator that has its partitions; what prepared them has gone."""
    dsn, settings = owner_dsn(stack.settings), stack.settings
    tenant = await create_tenant(dsn, settings, tenant_id="bench", name="Benchmark", mode=TenantMode.TEST)
    async with ApiClient(stack.api_url, tenant.key.secret, certificate_file=stack.certificate_file) as api:
        for nth in range(6):
            reads = {"aggregation": "sum", "value_property": "bytes"}
            if nth == 0 and width.users:
                reads = {"aggregation": "unique", "unique_property": "user"}
            await api.post("/v1/meters", {"code": f"meter_{nth}", "name": f"Meter {nth}", **reads}, key=f"m{nth}")
        slots = asyncio.Semaphore(CONNECTIONS)

        async def made(nth: int) -> str:
            async with slots:
                return str((await api.post("/v1/customers", {"currency": "EUR"}, key=f"c{nth}"))["id"])

        customers = await asyncio.gather(*(made(nth) for nth in range(width.customers)))
    connection = await asyncpg.connect(dsn)
    try:
        topics = [full_name(settings.kafka.topic_prefix, projection.topic) for projection in Projection]
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await connection.fetchval(CAUGHT_UP, topics, [each.value for each in Projection]):  # noqa: ASYNC110
                await asyncio.sleep(SETTLE_S)
        await asyncio.gather(*(stack.supervisor.stop(f"{role}-0") for role in PREPARING))
        bench = _Bench(stack, width, tenant.key.secret, customers, connection)
        await bench.reaches(_CHECKPOINTS, settings.usage.partitions)
        await connected(bench.port, bench.key, json.dumps(bench.event(random.Random(2), "first")))
        await bench.reaches(_IDS, 1)
        yield bench
    finally:
        await connection.close()


async def _end_to_end(bench: _Bench, events: int) -> Row:
    requests, bodies = events // BATCH, bench.bodies()
    events = requests * BATCH
    ids = await bench.connection.fetchval(_IDS)
    before = _Taken.of(bench, await bench.connection.fetchval(_BYTES))
    time_of = ProcessorTime(bench.stack)
    with time_of:
        measured = await _measured(bench.load(requests, bodies, bench.port))
        await bench.reaches(_IDS, ids + events)
        seconds = time.time() - measured.began_at_s
    after = _Taken.of(bench, await bench.connection.fetchval(_BYTES))
    bare = events / await _bare(bench, requests, bodies)
    used = {name.removesuffix("-0"): s for name, s in time_of.used.items()}
    used["client"] = measured.cpu_s
    notes = (
        f"{events:,} events of {await bench.connection.fetchval(_KEYS):,} keys, lists of {BATCH}, {CONNECTIONS} "
        f"connections; accepted {measured.done_per_s * BATCH:,.0f}/s; processor time an event in µs: "
        f"{', '.join(f'{name} {1e6 * s / events:.2f}' for name, s in used.items())}, together "
        f"{1e6 * sum(used.values()) / events:.1f}; a million ids take {after.less(before, events)}; "
        f"bare {bare:,.0f} events/s"
    )
    rate = events / seconds
    return Row(bench.width.row, rate, "events/s", {"FastAPI, aiokafka and a consumer": rate / bare}, notes)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Bytes of the aggregator's memory, of PostgreSQL's tables of usage, and of Kafka's log of it."""

    memory: int
    postgres: int
    kafka: int

    @classmethod
    def of(cls, bench: _Bench, postgres: int) -> "_Taken":
        kafka = bench.stack.servers.kafka
        assert kafka is not None, "it is embedded"
        logs = kafka.folder.rglob(f"{topic_of(bench.stack.settings.kafka.topic_prefix)}-*/*.log")
        memory = psutil.Process(bench.stack.supervisor.role("metering-0").pid).memory_info().rss
        return cls(memory, postgres, sum(file.stat().st_size for file in logs))

    def less(self, before: "_Taken", ids: int) -> str:
        """What has come since, a million ids, in MiB."""
        parts = ((name, getattr(self, name) - getattr(before, name)) for name in ("memory", "postgres", "kafka"))
        return ", ".join(f"{name} {taken * MEBI_IDS / ids / MIB:.0f} MiB" for name, taken in parts)


async def _measured(load: Load) -> Measured:
    measured = await measure(load)
    if measured.failed:
        raise RuntimeError(f"{measured.failed} requests failed: {measured.first_failure}")
    return measured


async def _bare(bench: _Bench, requests: int, bodies: Sequence[str]) -> float:
    """Seconds until the peer has taken the same requests and they are read once."""
    port, brokers = free_port(), bootstrap(bench.stack.settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic(BARE_TOPIC, num_partitions=1, replication_factor=1)])
    await admin.close()
    command = (sys.executable, "-m", "benchmarks.usage_end_to_end_bare", str(port), brokers, BARE_TOPIC)
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            await _listens(port)
            reading = asyncio.create_task(_read(brokers, requests))
            measured = await _measured(bench.load(requests, bodies, port))
            await asyncio.wait_for(reading, DRAIN_S)
            return time.time() - measured.began_at_s
        finally:
            with contextlib.suppress(ProcessLookupError):  # a Ctrl-C reaches it, too
                process.terminate()
            await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def _read(brokers: str, records: int) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(BARE_TOPIC, 0)])
        while records > 0:
            records -= sum(len(found) for found in (await consumer.getmany(timeout_ms=200)).values())
    finally:
        await consumer.stop()


async def _visible(bench: _Bench) -> Row:
    """Events of one customer, one after the other, among those of all others."""
    customer, draw = bench.customers[0], random.Random(3)
    others = [each for each in bench.customers if each != customer]
    crowd = _Bench(bench.stack, bench.width, bench.key, others, bench.connection)
    bodies = [json.dumps([crowd.event(draw, f"v{{n}}-{nth}") for nth in range(RATE_BATCH)]) for _ in range(BODIES)]
    load = Load(
        host="127.0.0.1",
        port=bench.port,
        method="POST",
        paths=[PATH],
        headers={"Authorization": f"Bearer {bench.key}"},
        body="",
        bodies=bodies,
        requests_per_s=RATE / RATE_BATCH,
        duration_s=RATE_S,
        connections=CONNECTIONS,
        drain_s=DRAIN_S,
    )
    under_load = asyncio.create_task(_measured(load))
    await asyncio.sleep(1)  # until the load has started
    seconds: list[float] = []
    seen = await bench.connection.fetchval(_SUM_OF, customer)
    headers = {"Authorization": f"Bearer {bench.key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while not under_load.done():
            event = bench.event(draw, f"seen {len(seconds)}") | {"customer": customer}
            async with session.post(f"http://127.0.0.1:{bench.port}{PATH}", json=event) as answer:
                answer.raise_for_status()
            accepted = time.perf_counter()
            while await bench.connection.fetchval(_SUM_OF, customer) <= seen + len(seconds):  # noqa: ASYNC110
                await asyncio.sleep(SETTLE_S)
            seconds.append(time.perf_counter() - accepted)
            await asyncio.sleep(draw.random() / 20)
    measured = await under_load
    await bench.reaches(_IDS, 1 + len(measured.latencies_ms) * RATE_BATCH + len(seconds))
    seconds.sort()
    p50, p95, p99 = (percentile_ms(seconds, percent) for percent in (50, 95, 99))
    assert not math.isnan(p50), "some were seen"
    notes = (
        f"p50 {p50} p95 {p95} p99 {p99} ms from accepted to counted, one at a time, {len(seconds)} samples, among "
        f"{measured.done_per_s * RATE_BATCH:,.0f} events/s; asked each {SETTLE_S * 1000:.0f} ms"
    )
    return Row("usage-visible", p95, "ms (p95)", notes=notes)


if __name__ == "__main__":
    for row in found_by(rows(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)):
        print(row)
