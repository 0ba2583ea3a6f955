"""A client that goes away before its request has arrived whole has asked for nothing, and its key stays free."""

import asyncio
import json
import uuid

import pytest

from api.app import RESOURCES
from api.http.operations import Operation
from domain.identity.permissions import Scope, permissions_of
from testing.bad_bodies import path_of
from tests.attack.target import Target, head

COMMANDS: list[Operation] = [
    operation
    for resource in RESOURCES
    for operation in resource.declared
    if operation.is_command and operation.needs in permissions_of(Scope.ADMIN)
]


def chunked(body: bytes) -> bytes:
    """The body as one chunk, without the end."""
    return b"%x\r\n%b\r\n" % (len(body), body)


@pytest.mark.parametrize("operation", COMMANDS, ids=lambda operation: operation.name)
async def test_a_body_that_did_not_arrive_whole_is_no_request(target: Target, operation: Operation) -> None:
    """With nothing of it, with a whole JSON value but not its length, with a chunk but not the last."""
    method, path = operation.method, path_of(operation, target.tenant_id)
    before = await target.head_position()
    seen = await target.requests_seen(method, operation.path)
    beginnings = (
        (("Content-Length", "30"), b""),
        (("Content-Length", "30"), b"{}"),
        (("Transfer-Encoding", "chunked"), b""),
        (("Transfer-Encoding", "chunked"), chunked(b"{}")),
        (("Transfer-Encoding", "chunked"), chunked(b"{}") + b"0\r\n"),
    )
    keys = [uuid.uuid4().hex for _ in beginnings]
    for key, (length, beginning) in zip(keys, beginnings, strict=True):
        async with target.wire() as wire:
            await wire.send(head(method, path, target.authorized(length, idempotency_key=key)) + beginning)
    await target.wait_until_seen(method, operation.path, seen + len(keys))
    assert await target.head_position() == before
    assert not set(keys) & await target.keys_used()


async def test_a_client_that_goes_away_at_any_byte_changes_nothing(target: Target) -> None:
    """Cut off at each byte, the invoice is not paid; the whole request under the same key then is."""
    customer = await target.made("/v1/customers", {"currency": "EUR", "name": "Somebody"})
    amount = {"amount": 1999, "currency": "EUR"}
    draft = {"customer": customer["id"], "currency": "EUR", "lines": [{"description": "Work", "amount": amount}]}
    invoice = (await target.made("/v1/invoices", draft))["id"]
    assert (await target.send("POST", f"/v1/invoices/{invoice}/finalize", b"{}")).status == 200
    path, body, key = f"/v1/invoices/{invoice}/pay", json.dumps({"paid_out_of_band": True}).encode(), uuid.uuid4().hex
    sent = target.authorized(("Content-Length", str(len(body))), idempotency_key=key)
    request = head("POST", path, sent) + body
    before = await target.head_position()
    seen = await target.requests_seen("POST", "/v1/invoices/{invoice_id}/pay")

    async def go_away(after: int) -> None:
        async with target.wire() as wire:
            await wire.send(request[:after])

    for first in range(0, len(request), 50):
        await asyncio.gather(*(go_away(after) for after in range(first, min(first + 50, len(request)))))
    await target.wait_until_seen("POST", "/v1/invoices/{invoice_id}/pay", seen + len(body))
    assert await target.head_position() == before
    assert key not in await target.keys_used()
    paid = await target.send("POST", path, body, headers=target.authorized(idempotency_key=key))
    assert (paid.status, paid.json["status"]) == (200, "paid"), paid
    assert "idempotent-replayed" not in paid.headers
