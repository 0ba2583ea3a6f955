"""An API key works from where it may, and as often as it may, whoever presents it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.identity.permissions import Permission, Scope, class_of
from infra.settings import ApiSettings
from testing.api_client import Api, Client, running_api
from testing.services import FreshDatabase

PATH = "/v1/api-keys"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    behind_proxy = ApiSettings(anonymous_rate_per_min=100_000, trusted_proxies="127.0.0.1/32,10.0.0.0/8")
    async with running_api(database, behind_proxy) as running:
        yield running


@pytest.fixture
async def admin(api: Api) -> Client:
    return await api.tenant("acme")


async def key(admin: Client, **terms: object) -> Client:
    made = await admin.made(PATH, {"name": "imports", "scope": "write", **terms})
    return Client(http=admin.http, key=str(made["secret"]), tenant_id="acme", parts=admin.parts)


@pytest.mark.parametrize(
    ("forwarded", "is_let_in"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("203.0.113.9, 192.0.2.7", True),
        ("192.0.2.7, 10.1.2.3", True),
        ("2001:db8::7", True),
        ("198.51.100.1", False),
        ("192.0.2.7, 198.51.100.1", False),
        ("2001:db9::7", False),
        ("nonsense", False),
        ("", False),
    ],
)
async def test_a_key_with_networks_works_from_there_alone(admin: Client, *, forwarded: str, is_let_in: bool) -> None:
    bound = await key(admin, allowed_networks=["192.0.2.0/24", "2001:db8::/32"])
    for _ in range(2):  # looked up, and then remembered
        answer = await bound.get("/v1/products", **{"X-Forwarded-For": forwarded})
        assert answer.status_code == (200 if is_let_in else 403), answer.text
        if not is_let_in:
            assert answer.json()["code"] == "address_not_allowed"
            assert "192.0.2" not in answer.text, "which networks those are is told to nobody"


async def test_a_key_without_networks_works_from_everywhere(admin: Client) -> None:
    assert (await (await key(admin)).get("/v1/products", **{"X-Forwarded-For": "198.51.100.1"})).status_code == 200


async def test_a_keys_own_limits_are_by_the_class_of_the_operation(admin: Client) -> None:
    limited = await key(admin, limits={"reads_per_hour": 3, "writes_per_hour": 2})
    reads = [await limited.get("/v1/products") for _ in range(4)]
    assert [each.status_code for each in reads] == [200, 200, 200, 429]
    assert reads[0].headers["ratelimit-policy"] == '"read";q=3;w=3600'
    assert reads[1].headers["ratelimit"].startswith('"read";r=1;')
    assert reads[3].json()["code"] == "rate_limited"
    assert 0 < int(reads[3].headers["retry-after"]) <= 1200
    writes = [await limited.post("/v1/products", {"name": "P"}) for _ in range(3)]
    assert [each.status_code for each in writes] == [201, 201, 429]
    assert [(await admin.get("/v1/products")).status_code for _ in range(5)] == [200] * 5, "its own, and nobody else's"


async def test_a_changed_limit_counts_from_the_next_request(admin: Client) -> None:
    made = await admin.made(PATH, {"name": "imports", "scope": "read", "limits": {"reads_per_hour": 1}})
    limited = Client(http=admin.http, key=str(made["secret"]), tenant_id="acme", parts=admin.parts)
    assert [(await limited.get("/v1/products")).status_code for _ in range(2)] == [200, 429]
    changed = await admin.send("PATCH", f"{PATH}/{made['id']}", {"limits": {"reads_per_hour": 100}})
    assert changed.status_code == 200, changed.text
    async with asyncio.timeout(30):
        while (await limited.get("/v1/products")).status_code == 429:
            await asyncio.sleep(0.05)


def test_the_class_is_that_of_the_keys_that_may() -> None:
    assert class_of(Permission.INVOICES_READ) is Scope.READ
    assert class_of(Permission.INVOICES_WRITE) is Scope.WRITE
    assert class_of(Permission.API_KEYS_READ) is Scope.ADMIN
    assert class_of(Permission.PROFILE_READ) is Scope.READ
    assert class_of(Permission.PROFILE_WRITE) is Scope.WRITE


@pytest.mark.parametrize(("proto", "is_said"), [("https", True), ("http", False), (None, False)])
async def test_that_a_browser_shall_insist_on_tls_is_said_by_tls_alone(
    admin: Client, *, proto: str | None, is_said: bool
) -> None:
    headers = {} if proto is None else {"X-Forwarded-Proto": proto}
    answer = await admin.get("/v1/products", **headers)
    assert ("strict-transport-security" in answer.headers) is is_said
