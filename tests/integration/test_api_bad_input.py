"""Whatever is sent, the answer is a problem with a stable code, and the log's head does not move."""

import json
import uuid
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import RESOURCES
from api.http.operations import Operation
from domain.identity.permissions import Scope, permissions_of
from infra.settings import KafkaSettings, UsageSettings
from testing.api_client import Api, Client, project, running_api
from testing.bad_bodies import NO_BODIES, PREFIXES, SOMEBODYS_ID, broken, check_problem, path_of
from testing.services import FreshDatabase, KafkaServer
from testing.usage_topic import usage_topic
from tests.lengths import LENGTH

COMMANDS: list[Operation] = [
    operation
    for resource in RESOURCES
    for operation in resource.declared
    if operation.is_command and operation.needs in permissions_of(Scope.ADMIN)
]
QUERIES: list[Operation] = [
    operation
    for resource in RESOURCES
    for operation in resource.declared
    if operation.is_query and (operation.is_open or operation.needs in permissions_of(Scope.ADMIN))
]
"""Those that an API key may ask."""
HARMLESS = settings(
    max_examples=LENGTH.scaled(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
async def api(shared_database: FreshDatabase, kafka_server: KafkaServer) -> AsyncIterator[Api]:
    """One API for all: no test leaves anything behind that another one sees."""
    kafka, usage = KafkaSettings(bootstrap=kafka_server.bootstrap, topic_prefix="bad-input."), UsageSettings()
    await usage_topic(kafka, usage)
    async with running_api(shared_database, kafka=kafka, usage=usage) as running:
        await project(shared_database, running.parts.settings)
        yield running


@pytest.fixture(scope="module")
async def client(api: Api) -> Client:
    return await api.tenant("acme")


async def raw(client: Client, operation: Operation, body: bytes) -> httpx2.Response:
    sent = {
        "Authorization": f"Bearer {client.key}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    return await client.http.request(operation.method, path_of(operation), content=body, headers=sent)


STANDS_ALONE = {
    "create_customer",
    "create_meter",
    "create_product",
    "create_test_clock",
    "post_journal_entry",
    "create_api_key",
    "create_invitation",
}


@pytest.mark.parametrize("operation", COMMANDS, ids=lambda operation: operation.name)
@HARMLESS
@given(data=st.data())
async def test_near_misses_are_refused_and_nothing_is_written(
    api: Api, client: Client, operation: Operation, data: st.DataObject
) -> None:
    before = await api.head()
    response = await raw(client, operation, json.dumps(data.draw(broken(operation.body_example))).encode())
    if response.status_code >= 400:
        check_problem(response)
        assert await api.head() == before
    else:
        # A near miss may be a hit, where the example rests on nothing that would have to exist.
        assert operation.name in STANDS_ALONE


@pytest.mark.parametrize("operation", COMMANDS, ids=lambda operation: operation.name)
@pytest.mark.parametrize(
    "body",
    NO_BODIES,
    ids=lambda body: repr(body[:24]),
)
async def test_what_is_no_body_at_all_is_refused(api: Api, client: Client, operation: Operation, body: bytes) -> None:
    before = await api.head()
    problem = check_problem(await raw(client, operation, body))
    assert problem["status"] in (400, 422)
    assert await api.head() == before


@pytest.mark.parametrize("operation", COMMANDS, ids=lambda operation: operation.name)
async def test_another_tenants_ids_name_nothing(api: Api, client: Client, operation: Operation) -> None:
    """Every id in the path or the body is one that exists, but elsewhere."""
    other = await api.tenant("other")
    made = await resources_of(other)
    body = json.loads(json.dumps(operation.body_example))
    text = json.dumps(body)
    path = operation.path
    for name, prefix in PREFIXES.items():
        text = text.replace(prefix + SOMEBODYS_ID, made.get(name, prefix + SOMEBODYS_ID))
        path = path.replace(f"{{{name}}}", made.get(name, prefix + SOMEBODYS_ID))
    if text == json.dumps(body) and path == operation.path:
        pytest.skip("names no other resource")
    before = await api.head()
    response = await client.send(operation.method, path, json.loads(text))
    assert response.status_code == 404, response.text
    check_problem(response)
    assert await api.head() == before


async def resources_of(client: Client) -> dict[str, str]:
    """One of everything."""
    clock = await client.made("/v1/test-clocks", {"name": "C", "frozen_time": "2026-01-01T00:00:00Z"})
    customer = await client.made("/v1/customers", {"currency": "EUR", "name": "Somebody"})
    product = await client.made("/v1/products", {"name": "P"})
    plan = await client.made("/v1/plans", {"product": product["id"], "name": "M", "interval": {"unit": "month"}})
    amount = {"amount": 1999, "currency": "EUR"}
    price = await client.made("/v1/prices", {"plan": plan["id"], "model": {"type": "flat", "amount": amount}})
    method = await client.made(
        "/v1/payment-methods", {"customer": customer["id"], "type": "card", "token": "tok_visa", "set_default": True}
    )
    items = [{"price": price["id"]}]
    subscription = await client.made(
        "/v1/subscriptions", {"customer": customer["id"], "plan": plan["id"], "items": items}
    )
    payment = await client.made("/v1/payments", {"customer": customer["id"], "amount": amount})
    postings = [
        {"account": "cash", "side": "debit", "amount": amount},
        {"account": "equity", "side": "credit", "amount": amount},
    ]
    entry = await client.made("/v1/ledger/journal-entries", {"postings": postings, "memo": "Capital"})
    key = await client.made("/v1/api-keys", {"name": "K", "scope": "read"})
    made = {
        "api_key_id": key["id"],
        "test_clock_id": clock["id"],
        "customer_id": customer["id"],
        "product_id": product["id"],
        "plan_id": plan["id"],
        "price_id": price["id"],
        "payment_method_id": method["id"],
        "subscription_id": subscription["id"],
        "invoice_id": subscription["latest_invoice"],
        "payment_id": payment["id"],
        "journal_entry_id": entry["id"],
    }
    return {name: str(value) for name, value in made.items()}


@pytest.mark.parametrize("operation", QUERIES, ids=lambda operation: operation.name)
@HARMLESS
@given(data=st.data())
async def test_queries_take_any_string_and_never_break(
    api: Api, client: Client, operation: Operation, data: st.DataObject
) -> None:
    text = st.text(max_size=40) | st.sampled_from(["%00", "\x00", "\ud7ff", "9" * 40, "-1", "null", "2026-02-30"])
    assert operation.parameters is not None
    names = [field.alias or name for name, field in operation.parameters.model_fields.items()]
    pairs: list[tuple[str, str | int | float | bool | None]] = data.draw(
        st.lists(st.tuples(st.sampled_from(names) | text if names else text, text), max_size=4)
    )
    path = operation.path.replace(":path}", "}")
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        value = data.draw(text.filter(bool), label=name)
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    response = await client.http.get(path, params=pairs, headers={"Authorization": f"Bearer {client.key}"})
    is_theirs = operation.is_open or operation.needs in permissions_of(Scope.ADMIN)
    assert response.status_code in ({200, 404, 405, 422} if is_theirs else {403, 404, 405}), (
        path,
        pairs,
        response.text,
    )
