"""An HTTP answer as bytes, and its form in the log: a stored answer is repeated byte for byte."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from struct import Struct
from typing import Final, NamedTuple

from pydantic_core import to_json
from starlette.types import Receive, Send

Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
PROBLEM_JSON: Final[Header] = (b"content-type", b"application/problem+json")
REPLAYED: Final[Header] = (b"idempotent-replayed", b"true")

KEY_NAMESPACE: Final = "api/"
"""Put before clients' keys in the store: sagas keep theirs in the same table."""

PLATFORM_NAMESPACE: Final = "platform/"
"""The same of whoever looks after the cell, in a tenant that they are not in, and who it is."""

PORTAL_NAMESPACE: Final = "portal/"
"""The same before a customer's own, and the customer."""

MARK_BYTES: Final = 8
_FRAME: Final = Struct(f">B{MARK_BYTES}sHH")  # form, mark, status, length of the header lines; then they, then the body
_FORM: Final = 2


class Reply(NamedTuple):
    """Status, headers, body. The length is added when it is sent.

    Of a long one `body` is the beginning, and `rest` makes the parts after it, each once the client has taken those
    before: it has no length, and one that is broken off has no end, which clients see. `rest` has begun, so that
    whatever it holds is let go when it is closed.
    """

    status: int
    headers: Sequence[Header]
    body: bytes
    rest: AsyncGenerator[bytes, None] | None = None

    def wire(self, more: Sequence[Header]) -> bytes:
        """One that is whole as bytes of HTTP/1.1, with more headers: the last that its connection sends."""
        headers = [*self.headers, *more, (b"connection", b"close"), (b"content-length", str(len(self.body)).encode())]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return b"HTTP/1.1 %d \r\n%b\r\n%b" % (self.status, lines, self.body)

    async def send(self, send: Send) -> None:
        """Send one that is whole."""
        headers = [*self.headers, (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    async def send_parts(self, receive: Receive, send: Send, *, only_head: bool) -> None:
        """Send it part by part, for as long as somebody takes them: the server says nothing of a client that went."""
        assert self.rest is not None, "it has parts"
        async with aclosing(self.rest) as rest:
            await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers]})
            if only_head:
                await send({"type": "http.response.body", "body": b""})
                return
            gone = asyncio.create_task(_gone(receive))
            try:
                await send({"type": "http.response.body", "body": self.body, "more_body": True})
                async for part in rest:
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def json_reply(status: int, value: object, headers: Sequence[Header] = ()) -> Reply:
    """An answer in JSON: instants in RFC 3339, enums by value."""
    return Reply(status, (JSON, *headers), to_json(value))


class Stored(NamedTuple):
    """An answer as it was kept, and the mark of the request that made it: a repeat may well render the same bytes."""

    reply: Reply
    mark: bytes


def to_stored(reply: Reply, mark: bytes) -> bytes:
    """The bytes to keep of an answer; MARK_BYTES tell the request from every other."""
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in reply.headers)
    return _FRAME.pack(_FORM, mark, reply.status, len(lines)) + lines + reply.body


def from_stored(stored: bytes) -> Stored:
    """The inverse of `to_stored`. Raises ValueError for a form of another release."""
    form, mark, status, length = _FRAME.unpack_from(stored)
    if form != _FORM:
        raise ValueError(f"a stored answer of the unknown form {form}")
    start = _FRAME.size
    headers: list[Header] = []
    for line in stored[start : start + length].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        headers.append((name, value))
    return Stored(Reply(status, tuple(headers), stored[start + length :]), mark)
