"""The HTTP client of the adapters: one call, one answer or one named failure, and never a second sending."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from infra.http.kept_alive import CallTimedOut, ConnectionLost, KeptAlive, Unreachable

ANSWER = b"HTTP/1.1 200 OK\r\nX-One: a\r\ncontent-length: 2\r\n\r\n{}"


class Peer:
    """Gives the answers it was told, one per request, then ANSWER; None closes instead. Counts what comes."""

    def __init__(self, *answers: bytes | None, silent: bool = False, closes: bool = False) -> None:
        self.answers = list(answers)
        self.silent = silent
        self.closes = closes
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if self.silent:
                    continue
                answer = self.answers.pop(0) if self.answers else ANSWER
                if answer is None:
                    break
                writer.write(answer)
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def calling(
    peer: Peer, *, timeout_ms: int = 5_000, connections_max: int = 4, answer_bytes_max: int = 1_000
) -> AsyncIterator[KeptAlive]:
    server = await asyncio.start_server(peer.handle, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    client = KeptAlive(
        f"http://127.0.0.1:{peer.port}/base",
        {"Authorization": "Bearer key"},
        connections_max=connections_max,
        timeout_ms=timeout_ms,
        answer_bytes_max=answer_bytes_max,
    )
    try:
        yield client
    finally:
        await client.close()
        server.close()


async def test_calls_one_after_another_share_a_connection() -> None:
    async with calling(peer := Peer()) as client:
        for _ in range(5):
            answer = await client.call("POST", "/v1/x?y=1", b"{}", {"Idempotency-Key": "k"})
            assert (answer.status, answer.body, answer.headers["x-one"]) == (200, b"{}", "a")
    assert peer.connections == 1
    assert peer.requests[0].startswith(b"POST /base/v1/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert peer.requests[0].endswith(b"Authorization: Bearer key\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\n{}")


async def test_calls_at_once_never_use_more_connections_than_allowed() -> None:
    async with calling(peer := Peer(), connections_max=3) as client:
        answers = await asyncio.gather(*(client.call("GET", "/") for _ in range(50)))
    assert len(answers) == 50
    assert peer.connections <= 3


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, 200, b"{}"),
        (b"HTTP/1.1 503 Down\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx", 503, b"x"),
    ],
    ids=["chunked", "empty", "continue", "close"],
)
async def test_answers_of_every_form_are_read(answer: bytes, status: int, body: bytes) -> None:
    async with calling(Peer(answer)) as client:
        first = await client.call("GET", "/")
        assert (first.status, first.body) == (status, body)
        assert (await client.call("GET", "/")).body == b"{}"


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n"],
    ids=["nothing", "half a body", "another protocol", "half a head"],
)
async def test_a_connection_that_breaks_is_a_loss_and_the_request_is_not_sent_again(answer: bytes | None) -> None:
    peer = Peer(answer, closes=True)
    async with calling(peer) as client:
        with pytest.raises(ConnectionLost):
            await client.call("POST", "/", b"")
    assert len(peer.requests) == 1


async def test_silence_times_out_and_its_connection_is_not_used_again() -> None:
    async with calling(peer := Peer(silent=True), timeout_ms=50, connections_max=1) as client:
        with pytest.raises(CallTimedOut):
            await client.call("POST", "/")
        peer.silent = False
        assert (await client.call("POST", "/")).status == 200
    assert peer.connections == 2


async def test_waiting_for_a_free_connection_counts_as_waiting() -> None:
    async with calling(peer := Peer(silent=True), timeout_ms=100, connections_max=1) as client:
        results = await asyncio.gather(*(client.call("POST", "/") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, CallTimedOut) for result in results)
    assert len(peer.requests) < 5


async def test_a_cancelled_call_leaves_nothing_behind_for_the_next() -> None:
    async with calling(peer := Peer(silent=True), connections_max=1) as client:
        call = asyncio.create_task(client.call("POST", "/"))
        while not peer.requests:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        peer.silent = False
        assert (await client.call("POST", "/")).status == 200


async def test_an_answer_that_is_too_large_is_a_loss() -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2_000
    async with calling(Peer(large)) as client:
        with pytest.raises(ConnectionLost):
            await client.call("GET", "/")


async def test_nobody_listening_is_unreachable() -> None:
    client = KeptAlive("http://127.0.0.1:1", {}, connections_max=1, timeout_ms=5_000, answer_bytes_max=1_000)
    with pytest.raises(Unreachable):
        await client.call("GET", "/")


async def test_a_header_cannot_smuggle_another() -> None:
    async with calling(peer := Peer()) as client:
        with pytest.raises(ValueError, match="printable"):
            await client.call("POST", "/", b"", {"Idempotency-Key": "k\r\nX-Evil: 1"})
    assert peer.requests == []


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://host", "http://", "http://host/?q=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        KeptAlive(url, {}, connections_max=1, timeout_ms=1, answer_bytes_max=1)
