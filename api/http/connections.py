"""Connections of the API's server: uvicorn's protocol on httptools, with the limits that it lacks.

uvicorn waits for ever for a head or a body, and reads a head of any size into memory. Here a connection is waiting for
a request, in a head, in a body, or answering; each has a time and a size, and there are so many connections and so
many unfinished requests, of the process and of one address. Where the process is full, the connection that has waited
longest makes room: it is an idle one, or one that holds back its request.
"""

import asyncio
from collections import Counter
from typing import Any, Final, NamedTuple

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.http import metrics
from api.http.addresses import Network, is_trusted, limited_as
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
from infra.ids import new_id

PIPELINED_MAX: Final = 32
"""Requests of one connection that wait for the answer before theirs; each takes some memory."""

SWEEP_S: Final = 0.5
"""Pause between looks for connections whose time is up."""

LINGER_S: Final = 5.0
"""How long a connection that is being closed may take to accept what is still to be sent."""

WIRE_BYTES_PER_BODY_BYTE: Final = 2
"""A body in chunks is longer on the wire than in itself; what is longer than so many times the limit is refused."""


class Limits(NamedTuple):
    """What one process allows; all of them are settings."""

    connections_max: int
    connections_per_address_max: int
    unfinished_max: int
    unfinished_per_address_max: int
    head_max_bytes: int
    header_max_count: int
    body_max_bytes: int
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    trusted_proxies: tuple[Network, ...] = ()


# What a connection is doing. Plain numbers: they are compared several times a request.
_WAITING: Final = 0
_HEAD: Final = 1
_BODY: Final = 2
_ANSWERING: Final = 3


class Connections:
    """All connections of one process. A trusted proxy's are counted for the process only: it speaks for many."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[Connection, str | None] = {}
        self._waiting: dict[Connection, None] = {}
        self._unfinished: dict[Connection, None] = {}
        self._of_address: Counter[str] = Counter()
        self._unfinished_of_address: Counter[str] = Counter()
        self._sweeping: asyncio.TimerHandle | None = None

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "Connection":
        """A protocol for a connection just accepted, as uvicorn asks for it."""
        return Connection(self, config, server_state, app_state, _loop)

    def enter(self, connection: "Connection", peer: str) -> bool:
        """Count a new connection. False: there are too many."""
        limits = self.limits
        address = None if not peer or is_trusted(peer, limits.trusted_proxies) else limited_as(peer)
        if address is not None:
            if self._of_address[address] >= limits.connections_per_address_max:
                return False
            self._of_address[address] += 1
        self._open[connection] = address
        if len(self._open) > limits.connections_max:
            self._make_room()
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return True

    def leave(self, connection: "Connection") -> None:
        """A connection is gone."""
        if connection not in self._open:
            return
        self.finish(connection)
        self.busy(connection)
        address = self._open.pop(connection)
        if address is not None:
            _decrement(self._of_address, address)

    def waits(self, connection: "Connection") -> None:
        """Nothing of a request has come; the one that waits longest may have to go."""
        self._waiting[connection] = None

    def busy(self, connection: "Connection") -> None:
        """It does not wait any more."""
        self._waiting.pop(connection, None)

    def begin(self, connection: "Connection") -> bool:
        """Count a request whose end has not come with its beginning. False: its address has too many."""
        if connection in self._unfinished:
            return True
        address = self._open.get(connection)
        if address is not None:
            if self._unfinished_of_address[address] >= self.limits.unfinished_per_address_max:
                return False
            self._unfinished_of_address[address] += 1
        self._unfinished[connection] = None
        if len(self._unfinished) > self.limits.unfinished_max:
            next(iter(self._unfinished)).refuse(REQUEST_TIMEOUT)
        return True

    def finish(self, connection: "Connection") -> None:
        """The request has come whole, or never will."""
        if connection not in self._unfinished:
            return
        del self._unfinished[connection]
        address = self._open.get(connection)
        if address is not None:
            _decrement(self._unfinished_of_address, address)

    def _make_room(self) -> None:
        longest = next(iter(self._waiting), None) or next(iter(self._unfinished), None)
        if longest is not None:
            longest.make_room()
        else:
            next(reversed(self._open)).refuse(TOO_MANY_CONNECTIONS)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            connection.end_if_due(now)
        self._sweeping = loop.call_later(SWEEP_S, self._sweep) if self._open else None


def _decrement(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]


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
            reply = Problem(kind).reply(new_id("req_"))
            headers = [*reply.headers, *SECURITY_HEADERS, (b"connection", b"close")]
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self.transport.write(
                b"HTTP/1.1 %d \r\n%bcontent-length: %d\r\n\r\n%b" % (reply.status, lines, len(reply.body), reply.body)
            )
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
