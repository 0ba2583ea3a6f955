"""Connections of the API's server: uvicorn's protocol on httptools, with the limits that it lacks.

uvicorn waits for ever for a head or a body, and reads a head of any size into memory. Here a connection is waiting for
a request, in a head, in a body, or answering; each has a time and a size. How many there may be is said in `admission`,
and what is under them where they come by TLS in `tls`.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.http import metrics
from api.http.admission import LINGER_S, Admission, Limits
from api.http.edge import SECURITY_HEADERS
from api.http.problems import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    TOO_MANY_CONNECTIONS,
    Problem,
    ProblemType,
)
from api.http.served_certificate import ServedCertificate
from api.http.tls import TlsConnection
from infra.ids import new_id

PIPELINED_MAX: Final = 32
"""Requests of one connection that wait for the answer before theirs; each takes some memory."""

WIRE_BYTES_PER_BODY_BYTE: Final = 2
"""A body in chunks is longer on the wire than in itself; what is longer than so many times the limit is refused."""


# What a connection is doing. Plain numbers: they are compared several times a request.
_WAITING: Final = 0
_HEAD: Final = 1
_BODY: Final = 2
_ANSWERING: Final = 3


class Connections(Admission):
    """All connections of one process; with a certificate they come by TLS, and not otherwise."""

    def __init__(self, limits: Limits, certificate: ServedCertificate | None = None) -> None:
        super().__init__(limits)
        self._certificate = certificate

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """A protocol for a connection just accepted, as uvicorn asks for it."""
        if self._certificate is None:
            return Connection(self, config, server_state, app_state, _loop)

        def shaken(handshake: TlsConnection) -> Connection:
            connection = Connection(self, config, server_state, app_state, _loop)
            self.shaken(handshake, connection)
            return connection

        return TlsConnection(self, self._certificate, shaken, server_state.connections)


class Connection(HttpToolsProtocol):
    """One connection. The times of its phases are looked at by the sweep, so that none costs a timer."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._all = connections
        self._limits = connections.limits
        self._idle_timeout_s = config.timeout_keep_alive
        self._phase = _WAITING
        self._phase_bytes = 0
        self._chunk_bytes = 0
        self._now = 0.0
        self._due: float | None = None
        self._send_due: float | None = None
        self._refused = False
        self._running: RequestResponseCycle | None = None

    # ── transport ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a TCP server gives no other
        self._now = self.loop.time()
        if self._all.enter(self, self.client[0] if self.client else ""):
            self._wait(self._limits.head_timeout_s)
        else:
            self.refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.leave(self)
        self._let_go()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._phase == _WAITING:
            self._all.busy(self)
        self._now = self.loop.time()
        self._chunk_bytes = len(data)
        self._phase_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no other protocol is spoken here; the request is answered as what it is
        except httptools.HttpParserError:
            self.refuse(MALFORMED_REQUEST)
        if self._phase in (_HEAD, _BODY) and not self._refused:
            self._check_unfinished()

    def _check_unfinished(self) -> None:
        limits = self._limits
        body_max_bytes = limits.body_max_bytes * WIRE_BYTES_PER_BODY_BYTE + limits.head_max_bytes
        if self._phase_bytes > (limits.head_max_bytes if self._phase == _HEAD else body_max_bytes):
            self.refuse(HEAD_TOO_LARGE if self._phase == _HEAD else TOO_LARGE)
        elif not self._all.begin(self):
            self.refuse(TOO_MANY_CONNECTIONS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_due = self.loop.time() + self._limits.send_timeout_s

    def resume_writing(self) -> None:
        super().resume_writing()
        self._send_due = None

    # ── parser ──

    def on_message_begin(self) -> None:
        if self._refused:
            return
        super().on_message_begin()
        self._enter(_HEAD, self._limits.head_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What stands behind a body in chunks is no header: nobody that checked the head has seen it.
        if self._phase == _HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        limits = self._limits
        if len(self.headers) > limits.header_max_count or (
            # The sum is needed only where what came could be more than the limit.
            self._phase_bytes + self._chunk_bytes > limits.head_max_bytes
            and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > limits.head_max_bytes
        ):
            self.refuse(HEAD_TOO_LARGE)
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            self._close("pipelined")
            return
        self._enter(_BODY, limits.body_timeout_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        super().on_message_complete()
        self._all.finish(self)
        if self.cycle.response_complete:
            self._wait(self._idle_timeout_s)
        else:
            self._phase, self._due = _ANSWERING, None

    # ── answers ──

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer: how long it waits for the next request, the sweep sees to."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase == _ANSWERING:
            self._now = self.loop.time()
            self._wait(self._idle_timeout_s)

    # ── phases ──

    def _enter(self, phase: int, seconds: float) -> None:
        self._phase, self._phase_bytes, self._due = phase, 0, self._now + seconds

    def _wait(self, seconds: float) -> None:
        if not self.transport.is_closing():
            self._enter(_WAITING, seconds)
            self._all.waits(self)

    def end_if_due(self, now: float) -> None:
        """End what has had its time: with an answer where a request was begun and none is under way."""
        if self._send_due is not None and self._send_due <= now:
            metrics.CONNECTIONS_ENDED.labels("send_timeout").inc()
            self._let_go()
            self.transport.abort()
        elif self._due is not None and self._due <= now:
            if self._refused or self.transport.is_closing():
                self.transport.abort()
            else:
                self.make_room()

    def make_room(self) -> None:
        """Close it: it has waited longest, or too long."""
        if self._phase == _WAITING:
            self._close("idle")
        else:
            self.refuse(REQUEST_TIMEOUT)

    def refuse(self, kind: ProblemType) -> None:
        """Answer with a problem, if nothing else is being answered, and close."""
        if self._refused:
            return
        if self._may_answer():
            self.transport.write(Problem(kind).reply(new_id("req_")).wire(SECURITY_HEADERS))
        self._close(kind.code)

    def _may_answer(self) -> bool:
        """Whether what is written now is the answer to this request, and no other's."""
        if self.cycle is None:
            return True
        if self._phase == _BODY:
            return not self.cycle.response_started and not self.pipeline
        return self.cycle.response_complete

    def _close(self, reason: str) -> None:
        metrics.CONNECTIONS_ENDED.labels(reason).inc()
        self._refused = True
        self._all.finish(self)
        self._all.busy(self)
        self._let_go()
        self._due = self.loop.time() + LINGER_S
        self.transport.close()

    def _let_go(self) -> None:
        """Tell whoever waits for a body that none will come, and let answers go nowhere; uvicorn tells the last."""
        self.pipeline.clear()
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
