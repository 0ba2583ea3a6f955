"""What is taken away at one API process is gone at another one within a moment, with no other role there at all.

How long it took is printed and never asserted: no test depends on how fast a machine is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from cli.tenants import create_tenant
from cli.users import create_admin
from domain.kernel.tenant_mode import TenantMode
from infra.settings import Settings, VaultSettings
from testing.api_client import MASTER_KEY
from testing.people import PASSWORD, Browser
from testing.services import FreshDatabase
from tests.e2e.api_process import ApiProcess

ADA, BOB = "ada@example.com", "bob@example.com"
PATIENCE_S = 30.0
DAY_S = "86400"
"""What a process found it would believe so long, were it not told."""
BELIEVING = {"TALLYBOOK_API_KEY_CACHE_S": DAY_S, "TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN": "100000"}


@pytest.fixture
async def processes(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[tuple[ApiProcess, ApiProcess]]:
    started = ApiProcess(database.dsn, tmp_path, **BELIEVING), ApiProcess(database.dsn, tmp_path, **BELIEVING)
    try:
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in started))
        yield started
    finally:
        for each in started:
            if each.is_running:
                each.kill()


async def test_a_demoted_users_and_a_revoked_keys_next_request_fails_at_the_other_process(
    database: FreshDatabase, processes: tuple[ApiProcess, ApiProcess]
) -> None:
    settings = Settings(vault=VaultSettings(master_key=SecretStr(MASTER_KEY)))
    await create_tenant(database.dsn, settings, tenant_id="acme", name="Acme", mode=TenantMode.TEST)
    for email in (ADA, BOB):
        made = await create_admin(database.dsn, settings, tenant_id="acme", email=email, name="A", password=PASSWORD)
    async with (
        httpx2.AsyncClient(base_url=processes[0].url, timeout=PATIENCE_S) as here,
        httpx2.AsyncClient(base_url=processes[1].url, timeout=PATIENCE_S) as there,
    ):
        ada, bob = Browser(http=here), Browser(http=there)
        for page, email in ((ada, ADA), (bob, BOB)):
            assert (await page.log_in(email)).status_code == 200
        key = (await ada.send("POST", "/v1/api-keys", {"name": "K", "scope": "write"})).json()

        async def with_key() -> int:
            sent = {"Authorization": f"Bearer {key['secret']}", "Idempotency-Key": f"{time.monotonic_ns()}"}
            return (await there.post("/v1/products", json={"name": "P"}, headers=sent)).status_code

        async def with_page() -> int:
            return (await bob.send("POST", "/v1/products", {"name": "P"})).status_code

        assert (await with_key(), await with_page()) == (201, 201)
        demoted = await ada.send("POST", f"/v1/users/{made.user_id}/change-role", {"role": "viewer"})
        assert demoted.status_code == 200, demoted.text
        await refused(with_page, 403, "demoted")
        revoked = await ada.send("POST", f"/v1/api-keys/{key['id']}/revoke", {})
        assert revoked.status_code == 200, revoked.text
        await refused(with_key, 401, "revoked")


async def refused(ask: Callable[[], Awaitable[int]], status: int, what: str) -> None:
    """Wait until it is, and print how long that took since the change was answered."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while await ask() != status:
            await asyncio.sleep(0.001)
    print(f"{what}: refused by the other process after {1000 * (time.monotonic() - began):.0f} ms")  # noqa: T201
