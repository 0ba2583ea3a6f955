"""Metadata from a request to the log, the topic's bytes, the read models and back, of resources of every kind."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest

from schemas.codec import decode_event
from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase

ORDER: Final = {"order": "4711", "channel": "web"}
UNKNOWN: Final = "prod_01m7ywe9z7e398x54gfbrtqnk7"


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def changed(client: Client, path: str, metadata: object, **others: object) -> dict[str, object]:
    answer = await client.send("PATCH", path, {"metadata": metadata, **others})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def refused(client: Client, path: str, body: Mapping[str, object], method: str = "PATCH") -> tuple[int, str]:
    answer = await client.send(method, path, body)
    problem = answer.json()
    return answer.status_code, problem["errors"][0]["code"] if problem.get("errors") else problem["code"]


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/products", {"name": "Team"}), ("/v1/customers", {"currency": "EUR"})], ids=["log", "vault"]
)
async def test_metadata_are_changed_key_by_key_by_one_rule(
    api: Api, client: Client, path: str, body: dict[str, object]
) -> None:
    made = await client.made(path, {**body, "metadata": {**ORDER, "nothing": "", "null": None}})
    one = f"{path}/{made['id']}"
    assert made["metadata"] == ORDER
    assert (await client.get(one)).json() == made, "at once, whatever the read models have seen"
    moved = await changed(client, one, {"order": "4712", "channel": None, "note": "ünï 'quoted' \"text\" \\"})
    assert moved == made | {"metadata": {"order": "4712", "note": "ünï 'quoted' \"text\" \\"}}
    assert (await changed(client, one, {"note": ""}))["metadata"] == {"order": "4712"}
    assert (await changed(client, one, {}))["metadata"] == {"order": "4712"}
    await project(api.database, api.parts.settings)
    assert (await client.get(path)).json()["data"] == [made | {"metadata": {"order": "4712"}}]
    assert (await changed(client, one, None))["metadata"] == {}
    assert (await client.get(one)).json() == made | {"metadata": {}}


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/products", {"name": "Team"}), ("/v1/customers", {"currency": "EUR"})], ids=["log", "vault"]
)
async def test_metadata_have_limits(client: Client, path: str, body: dict[str, object]) -> None:
    full = {f"key {number}": "x" * 500 for number in range(50)}
    made = await client.made(path, {**body, "metadata": full})
    one = f"{path}/{made['id']}"
    assert made["metadata"] == full
    assert await refused(client, one, {"metadata": {"one more": "x"}}) == (422, "too_many_metadata_keys")
    swapped = await changed(client, one, {"key 0": None, "k" * 40: "x"})
    assert len(dict(swapped["metadata"])) == 50  # type: ignore[call-overload]
    too_much: tuple[object, ...] = {"a": "x" * 501}, {"k" * 41: "x"}, {"": "x"}, {"a": 1}, {"a\n": "x"}, {"a": {}}, []
    for metadata in too_much:
        assert (await refused(client, one, {"metadata": metadata}))[0] == 422
        assert (await refused(client, path, {**body, "metadata": metadata}, "POST"))[0] == 422
    for metadata in ({str(number): "x" for number in range(51)}, {str(number): None for number in range(51)}):
        assert await refused(client, one, {"metadata": metadata}) == (422, "too_many_metadata_keys")
        assert await refused(client, path, {**body, "metadata": metadata}, "POST") == (422, "too_many_metadata_keys")
    assert await refused(client, one, {"metadata": {"card": "4242 4242 4242 4242"}}) == (422, "card_number_refused")


async def test_metadata_of_what_is_archived_may_change_and_nothing_else(client: Client) -> None:
    one = f"/v1/products/{(await client.made('/v1/products', {'name': 'Team', 'metadata': ORDER}))['id']}"
    assert (await client.post(f"{one}/archive")).status_code == 200
    assert (await changed(client, one, {"channel": None}))["metadata"] == {"order": "4711"}
    refusal = await refused(client, one, {"name": "Other", "metadata": {"order": "4712"}})
    assert refusal == (409, "product_archived")
    assert (await client.get(one)).json()["metadata"] == {"order": "4711"}, "both change, or neither"
    assert await refused(client, f"/v1/products/{UNKNOWN}", {"metadata": {}}) == (404, "product_not_found")


async def test_events_carry_metadata_but_never_a_customers(api: Api, client: Client) -> None:
    product = await client.made("/v1/products", {"name": "Team", "metadata": ORDER})
    await changed(client, f"/v1/products/{product['id']}", {"channel": None}, name="Team Plus")
    events = (await client.get(f"/v1/events?stream={product['id']}")).json()["data"]
    assert [(event["type"], event["data"].get("metadata")) for event in events] == [
        ("product.metadata_set", {"order": "4711"}),
        ("product.version_added", None),
        ("product.created", ORDER),
    ]
    customer = await client.made("/v1/customers", {"currency": "EUR", "metadata": {"nickname": "quxzeb"}})
    await changed(client, f"/v1/customers/{customer['id']}", {"nickname": "zebqux"})
    rows = await api.parts.reader.pool.fetch("SELECT stream_type, payload FROM log.events ORDER BY position")
    published = [decode_event(row["payload"]) for row in rows if row["stream_type"] == "product"]
    assert [getattr(event, "metadata", None) for event in published] == [
        tuple(sorted(ORDER.items())),
        None,
        (("order", "4711"),),
    ]
    assert not [row for row in rows if b"quxzeb" in row["payload"] or b"zebqux" in row["payload"]]
