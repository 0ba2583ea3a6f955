"""API processes killed in the middle of rotations: a key has its successor, which works, or it has none."""

import asyncio
import random
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from infra.database import Role, open_pool
from infra.settings import DatabaseSettings, Settings
from processors.invariants.access import check_access
from schemas.codec import default_codec
from testing.services import FreshDatabase
from tests.e2e.api_process import ApiProcess
from tests.lengths import LENGTH

CHAINS = 4
PAUSE_S = (0.02, 0.3)
_HALVES = """
SELECT k.key_id FROM access.api_keys k
LEFT JOIN access.api_keys s ON s.key_id = k.successor_id LEFT JOIN access.api_key_digests d ON d.key_id = s.key_id
WHERE k.successor_id IS NOT NULL AND (s.key_id IS NULL OR d.key_id IS NULL OR k.expires_at IS NULL)
"""
_LOOSE = """
SELECT key_id FROM access.api_keys k WHERE NOT EXISTS (SELECT FROM access.api_key_digests d WHERE d.key_id = k.key_id)
"""


async def test_a_key_has_its_successor_whole_or_has_none_whenever_the_process_is_killed(
    database: FreshDatabase, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  pytest shows it where the test fails
    chance = random.Random(seed)
    process = ApiProcess(database.dsn, tmp_path, TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN="100000")
    await asyncio.to_thread(process.start)
    tenant = await create_tenant(database.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST)
    headers = {"Authorization": f"Bearer {tenant.key.secret}"}
    rotated: list[tuple[str, dict[str, Any]]] = []
    calm = asyncio.Event()

    async def ask(method: str, path: str, body: object, key: str) -> httpx2.Response:
        """Repeated under its key until somebody answers it."""
        while True:
            try:
                sent = headers | {"Idempotency-Key": key}
                answer = await http.request(method, process.url + path, json=body, headers=sent)
            except httpx2.TransportError:
                await asyncio.sleep(0.02)
                continue
            if answer.status_code not in (409, 429, 503) or answer.json()["code"] == "api_key_rotated":
                return answer
            await asyncio.sleep(0.02)

    async def chain(number: int) -> None:
        """One key after another, each the successor of the one before."""
        body = {"name": f"chain {number}", "scope": "read"}
        made = (await ask("POST", "/v1/api-keys", body, f"{number}")).json()
        step = 0
        while not calm.is_set() or step == 0:
            answer = await ask("POST", f"/v1/api-keys/{made['id']}/rotate", {"overlap_hours": 1}, f"{number}-{step}")
            assert answer.status_code == 201, answer.text
            rotated.append((made["id"], answer.json()))
            made, step = answer.json(), step + 1

    try:
        async with httpx2.AsyncClient(timeout=30) as http:
            unlimited = {"name": "rotates", "scope": "admin", "limits": {"admin_per_hour": 1_000_000}}
            made = (await ask("POST", "/v1/api-keys", unlimited, "first")).json()
            headers = {"Authorization": f"Bearer {made['secret']}"}
            chains = [asyncio.create_task(chain(number)) for number in range(CHAINS)]
            for _ in range(LENGTH.kills):
                await asyncio.sleep(chance.uniform(*PAUSE_S))  # the moment of the kill is the point
                process.kill()
                await asyncio.to_thread(process.start)
            calm.set()
            await asyncio.gather(*chains)
            for _, successor in rotated[-5:]:
                if successor["secret"] is not None:
                    bearer = {"Authorization": f"Bearer {successor['secret']}"}
                    answer = await http.get(f"{process.url}/v1/products", headers=bearer)
                    assert answer.status_code == 200, answer.text
    finally:
        process.kill()
    await check(database, rotated)


async def check(database: FreshDatabase, rotated: list[tuple[str, dict[str, Any]]]) -> None:
    """No half of a rotation is there, each key has one successor, and the rows are the fold of the log."""
    connection = await asyncpg.connect(database.dsn)
    try:
        assert await connection.fetch(_HALVES) == []
        assert await connection.fetch(_LOOSE) == []
        rows = await connection.fetch("SELECT key_id, successor_id FROM access.api_keys")
        made = await connection.fetchval("SELECT count(*) FROM log.events WHERE event_type = 'api_key.rotated'")
    finally:
        await connection.close()
    found: dict[str, str | None] = {row[0]: row[1] for row in rows}
    assert {old: new["id"] for old, new in rotated}.items() <= found.items()
    assert made == sum(successor is not None for successor in found.values()) == len(rotated)
    pool = await open_pool(database.dsn, Role.OWNER, DatabaseSettings())
    try:
        checked = await check_access(pool, default_codec())
    finally:
        await pool.close()
    assert checked.holds, checked.named
