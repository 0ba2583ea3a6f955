"""What is said twice, or behind the body, is not guessed at."""

import uuid

import pytest

from api.http.edge import SINGLE_HEADERS
from tests.attack.target import Target, head

VALUES = {
    "Authorization": "Bearer {key}",
    "X-Tenant-ID": "acme",
    "Content-Type": "application/json",
    "Min-Ledger-Position": "0",
    "Tallybook-Version": "2026-11-21",
}


@pytest.mark.parametrize("name", sorted(SINGLE_HEADERS.values()))
async def test_a_header_that_is_sent_twice_is_refused_also_with_the_same_value(target: Target, name: str) -> None:
    before = await target.head_position()
    value = VALUES.get(name, uuid.uuid4().hex).format(key=target.key)
    own = [pair for pair in target.authorized() if pair[0] != name]
    for second in (value, "something-else"):
        for pair in ((value, second), (second, value)):
            headers = [*own, (name, pair[0]), (name.lower(), pair[1])]
            answer = await target.send("POST", "/v1/products", b'{"name":"P"}', headers=headers)
            assert answer.status == 400, answer
            assert answer.code in ("invalid_header", "malformed_request")
    assert await target.head_position() == before


async def test_what_stands_behind_a_body_in_chunks_is_no_header(target: Target) -> None:
    """It comes after everything that a proxy looks at."""
    for name, value in target.authorized():
        own = [pair for pair in target.authorized(("Transfer-Encoding", "chunked")) if pair[0] != name]
        async with target.wire() as wire:
            trailer = f"0\r\n{name}: {value}\r\n\r\n".encode()
            await wire.send(head("POST", "/v1/products", own) + b'c\r\n{"name":"P"}\r\n' + trailer)
            answer = await wire.answer()
        assert answer.status in (400, 401, 415), (name, answer)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: api\r\n\r\n",
        b"CONNECT api:80 HTTP/1.1\r\nHost: api\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=lambda sent: repr(sent[:30]),
)
async def test_what_is_no_request_is_told_so_in_our_form(target: Target, request_bytes: bytes) -> None:
    async with target.wire() as wire:
        await wire.send(request_bytes)
        answer = await wire.answer()
        assert 400 <= answer.status < 500, answer
        assert answer.code in ("malformed_request", "unauthenticated", "route_not_found", "method_not_allowed"), answer
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_requests_in_one_packet_are_answered_in_their_order(target: Target) -> None:
    async with target.wire() as wire:
        await wire.send(
            b"".join(head("GET", "/health/live", [("X-Request-Id", f"number-{number}")]) for number in range(10))
        )
        for number in range(10):
            assert (await wire.answer()).headers["x-request-id"] == f"number-{number}"
