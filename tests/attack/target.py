"""What is attacked: an API process on a real socket, spoken to in bytes that no well-behaved client would send."""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import asyncpg

from tests.e2e.api_process import ApiProcess

ANSWER_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.02

Headers = Iterable[tuple[str, str]]


class Answer(NamedTuple):
    """A status, headers by their names in lower case, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code; empty for what is no problem."""
        return str(self.json["code"]) if "problem+json" in self.headers.get("content-type", "") else ""


class Wire(NamedTuple):
    """One connection, raw."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes. A server that hung up meanwhile is seen when its answer is read."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> Answer:
        """Read one answer with a length."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = {}
            for line in lines[1:-2]:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(lines[0].split()[1]), headers, body)

    async def closed(self) -> bytes:
        """Wait until the server has closed; what it sent before."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def hang_up(self) -> None:
        """Close at once, whatever is under way."""
        self.writer.transport.abort()


def head(method: str, path: str, headers: Headers) -> bytes:
    """A request's head as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: api", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The process, its database as an administrator sees it, and a key."""

    process: ApiProcess
    database: "asyncpg.Connection[asyncpg.Record]"
    dsn: str
    key: str
    tenant_id: str

    @contextlib.asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A connection, closed at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.process.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.transport.abort()

    def authorized(self, *more: tuple[str, str], idempotency_key: str | None = None) -> list[tuple[str, str]]:
        """The headers of a good command, and more."""
        return [
            ("Authorization", f"Bearer {self.key}"),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", idempotency_key or uuid.uuid4().hex),
            *more,
        ]

    async def send(self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None) -> Answer:
        """One request on a connection of its own, authorized unless headers are given."""
        sent = list(self.authorized() if headers is None else headers)
        if body is not None:
            sent.append(("Content-Length", str(len(body))))
        async with self.wire() as wire:
            await wire.send(head(method, path, sent) + (body or b""))
            return await wire.answer()

    async def made(self, path: str, body: object) -> dict[str, Any]:
        """What a POST made."""
        answer = await self.send("POST", path, json.dumps(body).encode())
        assert answer.status == 201, answer
        made: dict[str, Any] = answer.json
        return made

    async def head_position(self) -> int:
        """The log's head."""
        position: int = await self.database.fetchval("SELECT position FROM log.head")
        return position

    async def keys_used(self) -> set[str]:
        """Every Idempotency-Key under which anything was decided."""
        rows = await self.database.fetch("SELECT idempotency_key FROM log.command_results")
        return {row["idempotency_key"].removeprefix("api/") for row in rows}

    async def requests_seen(self, method: str, route: str) -> int:
        """Requests of a route that the process is done with, however they ended."""
        text = (await self.send("GET", "/metrics", headers=())).body.decode()
        counted = rf'tallybook_api_request_seconds_count\{{method="{method}",route="{re.escape(route)}",.*\}} (\S+)'
        return sum(int(float(count)) for count in re.findall(counted, text))

    async def wait_until_seen(self, method: str, route: str, count: int) -> None:
        """Wait until the process is done with so many requests of the route."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while await self.requests_seen(method, route) < count:
                await asyncio.sleep(POLL_S)
