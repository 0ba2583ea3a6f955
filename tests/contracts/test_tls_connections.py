"""Connections by TLS: bounded from their first byte on, and above the handshake the same as without it."""

import asyncio
import contextlib
import random
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.http import metrics
from testing.certificates import NAME, MadeCertificate
from tests.contracts.tls_server import GET, Server, serving
from tests.lengths import LENGTH

OF_THE_PROCESS = 6
OF_AN_ADDRESS = 4
FIRST_BYTES = b"\x16\x03\x01\x02\x00\x01"
"""So a ClientHello begins; the rest never comes."""


@pytest.fixture(scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("lasting")) as running:
        yield running


@pytest.fixture
async def server(lasting: Server) -> Server:
    """One that nobody is connected to, for tests that leave it as it is."""
    await lasting.until(lambda: lasting.connections.counts() == (0, 0, 0))
    return lasting


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Server]:
    """One in which few handshakes may be under way."""
    async with serving(
        tmp_path, tls_handshakes_max=OF_THE_PROCESS, tls_handshakes_per_address_max=OF_AN_ADDRESS
    ) as running:
        yield running


def ended(reason: str) -> float:
    """Connections that servers of this process ended for this reason so far."""
    found = metrics.CONNECTIONS_ENDED.labels(reason)
    return sum(
        sample.value for family in found.collect() for sample in family.samples if sample.name.endswith("_total")
    )


