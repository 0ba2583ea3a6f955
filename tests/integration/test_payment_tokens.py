"""A payment method's token: the gateway must know it, it stands nowhere in the log, and erasure ends it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.customers.customer import EraseCustomer
from domain.customers.payment_method import DetachPaymentMethod
from domain.kernel.money import Money
from domain.kernel.stream import WorkKind
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT
from gateway_adapters.port import (
    Declined,
    MethodSaved,
    OutcomeUnknown,
    PaymentRequest,
    SaveMethodRequest,
    TransactionKind,
    UnknownWhy,
)
from testing.api_client import Api, running_api
from testing.processors_cell import EUR
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.integration.due_work_scene import Scene, holds, open_scene

CALL, DELETION = WorkKind.PAYMENT_GATEWAY_CALL, WorkKind.PAYMENT_METHOD_DELETION


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        yield running


async def test_a_token_that_the_gateway_does_not_know_is_refused(api: Api) -> None:
    client = await api.tenant("acme")
    customer = await client.made("/v1/customers", {"currency": "EUR"})
    for token in ("tok_nonsense", "hello"):
        body = {"customer": customer["id"], "type": "card", "token": token}
        answer = await client.post("/v1/payment-methods", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "payment_method_declined")


async def test_a_method_shows_what_its_gateway_says_and_its_token_stands_nowhere_in_the_log(api: Api) -> None:
    client = await api.tenant("acme")
    customer = await client.made("/v1/customers", {"currency": "EUR", "name": "Ada"})
    body = {"customer": customer["id"], "type": "card", "token": "tok_mastercard"}
    method = await client.made("/v1/payment-methods", body)
    shown = [method[name] for name in ("brand", "last4", "expires_month", "expires_year")]
    assert shown == ["mastercard", "4444", 12, 2034]
    rows = await api.parts.reader.pool.fetch("SELECT payload FROM log.events")
    assert not any(b"mastercard_" in row[0] or b"tok_" in row[0] or b"pm_0" in _without(method, row[0]) for row in rows)
    again = await client.made("/v1/payment-methods", body | {"token": "tok_visa"})
    assert (again["brand"], again["last4"]) == ("visa", "4242")
    known = (await client.get(f"/v1/customers/{customer['id']}")).json()
    assert known["name"] == "Ada"  # the newest revision of the person is not the token


def _without(method: dict[str, object], payload: bytes) -> bytes:
    """A payload without the method's own id: what is left of that form would be the gateway's."""
    return payload.replace(str(method["id"]).encode(), b"")


async def test_an_erased_customers_card_is_charged_no_more(scene: Scene) -> None:
    payment_id = await scene.pay()
    customer_id = await scene.customer_of(payment_id)
    outcome = await scene.writer.submit(request(EraseCustomer(customer_id=customer_id), erases=customer_id))
    assert outcome.refusal_code is None
    await scene.run(CALL)
    payment = await scene.states.read(PAYMENT, TENANT, payment_id)
    assert payment is not None
    assert payment.decline_code == "method_not_found"
    assert await scene.taken(TransactionKind.CHARGE) == []


async def test_a_charge_that_was_made_before_the_erasure_is_found_and_recorded(scene: Scene) -> None:
    payment_id = await scene.pay()
    await scene.run(CALL, dies=True)
    customer_id = await scene.customer_of(payment_id)
    await scene.writer.submit(request(EraseCustomer(customer_id=customer_id), erases=customer_id))
    await scene.pass_time(0.1)
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.captured"
    assert await scene.taken(TransactionKind.CHARGE) == [f"{payment_id}:1"]


async def test_a_call_that_comes_after_the_erasure_charges_nothing(scene: Scene) -> None:
    payment_id = await scene.pay("tok_timeout_before_charge")
    scene.sandbox_timeout_ms = 100
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.outcome_unknown"
    customer_id = await scene.customer_of(payment_id)
    await scene.writer.submit(request(EraseCustomer(customer_id=customer_id), erases=customer_id))
    await scene.run(CALL)
    assert (await scene.events(payment_id))[-1] == "payment.declined"
    assert await scene.call_comes_late(payment_id) == OutcomeUnknown(why=UnknownWhy.KEY_REUSED)
    assert await scene.taken(TransactionKind.CHARGE) == []
    await holds(scene)


async def kept_card(scene: Scene) -> tuple[str, str, str]:
    """A card that the gateway keeps for its customer: theirs, ours, and what the gateway calls it."""
    customer_id = await scene.customer()
    adapter = scene.sandbox.adapter()
    kept = await adapter.save_payment_method(
        SaveMethodRequest(token="tok_visa", customer_reference=customer_id, idempotency_key=customer_id)
    )
    await adapter.close()
    assert isinstance(kept, MethodSaved)
    return customer_id, await scene.card(customer_id, kept.gateway_method_id), kept.gateway_method_id


async def is_forgotten(scene: Scene, token: str) -> bool:
    """Whether the gateway charges it no more."""
    adapter = scene.sandbox.adapter()
    try:
        charged = await adapter.create_payment(
            PaymentRequest(
                reference=f"a charge of {token}",
                amount=Money(100, EUR),
                payment_method_token=token,
                idempotency_key=f"a charge of {token}",
            )
        )
        return isinstance(charged, Declined) and charged.code is DeclineCode.METHOD_NOT_FOUND
    finally:
        await adapter.close()


async def test_what_is_detached_is_forgotten_by_its_gateway_however_long_that_is_away(scene: Scene) -> None:
    _, method_id, token = await kept_card(scene)
    await scene.do(DetachPaymentMethod(payment_method_id=method_id))
    await scene.sandbox.stop()
    await scene.run(DELETION)
    assert (await scene.events(method_id))[-1] == "payment_method.detached"
    await scene.sandbox.start()
    await scene.run(DELETION)
    assert (await scene.events(method_id))[-1] == "payment_method.forgotten"
    assert await is_forgotten(scene, token)
    await holds(scene)


async def test_a_worker_that_died_after_the_gateway_forgot_it_leaves_that_to_another(scene: Scene) -> None:
    _, method_id, token = await kept_card(scene)
    await scene.do(DetachPaymentMethod(payment_method_id=method_id))
    await scene.run(DELETION, dies=True)
    assert await is_forgotten(scene, token)
    await scene.pass_time(0.1)
    await scene.run(DELETION)
    assert (await scene.events(method_id))[-1] == "payment_method.forgotten"
    await holds(scene)


async def test_of_an_erased_customer_nobody_knows_any_more_what_to_ask_the_gateway(scene: Scene) -> None:
    customer_id, method_id, _ = await kept_card(scene)
    await scene.do(DetachPaymentMethod(payment_method_id=method_id))
    erased = await scene.writer.submit(request(EraseCustomer(customer_id=customer_id), erases=customer_id))
    assert erased.refusal_code is None
    await scene.run(DELETION)
    assert (await scene.events(method_id))[-1] == "payment_method.detached"
    await holds(scene)
