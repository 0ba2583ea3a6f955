"""Clients that retry while API processes are killed: every acknowledged answer stands for exactly one effect."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx2
import pytest

from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from infra.settings import Settings
from testing.services import FreshDatabase
from tests.e2e.api_process import ApiProcess
from tests.lengths import LENGTH

CLIENTS = 8
PAUSE_S = (0.05, 0.6)
PACE_S = 0.05
"""Between a client's answer and its next command: a slow start is not to meet a flood, nor to be followed by one."""


@pytest.fixture
async def processes(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[list[ApiProcess]]:
    """Two APIs on one database."""
    both = [ApiProcess(database.dsn, tmp_path, TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN="100000") for _ in range(2)]
    await asyncio.gather(*(asyncio.to_thread(process.start) for process in both))
    try:
        yield both
    finally:
        for process in both:
            process.kill()


async def test_every_acknowledged_answer_is_in_the_log_once_and_repeats_alike(
    database: FreshDatabase, processes: list[ApiProcess]
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  pytest shows it where the test fails
    chance = random.Random(seed)
    tenant = await create_tenant(database.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST)
    headers = {"Authorization": f"Bearer {tenant.key.secret}"}
    acknowledged: dict[str, tuple[dict[str, object], bytes]] = {}
    calm = asyncio.Event()

    async def client(number: int) -> None:
        """Commands one after another, each repeated under its key until somebody answers it."""
        done = 0
        while not calm.is_set() or done == 0:
            key = f"{number}-{done}-{uuid.uuid4().hex}"
            # Every third is refused: refusals are answers, too.
            path = "/v1/products" if done % 3 else "/v1/plans"
            missing = "prod_01m7ywe9z7e398x54gfbrtqnk7"
            plan: dict[str, object] = {"product": missing, "name": key, "interval": {"unit": "month"}}
            body: dict[str, object] = {"name": key} if done % 3 else plan
            acknowledged[key] = (body | {"path": path}, await answer(path, key, body))
            done += 1
            await asyncio.sleep(PACE_S)

    async def answer(path: str, key: str, body: dict[str, object]) -> bytes:
        while True:
            url = chance.choice(processes).url
            try:
                response = await http.post(url + path, json=body, headers=headers | {"Idempotency-Key": key})
            except httpx2.TransportError:
                await asyncio.sleep(0.02)
                continue
            if response.status_code in (201, 404):
                return response.content
            assert response.status_code in (409, 503), response.text
            await asyncio.sleep(0.02)

    async with httpx2.AsyncClient(timeout=30) as http:
        clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        for _ in range(LENGTH.kills):
            await asyncio.sleep(chance.uniform(*PAUSE_S))  # the moment of the kill is the point
            victim = chance.choice(processes)
            victim.kill()
            await asyncio.to_thread(victim.start)
        calm.set()
        await asyncio.gather(*clients)
        left = iter(acknowledged.items())

        async def repeats() -> None:
            for key, (body, first) in left:
                path = str(body.pop("path"))
                assert await answer(path, key, body) == first

        async with asyncio.TaskGroup() as crowd:
            for _ in range(CLIENTS):
                crowd.create_task(repeats())
    await check_log(database, {key: first for key, (_, first) in acknowledged.items()})


async def check_log(database: FreshDatabase, acknowledged: dict[str, bytes]) -> None:
    """Each acknowledged command is stored once; accepted ones have one event, refused ones none."""
    connection = await asyncpg.connect(database.dsn)
    try:
        rows = await connection.fetch(
            "SELECT substr(idempotency_key, 5) AS key, refusal_code, events, answer FROM log.command_results "
            "WHERE idempotency_key NOT LIKE 'operator:%'"
        )
        events = await connection.fetch(
            "SELECT stream_id, count(*) AS n FROM log.events WHERE actor LIKE 'api_key:%' GROUP BY stream_id"
        )
    finally:
        await connection.close()
    stored = {row["key"]: row for row in rows}
    assert len(stored) == len(rows)
    assert set(acknowledged) <= set(stored)
    for key, answer in acknowledged.items():
        row = stored[key]
        assert bytes(row["answer"]).endswith(answer)
        assert row["events"] == (1 if row["refusal_code"] is None else 0)
    accepted = [row for row in rows if row["refusal_code"] is None]
    assert len(events) == len(accepted), "one product per accepted command, none beside"
    assert all(row["n"] == 1 for row in events)


async def test_a_stop_finishes_what_was_taken(database: FreshDatabase, tmp_path: Path) -> None:
    """SIGTERM under load: every request that was answered is in the log, and the process ends by itself."""
    process = ApiProcess(database.dsn, tmp_path)
    await asyncio.to_thread(process.start)
    tenant = await create_tenant(database.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST)
    headers = {"Authorization": f"Bearer {tenant.key.secret}"}
    answered: list[str] = []

    async def client() -> None:
        while True:
            key = uuid.uuid4().hex
            try:
                response = await http.post(
                    process.url + "/v1/products", json={"name": "P"}, headers=headers | {"Idempotency-Key": key}
                )
            except httpx2.TransportError:
                return
            if response.status_code == 201:
                answered.append(key)

    async with httpx2.AsyncClient(timeout=30) as http:
        clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        while len(answered) < 50:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(process.stop) == 0
        await asyncio.gather(*clients)
    connection = await asyncpg.connect(database.dsn)
    try:
        stored = await connection.fetch("SELECT substr(idempotency_key, 5) AS key FROM log.command_results")
    finally:
        await connection.close()
    assert set(answered) <= {row["key"] for row in stored}
    assert '"event": "api_stopped"' in process.log
    assert "Traceback" not in process.log