def spoken_by(server: Server, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server.made.trusted()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client itself would not say that it speaks an old version
    with warnings.catch_warnings(action="ignore"):  # that it is old is why it is asked for
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_it_speaks(server: Server, version: ssl.TLSVersion) -> None:
    client = await server.connect(spoken_by(server, version))
    assert await client.answer() == b"https "
    assert client.version == version.name.replace("_", ".")
    client.hang_up()


async def test_it_does_not_speak_tls_1_1(server: Server) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        await server.connect(spoken_by(server, ssl.TLSVersion.TLSv1_1))


async def test_it_speaks_tls_1_3_alone_where_a_setting_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, tls_min_version="1.3") as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
            await server.connect(spoken_by(server, ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"])
async def test_without_forward_secrecy_or_authenticated_encryption_there_is_no_handshake(
    server: Server, cipher: str
) -> None:
    context = spoken_by(server, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await server.connect(context)


@pytest.mark.parametrize("length", [0, 1, 16_384, 16_385, 700_000])
async def test_requests_and_answers_of_any_length_pass(server: Server, length: int) -> None:
    body = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
    head = b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n" % length
    client = await server.connect()
    for _ in range(2):
        assert await client.answer(head + body) == b"https " + body
    client.hang_up()


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(server: Server) -> None:
    """Both in one packet: none of what came first may be lost on the way from the one to the other."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = server.made.trusted().wrap_bio(incoming, outgoing, server_hostname=NAME)
    client = await server.plain()
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.writer.write(outgoing.read())
            incoming.write(await client.reader.read(65_536))
    session.write(GET)
    client.writer.write(outgoing.read())
    told = b""
    while b"https" not in told:
        incoming.write(await client.reader.read(65_536))
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                told += session.read(65_536)
    client.hang_up()


async def test_a_handshake_that_comes_byte_by_byte_is_done(server: Server) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = server.made.trusted().wrap_bio(incoming, outgoing, server_hostname=NAME)
    client = await server.plain()
    client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for step in range(2):
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        for byte in outgoing.read():
            client.writer.write(bytes([byte]))
            await client.writer.drain()
        if step == 0:
            incoming.write(await client.reader.read(65_536))
    await server.until(lambda: server.connections.counts() == (1, 0, 0))
    client.hang_up()


async def test_what_is_no_tls_is_told_so_where_it_is_http_and_never_answered(server: Server) -> None:
    before = ended("plain_http"), ended("handshake_failed")
    plain = await (client := await server.plain()).answer(GET)
    assert b'"code":"https_required"' in plain
    assert b"https " not in plain
    assert await client.closed() == b""
    other = await server.plain()
    other.writer.write(b"\x00 no protocol that anybody knows")
    assert b"HTTP" not in await other.closed()
    assert (ended("plain_http"), ended("handshake_failed")) == (before[0] + 1, before[1] + 1)
    await server.until(lambda: server.connections.counts() == (0, 0, 0))


async def test_a_client_that_vanishes_in_its_handshake_leaves_nothing(server: Server) -> None:
    clients = [await server.plain() for _ in range(3)]
    clients[1].writer.write(FIRST_BYTES)
    clients[2].writer.write(FIRST_BYTES)
    await server.until(lambda: server.connections.counts() == (3, 3, 0))
    clients[0].writer.close()
    clients[1].writer.write_eof()
    clients[2].hang_up()
    await server.until(lambda: server.connections.counts() == (0, 0, 0))
    assert not server.server.server_state.connections
    clients[1].hang_up()


async def test_a_handshake_has_its_time_however_slowly_it_comes(tmp_path: Path) -> None:
    async with serving(tmp_path, tls_handshake_timeout_s=1.0) as server:
        before = ended("handshake_timeout")
        silent, dripping = await server.plain(), await server.plain()

        async def drip() -> None:
            for byte in FIRST_BYTES + b"\x00" * 10_000:
                dripping.writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripper = asyncio.create_task(drip())
        assert await silent.closed() == b""
        assert await dripping.closed() == b""
        dripper.cancel()
        assert ended("handshake_timeout") == before + 2
        await server.until(lambda: server.connections.counts() == (0, 0, 0))


async def test_an_address_has_so_many_handshakes_and_others_get_in(small: Server) -> None:
    hanging = [await small.plain("127.0.0.2") for _ in range(OF_AN_ADDRESS)]
    await small.until(lambda: small.connections.counts() == (OF_AN_ADDRESS, OF_AN_ADDRESS, 0))
    assert await (await small.plain("127.0.0.2")).closed() == b"", "one too many is closed at once"
    other = await small.connect(source="127.0.0.3")
    assert await other.answer() == b"https "
    assert small.connections.counts()[1] == OF_AN_ADDRESS, "and ends nobody's"
    for client in (*hanging, other):
        client.hang_up()


async def test_a_process_full_of_handshakes_ends_the_oldest_and_none_of_those_who_are_in(small: Server) -> None:
    inside = await small.connect(source="127.0.0.9")
    hanging = [await small.plain(f"127.0.1.{number + 1}") for number in range(OF_THE_PROCESS)]
    await small.until(lambda: small.connections.counts()[1] == OF_THE_PROCESS)
    late = await small.connect(source="127.0.2.1")
    assert await late.answer() == b"https ", "whoever comes last and is quick gets in"
    assert await hanging[0].closed() == b""
    assert small.connections.counts()[1] == OF_THE_PROCESS - 1
    assert await inside.answer() == b"https "
    for client in (*hanging, late, inside):
        client.hang_up()


async def test_connections_of_an_address_are_bounded_in_their_handshakes_too(tmp_path: Path) -> None:
    async with serving(tmp_path, connections_per_address_max=3) as server:
        inside = await server.connect()
        hanging = [await server.plain() for _ in range(2)]
        await server.until(lambda: server.connections.counts() == (3, 2, 0))
        assert await (await server.plain()).closed() == b""
        other = await server.connect(source="127.0.0.2")
        for client in (*hanging, inside, other):
            client.hang_up()


async def test_a_full_process_closes_who_has_waited_longest_be_it_in_its_handshake(tmp_path: Path) -> None:
    async with serving(tmp_path, connections_max=3) as server:
        hanging = await server.plain()
        inside = [await server.connect() for _ in range(3)]
        assert await hanging.closed() == b""
        for client in inside:
            assert await client.answer() == b"https "
            client.hang_up()


async def test_a_head_that_does_not_end_is_ended_and_told_so_by_tls(tmp_path: Path) -> None:
    async with serving(tmp_path, head_timeout_s=0.5) as server:
        client = await server.connect()
        client.writer.write(GET[:-2])
        assert b"request_timeout" in await client.closed()


async def test_a_client_that_takes_no_answer_is_ended_by_tls_too(tmp_path: Path) -> None:
    body = b"x" * 900_000
    async with serving(tmp_path, send_timeout_s=0.5) as server:
        before = ended("send_timeout")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await asyncio.to_thread(connection.connect, ("127.0.0.1", server.port))
        with server.made.trusted().wrap_socket(connection, server_hostname=NAME) as wire:
            request = b"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            with contextlib.suppress(OSError):  # it may be ended before all of it is sent
                await asyncio.to_thread(wire.sendall, request * 8)
            await server.until(lambda: ended("send_timeout") == before + 1)
            await server.until(lambda: server.connections.counts() == (0, 0, 0))


async def test_a_broken_record_ends_its_connection_and_no_other(server: Server) -> None:
    broken, whole = await server.connect(), await server.connect()
    before = ended("broken_record")
    # Below the client's TLS, where somebody on the way would change it.
    raw = broken.writer.get_extra_info("socket")
    with socket.fromfd(raw.fileno(), socket.AF_INET, socket.SOCK_STREAM) as wire:
        wire.send(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
    assert await broken.closed() == b""
    assert ended("broken_record") == before + 1
    assert await whole.answer() == b"https "
    whole.hang_up()


def client_hello(server: Server) -> bytes:
    outgoing = ssl.MemoryBIO()
    session = server.made.trusted().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


async def test_whatever_a_stranger_sends_breaks_nothing_and_leaves_nothing(server: Server) -> None:
    """Greetings with bytes changed, cut out, doubled, and behind them anything; and records of anything once inside."""
    chance, hello = random.Random(7), client_hello(server)
    for _ in range(LENGTH.scaled(100)):
        sent = bytearray(hello)
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(sent))
            change = chance.randrange(3)
            sent[at : at + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(9)) if change else b""
        client = await server.plain()
        client.writer.write(bytes(sent[: chance.randrange(1, len(sent) + 1)]) + chance.randbytes(chance.randrange(99)))
        client.writer.write_eof()
        await client.closed()
    for _ in range(LENGTH.scaled(20)):
        inside = await server.connect()
        raw = inside.writer.get_extra_info("socket")
        with socket.fromfd(raw.fileno(), socket.AF_INET, socket.SOCK_STREAM) as wire:
            wire.send(bytes([chance.randrange(256)]) + b"\x03\x03" + chance.randbytes(chance.randrange(2, 99)))
        inside.hang_up()
    await server.until(lambda: server.connections.counts() == (0, 0, 0))
    assert not server.server.server_state.connections


async def test_a_client_that_says_goodbye_is_gone(server: Server) -> None:
    client = await server.connect()
    assert await client.answer() == b"https "
    client.writer.close()
    await server.until(lambda: server.connections.counts() == (0, 0, 0))


async def test_it_stops_with_handshakes_and_idle_connections_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        hanging, inside = await server.plain(), await server.connect()
        assert await inside.answer() == b"https "
        server.server.should_exit = True
        assert await hanging.closed() == b""
        assert await inside.closed() == b""


# ── renewal ──


@pytest.fixture
def second() -> MadeCertificate:
    return MadeCertificate()


async def test_a_renewed_certificate_is_shown_to_new_connections_and_ends_none(
    tmp_path: Path, second: MadeCertificate
) -> None:
    async with serving(tmp_path) as server:
        before = await server.connect()
        assert await before.answer() == b"https "
        second.write(server.folder)
        server.certificate.look()
        after = await server.connect(second.trusted())
        assert (before.certificate, after.certificate) == (server.made.der, second.der)
        assert await before.answer() == await after.answer() == b"https "
        before.hang_up()
        after.hang_up()


async def test_it_looks_at_the_files_by_itself(tmp_path: Path, second: MadeCertificate) -> None:
    async with serving(tmp_path, tls_check_s=0.05) as server, server.certificate.renewing():
        second.write(server.folder)

        async def shown() -> bytes:
            anybodys = ssl.create_default_context()
            anybodys.check_hostname, anybodys.verify_mode = False, ssl.CERT_NONE  # whose it is, is asked here
            client = await server.connect(anybodys)
            client.hang_up()
            return client.certificate

        async with asyncio.timeout(60):
            while await shown() != second.der:
                await asyncio.sleep(0.02)
