"""A server of the API's connections by TLS, on the event loop that it has in production, and clients of it."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from api.app import connection_limits
from api.http.connections import Connections
from api.http.served_certificate import ServedCertificate, served_certificate
from infra.settings import ApiSettings
from testing.certificates import NAME, MadeCertificate

WAIT_S: Final = 60.0
"""Bounds a test that would otherwise hang."""
POLL_S: Final = 0.01
NEVER_S: Final = 600
"""A time that no test takes, however slow the machine: what ends a connection is what the test is about."""
GET: Final = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how the request came, and its body."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    told = scope["scheme"].encode() + b" " + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


class Server:
    """It runs in a thread of its own. `made` is the certificate that it was given first."""

    def __init__(self, folder: Path, made: MadeCertificate, **settings: Any) -> None:
        self.folder = folder
        self.made = made
        certificate, key = made.write(folder)
        never = {"tls_handshake_timeout_s": NEVER_S, "head_timeout_s": NEVER_S}
        api = ApiSettings(tls_certificate_file=certificate, tls_key_file=key, **{**never, **settings})
        served = served_certificate(api)
        assert served is not None, "it has both files"
        self.certificate: ServedCertificate = served
        self.connections = Connections(connection_limits(api), served)
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            http=cast("type[asyncio.Protocol]", self.connections.protocol),
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_keep_alive=NEVER_S,
            timeout_graceful_shutdown=10,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: uvloop.run(self._serve()))
        self.failures: list[dict[str, Any]] = []

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.failures.append(context))
        await self.server.serve()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what comes about in the server."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(POLL_S)

    async def connect(self, context: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> "Client":
        """A client that has done its handshake."""
        return Client(
            *await asyncio.open_connection(
                "127.0.0.1",
                self.port,
                ssl=context or self.made.trusted(),
                server_hostname=NAME,
                local_addr=(source, 0),
            )
        )

    async def plain(self, source: str = "127.0.0.1") -> "Client":
        """A client that knows nothing of TLS, or does as if."""
        return Client(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0)))


@contextlib.asynccontextmanager
async def serving(folder: Path, made: MadeCertificate | None = None, **settings: Any) -> AsyncIterator[Server]:
    """A server that takes connections; it is asked to stop at the end, and must, with no exception behind it."""
    server = Server(folder, made or MadeCertificate(), **settings)
    server.thread.start()
    try:
        await server.until(lambda: server.server.started)
        yield server
    finally:
        server.server.should_exit = True
        await asyncio.to_thread(server.thread.join, WAIT_S)
        assert not server.thread.is_alive(), "it did not stop"
        assert server.failures == []


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, request: bytes = GET) -> bytes:
        """The body of the answer to a request."""
        self.writer.write(request)
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(line for line in head.split("\r\n") if line.startswith("content-length: "))
            return await self.reader.readexactly(int(length.removeprefix("content-length: ")))

    async def closed(self) -> bytes:
        """Wait until the server has closed; what it sent before."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except (ConnectionError, ssl.SSLError):
                return b""

    @property
    def certificate(self) -> bytes:
        """What the server showed."""
        session = self.writer.get_extra_info("ssl_object")
        der: bytes = session.getpeercert(binary_form=True)
        return der

    @property
    def version(self) -> str:
        """What was spoken."""
        return str(self.writer.get_extra_info("ssl_object").version())

    def hang_up(self) -> None:
        """Close at once."""
        self.writer.transport.abort()
