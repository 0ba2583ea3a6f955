"""Connections are bounded in time, size and number, of the process and of an address, and honest ones are served."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from cli.api_keys import create_key
from infra.settings import Settings
from tests.attack.target import ANSWER_TIMEOUT_S, Target, Wire, head
from tests.e2e.api_process import ApiProcess

ONE_ADDRESS = 12
UNFINISHED = 20
OF_ONE_ADDRESS = 30
OPEN = 60
ANONYMOUS_PER_MIN = 5
PROXY = "127.0.0.9"
LIMITS = {
    "TALLYBOOK_API_HEAD_TIMEOUT_S": "2",
    "TALLYBOOK_API_BODY_TIMEOUT_S": "2",
    "TALLYBOOK_API_SEND_TIMEOUT_S": "2",
    "TALLYBOOK_API_IDLE_TIMEOUT_S": "2",
    "TALLYBOOK_API_UNFINISHED_PER_ADDRESS_MAX": str(ONE_ADDRESS),
    "TALLYBOOK_API_UNFINISHED_MAX": str(UNFINISHED),
    "TALLYBOOK_API_CONNECTIONS_PER_ADDRESS_MAX": str(OF_ONE_ADDRESS),
    "TALLYBOOK_API_CONNECTIONS_MAX": str(OPEN),
    "TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN": str(ANONYMOUS_PER_MIN),
    "TALLYBOOK_API_TRUSTED_PROXIES": PROXY,
}


@pytest.fixture(scope="module")
async def limited(target: Target, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """A second process on the same database, with small limits. Its rate of requests without a key is small, too."""
    folder: Path = tmp_path_factory.mktemp("limited")
    key = await create_key(target.dsn, Settings(), tenant_id=target.tenant_id)
    process = ApiProcess(target.dsn, folder, **LIMITS)
    process.start()
    connection = await asyncpg.connect(target.dsn)
    try:
        yield Target(process=process, database=connection, dsn=target.dsn, key=key.secret, tenant_id=target.tenant_id)
        assert process.is_running, "an attack ended the process"
        assert "Traceback" not in process.log
    finally:
        await connection.close()
        process.kill()


async def connect(target: Target, source: str = "127.0.0.1") -> Wire:
    """A connection from one of the loopback's addresses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.process.port, local_addr=(source, 0))
    return Wire(reader, writer)


async def ended(target: Target, reason: str) -> int:
    """Connections that the process ended for this reason."""
    text = (await target.send("GET", "/metrics", headers=())).body.decode()
    name = f'tallybook_api_connections_ended_total{{reason="{reason}"}} '
    return sum(int(float(line.removeprefix(name))) for line in text.splitlines() if line.startswith(name))


UNFINISHED_HEAD = b"GET /health/live HTTP/1.1\r\nHost: api\r\nX-Slow: "


async def test_a_head_that_does_not_end_is_ended(limited: Target) -> None:
    """Also one of which a byte comes now and then: the time is that of the whole head."""
    silent, dripping = await connect(limited), await connect(limited)
    await silent.send(UNFINISHED_HEAD)
    await dripping.send(UNFINISHED_HEAD)

    async def drip() -> None:
        while not dripping.writer.is_closing():
            await dripping.send(b"x")
            await asyncio.sleep(0.05)

    dripper = asyncio.create_task(drip())
    for wire in (silent, dripping):
        answer = await wire.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        wire.hang_up()
    await dripper


async def test_a_body_that_does_not_end_is_ended_and_was_no_request(limited: Target) -> None:
    before = await limited.head_position()
    for length, beginning in ((("Content-Length", "30"), b"{}"), (("Transfer-Encoding", "chunked"), b"2\r\n{}\r\n")):
        headers = limited.authorized(length)
        wire = await connect(limited)
        await wire.send(head("POST", "/v1/products", headers) + beginning)
        answer = await wire.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert dict(headers)["Idempotency-Key"] not in await limited.keys_used()
        await wire.closed()
    assert await limited.head_position() == before


async def test_a_connection_that_says_nothing_is_closed(limited: Target) -> None:
    fresh, used = await connect(limited), await connect(limited)
    await used.send(head("GET", "/health/live", ()))
    assert (await used.answer()).status == 200
    assert await fresh.closed() == b""
    assert await used.closed() == b""


@pytest.mark.parametrize("kind", ["head", "body"])
async def test_one_address_has_so_many_unfinished_requests_and_others_are_served(limited: Target, kind: str) -> None:
    beginning = UNFINISHED_HEAD
    if kind == "body":
        beginning = head("POST", "/v1/products", limited.authorized(("Content-Length", "30")))
    wires = [await connect(limited) for _ in range(OF_ONE_ADDRESS - 2)]
    for wire in wires:
        await wire.send(beginning)
    refused = 0
    for wire in wires:
        answer = await wire.answer()
        assert answer.code in ("request_timeout", "too_many_connections")
        refused += answer.code == "too_many_connections"
        wire.hang_up()
    assert refused >= len(wires) - ONE_ADDRESS
    assert (await limited.send("GET", "/v1/products")).status == 200


