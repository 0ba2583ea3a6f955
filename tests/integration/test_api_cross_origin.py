"""Pages of other origins read our answers where settings name them, with a credential of their own and no cookie."""

from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError

from infra.settings import ApiSettings
from testing.api_client import Api, running_api
from testing.services import FreshDatabase

SHOP = "https://shop.example.com"
OURS = ("idempotent-", "ledger-", "ratelimit", "tallybook-")
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    named = ApiSettings(anonymous_rate_per_min=100, cors_origins=f"{SHOP},http://localhost:3000")
    async with running_api(database, named) as running:
        yield running


async def test_a_named_origins_page_asks_first_and_then_with_its_key(api: Api) -> None:
    may = await api.http.request("OPTIONS", "/v1/products", headers={"Origin": SHOP, **ASKING})
    assert may.status_code == 204
    assert may.headers["access-control-allow-origin"] == SHOP
    assert "POST" in may.headers["access-control-allow-methods"]
    assert "authorization" in may.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in may.headers
    assert may.headers["ratelimit"].startswith('"address";r=99'), "a question without a credential is counted"
    client = await api.tenant("acme")
    for answer in (
        await client.send("POST", "/v1/products", {"name": "P"}, headers={"Origin": SHOP}),
        await client.get("/v1/nothing", Origin=SHOP),
    ):
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_named_origins_page_reads_every_header_that_is_ours(api: Api) -> None:
    client = await api.tenant("acme")
    for _ in range(2):  # done, and then replayed
        answer = await client.send("POST", "/v1/products", {"name": "P"}, idempotency_key="k", headers={"Origin": SHOP})
        shown = answer.headers["access-control-expose-headers"].split(", ")
        ours = [name for name in answer.headers if name.startswith(OURS)]
        assert "ledger-position" in ours
        assert not [name for name in ours if name not in shown]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://shop.example.com.evil.example", "http://shop.example.com", "*"]
)
async def test_no_others_page_reads_anything(api: Api, origin: str) -> None:
    refused = await api.http.request("OPTIONS", "/v1/products", headers={"Origin": origin, **ASKING})
    assert refused.status_code == 405
    client = await api.tenant("acme")
    answer = await client.get("/v1/products", Origin=origin)
    for each in (refused, answer):
        assert not [name for name in each.headers if name.startswith("access-control-")]
        assert each.headers["vary"] == "origin"


async def test_what_bears_a_cookie_is_read_by_our_own_page_alone(api: Api) -> None:
    headers = {"Origin": SHOP, "Cookie": "__Host-tallybook_session=none"}
    answer = await api.http.get("/openapi.json", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_where_no_origin_is_named_nothing_is_said(database: FreshDatabase) -> None:
    async with running_api(database) as api:
        answer = await api.http.get("/openapi.json", headers={"Origin": SHOP})
        assert "vary" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("wrong", ["*", "shop.example.com", "https://shop.example.com/", "https://*.example.com"])
def test_an_origin_is_a_scheme_and_a_host(wrong: str) -> None:
    with pytest.raises(ValidationError):
        ApiSettings(cors_origins=wrong)
