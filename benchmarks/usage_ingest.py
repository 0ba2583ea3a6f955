"""Usage events accepted a second: by thousands and one by one, beside the framework and the client that it stands on.

A process of the role `ingest` is asked as fast as so many connections can. bare-fastapi is FastAPI with the same server
settings that reads the same bodies and answers; bare-aiokafka hands the same records, made beforehand, to the same
brokers with the same producer. Each event is of one of so many customers, has an id of its own, a value and two
properties. The processor time of the process an event is in the notes.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import psutil

from benchmarks.http_load import Load, Measured, all_at_once, measure
from benchmarks.results import Row
from benchmarks.servers import bench_servers
from cli.api_client import ApiClient
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from domain.metering.usage_value import NANOS
from host.configured import bootstrap, owner_dsn
from host.embedded.process import free_port
from host.stack import NO_LIMITS
from infra.settings import Settings
from usage.ingest.producer import UsageProducer
from usage.wire import EVENT, WireEvent, partition_of_customer

PATH: Final = "/v1/usage/events"
CUSTOMERS: Final = 200
BODIES: Final = 40
EVENTS: Final = 1_000
CONNECTIONS: Final = 8
BATCHES: Final = 600
SINGLES: Final = 12_000
START_TIMEOUT_S: Final = 60.0


async def rows() -> list[Row]:
    """usage-ingest and usage-ingest-single."""
    async with bench_servers() as settings:
        tenant = await create_tenant(
            owner_dsn(settings), settings, tenant_id="bench", name="Benchmark", mode=TenantMode.TEST
        )
        key = tenant.key.secret
        async with _process(settings, "api") as api, _process(settings, "ingest") as ingest:
            customers = await _prepared(api.port, key)
            bodies = [json.dumps(_events(customers, EVENTS, nth)) for nth in range(BODIES)]
            singles = [json.dumps(event) for event in _events(customers, EVENTS, BODIES)]
            await connected(ingest.port, key, singles[0])
            batch = _load(ingest.port, key, bodies, BATCHES)
            single = _load(ingest.port, key, singles, SINGLES)
            await measure(replace(batch, requests_per_s=40, duration_s=1))
            ours, ours_us = await _measured(ingest, batch, EVENTS)
            ours_single, ours_single_us = await _measured(ingest, single, 1)
        async with _bare() as bare:
            fastapi, fastapi_us = await _measured(bare, replace(batch, port=bare.port), EVENTS)
            fastapi_single, fastapi_single_us = await _measured(bare, replace(single, port=bare.port), 1)
        kafka = await _appended(settings, customers)
    rate, rate_single = _events_per_s(ours, EVENTS), _events_per_s(ours_single, 1)
    return [
        Row(
            "usage-ingest",
            rate,
            "events/s",
            {"bare-fastapi": rate / _events_per_s(fastapi, EVENTS), "bare-aiokafka": rate / kafka},
            f"lists of {EVENTS}, {CONNECTIONS} connections; {ours_us:.1f} µs of processor time an event, bare FastAPI "
            f"{fastapi_us:.2f}; {ours.failed} failed; bare aiokafka {kafka:,.0f} events/s",
        ),
        Row(
            "usage-ingest-single",
            rate_single,
            "events/s",
            {"bare-fastapi": rate_single / _events_per_s(fastapi_single, 1)},
            f"one event a request, {CONNECTIONS} connections; {ours_single_us:.0f} µs of processor time a request, "
            f"bare FastAPI {fastapi_single_us:.0f}; {ours_single.failed} failed",
        ),
    ]


class _Served:
    """A process that serves at a port."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._process = psutil.Process(pid)

    @property
    def cpu_s(self) -> float:
        used = self._process.cpu_times()
        return float(used.user + used.system)


async def _prepared(port: int, key: str) -> list[str]:
    """A meter, and customers by their ids."""
    async with ApiClient(f"http://127.0.0.1:{port}", key) as api:
        meter = {"code": "bytes", "name": "Bytes", "aggregation": "sum", "value_property": "bytes"}
        await api.post("/v1/meters", meter, key="meter")
        made = [await api.post("/v1/customers", {"currency": "EUR"}, key=f"c{nth}") for nth in range(CUSTOMERS)]
    return [str(each["id"]) for each in made]