async def test_a_process_that_is_full_of_unfinished_requests_ends_the_oldest(limited: Target) -> None:
    """From as many addresses as one likes: whoever comes last, and is quick, is served."""
    before = await ended(limited, "request_timeout")
    wires = [await connect(limited, f"127.0.1.{number + 1}") for number in range(UNFINISHED + 10)]
    for wire in wires:
        await wire.send(UNFINISHED_HEAD)
    for wire in wires[:10]:
        assert (await wire.answer()).code == "request_timeout"
    assert (await limited.send("GET", "/v1/products")).status == 200
    assert await ended(limited, "request_timeout") >= before + 10
    for wire in wires:
        wire.hang_up()


async def test_one_address_has_so_many_connections(limited: Target) -> None:
    wires = [await connect(limited, "127.0.2.1") for _ in range(OF_ONE_ADDRESS + 5)]
    answers = [await wire.closed() for wire in wires]
    assert sum(b"too_many_connections" in answer for answer in answers) == 5
    assert answers.count(b"") == OF_ONE_ADDRESS, "those are closed when their time is up"


async def test_a_process_that_is_full_closes_who_has_waited_longest(limited: Target) -> None:
    """Two requests a connection, so that the first ones are old but not those that have waited longest."""
    before = await ended(limited, "idle")
    wires = [await connect(limited, f"127.0.3.{number + 1}") for number in range(OPEN + 20)]
    assert (await limited.send("GET", "/v1/products")).status == 200
    assert await ended(limited, "idle") >= before + 20
    for wire in wires[:20]:
        assert await wire.closed() == b""
    for wire in wires:
        wire.hang_up()


async def test_a_head_has_a_size_and_is_not_read_beyond_it(limited: Target) -> None:
    process = psutil.Process(limited.process.pid)
    before = process.memory_info().rss
    for line in (b"X-Large: ", b"GET /"):
        wire = await connect(limited)
        await wire.send(UNFINISHED_HEAD if line != b"GET /" else line)
        for _ in range(400):
            await wire.send(b"x" * 262_144)
            if wire.reader.at_eof() or wire.writer.is_closing():
                break
        assert b"head_too_large" in await wire.closed() or wire.writer.is_closing()
    assert process.memory_info().rss - before < 32 * 2**20
    many = [(f"X-{number}", "x") for number in range(200)]
    answer = await limited.send("GET", "/health/live", headers=many)
    assert (answer.status, answer.code) == (431, "head_too_large")
    answer = await limited.send("GET", "/health/live", headers=[("X-Large", "x" * 40_000)])
    assert (answer.status, answer.code) == (431, "head_too_large")


async def test_a_body_has_a_size_on_the_wire_too(limited: Target) -> None:
    """What is announced, what is sent, and what stands around the bytes of chunks that hold next to nothing."""
    head_of_chunks = head("POST", "/v1/products", limited.authorized(("Transfer-Encoding", "chunked")))
    for chunk in (b"10000\r\n" + b" " * 65_536 + b"\r\n", b"1;" + b"x" * 8_000 + b"\r\n \r\n"):
        wire = await connect(limited)
        await wire.send(head_of_chunks)
        for _ in range(20_000):
            await wire.send(chunk)
            if wire.reader.at_eof() or wire.writer.is_closing():
                break
        else:
            pytest.fail("the body was read on and on")
        wire.hang_up()
    answer = await limited.send("POST", "/v1/products", headers=limited.authorized(("Content-Length", "99999999")))
    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_a_client_that_takes_no_answer_is_ended(limited: Target) -> None:
    before = await ended(limited, "send_timeout")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect(("127.0.0.1", limited.process.port))
    try:
        connection.sendall(head("GET", "/openapi.json", limited.authorized()) * 20)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while await ended(limited, "send_timeout") == before:
                await asyncio.sleep(0.05)
    finally:
        connection.close()


async def test_an_address_is_not_what_its_client_says_it_is(limited: Target) -> None:
    """Without a key so many requests a minute pass, whatever stands in X-Forwarded-For; a trusted proxy is believed."""

    async def ask(source: str, forwarded: str) -> int:
        wire = await connect(limited, source)
        await wire.send(head("GET", "/openapi.json", [("X-Forwarded-For", forwarded)]))
        answer = await wire.answer()
        wire.hang_up()
        return answer.status

    pretended = [await ask("127.0.4.1", f"203.0.113.{number}") for number in range(ANONYMOUS_PER_MIN + 3)]
    assert pretended == [200] * ANONYMOUS_PER_MIN + [429] * 3
    several = [await ask(PROXY, f"198.51.100.{number}") for number in range(ANONYMOUS_PER_MIN + 3)]
    assert several == [200] * (ANONYMOUS_PER_MIN + 3)
    one = [await ask(PROXY, f"10.0.0.{number}, 198.51.100.77") for number in range(ANONYMOUS_PER_MIN + 3)]
    assert one == [200] * ANONYMOUS_PER_MIN + [429] * 3
