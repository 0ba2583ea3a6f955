"""Clients that ask for an export and go, stand still, or ask for many: each export lets go of what it held."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from testing.many_products import EXPORTS_UNDER_WAY, MANY_PRODUCTS
from tests.attack.target import ANSWER_TIMEOUT_S, POLL_S, Target, Wire, head

ROWS = 60_000
"""Of a kilobyte each: far more than the sockets on the way hold."""


@pytest.fixture
async def large(target: Target) -> AsyncIterator[Target]:
    """The target with a tenant that sells a great deal."""
    await target.database.execute(MANY_PRODUCTS, target.tenant_id, "Product", ROWS)
    yield target
    await target.database.execute("DELETE FROM read.products_v1 WHERE tenant_id = $1", target.tenant_id)


async def begun(wire: Wire, target: Target) -> dict[str, str]:
    """Ask for the export, and take its head."""
    await wire.send(head("GET", "/v1/exports/products", target.authorized()))
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        lines = (await wire.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    assert lines[0].split()[1] == "200", lines
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}


async def until_under_way(target: Target, number: int) -> None:
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while await target.database.fetchval(EXPORTS_UNDER_WAY) != number:
            await asyncio.sleep(POLL_S)


async def asked_for_the_head(target: Target) -> bytes:
    """The first line of the answer to who wants its head alone."""
    async with target.wire() as wire:
        await wire.send(head("HEAD", "/v1/exports/products", target.authorized()))
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return (await wire.reader.readuntil(b"\r\n\r\n")).splitlines()[0]


@contextlib.asynccontextmanager
async def begun_once_there_is_room(target: Target) -> AsyncIterator[None]:
    """A place is free once its connection is given back, a moment after the transaction that is seen to end."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        async with target.wire() as wire:
            await wire.send(head("GET", "/v1/exports/products", target.authorized()))
            if b" 200 " in (await wire.reader.readuntil(b"\r\n\r\n")).splitlines()[0]:
                yield
                return
        assert time.monotonic() < deadline, "the place is not given back"
        await asyncio.sleep(POLL_S)


async def test_a_client_that_goes_frees_its_cursor_and_its_place(large: Target) -> None:
    async with large.wire() as one, large.wire() as other:
        for wire in (one, other):
            headers = await begun(wire, large)
            assert headers["export-rows"] == str(ROWS)
            assert headers["transfer-encoding"] == "chunked"
        await until_under_way(large, 2)
        refused = await large.send("GET", "/v1/exports/products")
        assert (refused.status, refused.code) == (503, "exports_busy")
        one.hang_up()
        await until_under_way(large, 1)
        async with begun_once_there_is_room(large):
            await until_under_way(large, 2)
    await until_under_way(large, 0)


async def test_who_asks_for_the_head_alone_holds_nothing(large: Target) -> None:
    for _ in range(5):
        assert b" 200 " in await asked_for_the_head(large)
    await until_under_way(large, 0)


async def test_an_export_whose_database_goes_has_no_end(large: Target) -> None:
    """Its last chunk never comes, so nobody takes a part for the whole; the process goes on."""
    async with large.wire() as wire:
        await begun(wire, large)
        await until_under_way(large, 1)
        await large.database.execute(EXPORTS_UNDER_WAY.replace("count(*)", "pg_terminate_backend(pid)"))
        content = await wire.closed()
    assert len(content) < ROWS * 1000
    assert not content.endswith(b"0\r\n\r\n")
    assert (await large.send("GET", "/v1/products?limit=1")).status == 200
    await until_under_way(large, 0)


async def test_an_export_takes_bounded_memory(large: Target) -> None:
    async with large.wire() as wire:
        process = psutil.Process(large.process.pid)
        before = most = process.memory_info().rss
        await begun(wire, large)
        content = 0
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while piece := await wire.reader.read(1 << 20):
                content += len(piece)
                most = max(most, process.memory_info().rss)
                if piece.endswith(b"0\r\n\r\n"):
                    break
        assert content > ROWS * 1000
        assert most - before < 30_000_000