def _events(customers: Sequence[str], count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    now = datetime.now(UTC).isoformat()
    return [
        {
            "id": f"{draw.getrandbits(128):032x}",
            "meter": "bytes",
            "customer": draw.choice(customers),
            "timestamp": now,
            "properties": {"bytes": str(draw.randrange(10**6)), "region": draw.choice(("eu", "us"))},
        }
        for _ in range(count)
    ]


def _load(port: int, key: str, bodies: Sequence[str], requests: int) -> Load:
    return all_at_once(port, PATH, key=key, bodies=bodies, requests=requests, connections=CONNECTIONS)


async def _measured(served: _Served, load: Load, events: int) -> tuple[Measured, float]:
    """What came of it, and microseconds of the process's time an event."""
    before = served.cpu_s
    measured = await measure(load)
    if measured.failed:
        raise RuntimeError(f"{measured.failed} requests failed: {measured.first_failure}")
    return measured, (served.cpu_s - before) / (len(measured.latencies_ms) * events) * 1e6


def _events_per_s(measured: Measured, events: int) -> float:
    return measured.done_per_s * events


async def _appended(settings: Settings, customers: Sequence[str]) -> float:
    """Events a second that the producer alone hands over."""
    usage = settings.usage
    producer = UsageProducer(bootstrap(settings), settings.kafka, usage)
    timestamp_us = time.time_ns() // 1_000
    requests: list[dict[int, list[WireEvent]]] = []
    for nth in range(BODIES):
        grouped: dict[int, list[WireEvent]] = {}
        for each in _events(customers, EVENTS, nth):
            event = WireEvent(
                each["id"], EVENT, each["customer"], "mtr_01m7ywe9z7e398x54gfbrtqnk7", timestamp_us,
                int(each["properties"]["bytes"]) * NANOS, each["properties"],
            )  # fmt: skip
            number = partition_of_customer("bench", event.customer, usage.partitions)
            grouped.setdefault(number, []).append(event)
        requests.append(grouped)
    async with producer.connecting():
        while not producer.is_connected:  # noqa: ASYNC110  once, before anything is measured
            await asyncio.sleep(0.05)
        made = [producer.made(request) for request in requests]
        slots = asyncio.Semaphore(CONNECTIONS)

        async def append(nth: int) -> None:
            async with slots:
                await producer.send("bench", made[nth % len(made)])

        started = time.perf_counter()
        await asyncio.gather(*(append(nth) for nth in range(BATCHES)))
        return BATCHES * EVENTS / (time.perf_counter() - started)


async def connected(port: int, key: str, body: str) -> None:
    """Send one request until it is accepted: the producer may just be connecting."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.post(f"http://127.0.0.1:{port}{PATH}", data=body) as answer:
                if answer.status == 202:
                    return
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _process(settings: Settings, role: str) -> AsyncIterator[_Served]:
    """One process of a role, on the servers that the settings name."""
    port = free_port()
    environment = {
        "TALLYBOOK_DATABASE_URL": owner_dsn(settings),
        "TALLYBOOK_KAFKA_BOOTSTRAP": bootstrap(settings),
        "TALLYBOOK_DATA_DIR": str(settings.general.data_dir),
        "TALLYBOOK_API_PORT": str(port),
        "TALLYBOOK_USAGE_INGEST_PORT": str(port),
        **NO_LIMITS,
    }
    async with _serving([sys.executable, "-m", "cli.main", "run", role], port, environment) as served:
        yield served


@contextlib.asynccontextmanager
async def _bare() -> AsyncIterator[_Served]:
    port = free_port()
    async with _serving([sys.executable, "-m", "benchmarks.usage_ingest_bare", str(port)], port, {}) as served:
        yield served


@contextlib.asynccontextmanager
async def _serving(command: Sequence[str], port: int, environment: Mapping[str, str]) -> AsyncIterator[_Served]:
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(0.05)
                    else:
                        writer.close()
                        break
            yield _Served(port, process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
