"""Processes killed in the middle of rotations: a key has its successor, which works, or it has none."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from cli.tenants import create_tenant
from cli.users import create_admin
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from infra.clock import system_clock
from infra.database import Role, open_pool
from infra.identity.keyring import Keyring
from infra.identity.limits import key_limits
from infra.identity.signing_keys import SigningKeys
from infra.settings import Settings, vault_master_key
from testing.access_invariant import check_access_holds
from testing.cell import Whole, open_whole
from testing.people import PASSWORD
from testing.processors_cell import until
from testing.requests import TENANT
from testing.services import FreshDatabase, KafkaServer
from tests.e2e.api_process import ApiProcess
from tests.lengths import LENGTH

ADA = "ada@example.com"
ROLES = ("api", "relay", "projections", "processors")
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
    await check(database.dsn, rotated)
    await check_access_holds(database.dsn)


async def check(dsn: str, rotated: Sequence[tuple[str, Mapping[str, object]]]) -> None:
    """No half of a rotation is there, and each key has one successor."""
    connection = await asyncpg.connect(dsn)
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


@dataclass(kw_only=True)
class Rotations:
    """API keys and signing keys that are rotated until it is `calm`, and what was answered."""

    whole: Whole
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    rotated: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    good: set[str] = field(default_factory=set)
    """Secrets of keys that were answered as made, and not as revoked."""
    revoked: set[str] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """How much was done so far."""
        return min(len(self.rotated), len(self.tokens))

    async def api_keys(self) -> None:
        """One key after another, each the successor of the one before, which is then revoked."""
        made = (await self.whole.post("/v1/api-keys", {"name": "rotates", "scope": "read"})).body
        while not self.calm.is_set():
            old_id, old = str(made["id"]), made["secret"]
            answer = await self.whole.post(f"/v1/api-keys/{old_id}/rotate", {"overlap_hours": 1})
            assert answer.status == 201, answer.body
            made = answer.body
            self.rotated.append((old_id, made))
            if made["secret"] is not None:  # shown once: a repeat, after a kill, has none
                self.good.add(str(made["secret"]))
            told = await self.whole.post(f"/v1/api-keys/{old_id}/revoke", {})
            assert told.status == 200, told.body
            if old is not None:
                self.good.discard(str(old))
                self.revoked.add(str(old))

    async def signing_keys(self, signing: SigningKeys) -> None:
        """As the operator does by hand; between two of them somebody signs in."""
        body = {"email": ADA, "password": PASSWORD, "kind": "program", "tenant": TENANT}
        while not self.calm.is_set():
            await signing.rotate(system_clock())
            answer = await self.whole.post("/v1/auth/login", body)
            assert answer.status == 200, answer.body
            self.tokens.append(str(answer.body["access_token"]))

    async def answers(self, bearer: str, status: int) -> None:
        """Wait until a request with it is answered so."""
        asking = Whole(cell=self.whole.cell, http=self.whole.http, key=bearer)

        async def told() -> bool:
            return (await asking.send("GET", "/v1/products")).status == status

        await until(told, f"{status} for {bearer[:16]}")


async def test_rotations_go_on_whatever_role_is_killed_in_the_middle_of_them(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> None:
    limits = {
        "TALLYBOOK_API_LOG_INS_PER_MIN": "1000000",
        "TALLYBOOK_API_ADMIN_PER_HOUR": "100000000",
        "TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN": "1000000",  # what is revoked is asked with, too
    }
    async with open_whole(
        postgres_server, template_database, kafka_server, services_folder, instances=1, **limits
    ) as whole:
        settings = whole.cell.settings
        assert settings.database.url is not None
        dsn = settings.database.url.get_secret_value()
        await create_admin(dsn, settings, tenant_id=TENANT, email=ADA, name="Ada", password=PASSWORD)
        pool = await open_pool(dsn, Role.ACCESS, settings.database)
        try:
            signing = SigningKeys(pool, Keyring(vault_master_key(settings)), key_limits(settings.auth))
            rotations = Rotations(whole=whole)
            async with asyncio.TaskGroup() as going_on:
                for _ in range(2):
                    going_on.create_task(rotations.api_keys())
                going_on.create_task(rotations.signing_keys(signing))
                for number in range(max(len(ROLES), LENGTH.kills)):
                    await _moved(rotations)
                    name = f"{ROLES[number % len(ROLES)]}-0"
                    await whole.cell.supervisor.wait_ready(name)
                    await whole.cell.supervisor.kill(name)
                await _moved(rotations)
                await whole.cell.supervisor.wait_ready()
                rotations.calm.set()
        finally:
            await pool.close()
        for secret in rotations.revoked:
            await rotations.answers(secret, 401)
        for bearer in (*rotations.good, *rotations.tokens):
            await rotations.answers(bearer, 200)
        await check(dsn, rotations.rotated)
        await whole.at_rest()


async def _moved(rotations: Rotations) -> None:
    """Keys of both kinds were rotated since."""
    before = rotations.steps

    async def further() -> bool:
        return rotations.steps > before

    await until(further, "the next rotation")
