"""TLS under a connection: OpenSSL, in memory, between the socket's transport and the connection's protocol.

A server that is given a context knows of a connection only once its handshake is done: it can neither count handshakes
nor end the oldest, and does not say whose they were. Upgrading a transport to TLS comes too late: the event loop begins
to read before it can be held back, and what it read first is lost. So this is what both would do, and it can be counted
from its first byte to its last.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.utils import get_remote_addr

from api.http import metrics
from api.http.admission import LINGER_S, Admission
from api.http.edge import SECURITY_HEADERS
from api.http.problems import HTTPS_REQUIRED, REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS, Problem, ProblemType
from api.http.served_certificate import ServedCertificate
from infra.ids import new_id

RECORD_MAX_BYTES: Final = 16_384
"""What one record of TLS holds at most."""


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """A protocol to the socket below, a transport to the connection above, which is there once the handshake is done.

    Nothing is read before the client has begun, so that a silent one costs no session of OpenSSL.
    """

    def __init__(
        self,
        admission: Admission,
        certificate: ServedCertificate,
        make_connection: Callable[["TlsConnection"], asyncio.Protocol],
        open_connections: set[Any],
    ) -> None:
        super().__init__()
        self._admission = admission
        self._certificate = certificate
        self._make_connection = make_connection
        self._open_connections = open_connections
        self._socket: asyncio.Transport | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session: ssl.SSLObject | None = None
        self._connection: asyncio.Protocol | None = None
        self._closing = False
        self._due = 0.0

    # ── a protocol, to the socket ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport  # type: ignore[assignment]  # a TCP server gives no other
        self._open_connections.add(self)
        self._due = asyncio.get_running_loop().time() + self._admission.limits.handshake_timeout_s
        peer = get_remote_addr(transport)  # type: ignore[arg-type]
        admitted = self._admission.enter(self, peer[0] if peer else "")
        if not self._closing and not (admitted and self._admission.shake(self)):
            self.refuse(TOO_MANY_CONNECTIONS)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._connection is not None:
            self._read(data)
        elif self._session is None and data[:1].isalpha():
            self._refuse_plain()
        else:
            self._shake(data)

    def eof_received(self) -> None:
        """A client that will send nothing more is gone, as it is without TLS."""

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._session = None
        if self._connection is not None:
            self._connection.connection_lost(exc)
        else:
            self._admission.leave(self)
            self._open_connections.discard(self)

    # ── the handshake ──

    def _shake(self, data: bytes) -> None:
        if self._session is None:
            self._session = self._certificate.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError:
            self._send()  # the alert that says why
            self._end("handshake_failed")
        else:
            self._send()
            self._open_connections.discard(self)
            self._connection = self._make_connection(self)
            self._connection.connection_made(self)
            self._read(b"")

    def make_room(self) -> None:
        """Its handshake has waited longest, or too long."""
        self._end("handshake_timeout")

    def refuse(self, kind: ProblemType) -> None:
        """End its handshake, in which nothing can be said."""
        self._end("handshake_timeout" if kind is REQUEST_TIMEOUT else kind.code)

    def end_if_due(self, now: float) -> None:
        """End a handshake that has had its time, however much of it came."""
        if self._due > now:
            return
        if self._closing:
            self.abort()
        else:
            self.make_room()

    def shutdown(self) -> None:
        """The server stops, which asks it of everything that is open: a handshake has nothing in hand."""
        self._end("stopping")

    def _refuse_plain(self) -> None:
        """A person who forgot the s is told so. It was sent for all to read, and is not looked at."""
        assert self._socket is not None, "it has sent something"
        reply = Problem(HTTPS_REQUIRED).reply(new_id("req_"))
        self._socket.write(reply.wire(SECURITY_HEADERS))
        self._end("plain_http")

    def _end(self, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        metrics.CONNECTIONS_ENDED.labels(reason).inc()
        self._admission.not_shaken(self)
        self._due = asyncio.get_running_loop().time() + LINGER_S
        if self._socket is not None:
            self._socket.close()

    # ── a transport, to the connection ──

    def _read(self, data: bytes) -> None:
        session, connection, incoming = self._session, self._connection, self._incoming
        assert session is not None, "the handshake is done"
        assert connection is not None, "the handshake is done"
        incoming.write(data)
        try:
            while incoming.pending or session.pending():
                received = session.read(RECORD_MAX_BYTES)
                if not received:  # the client's goodbye
                    self.close()
                    return
                connection.data_received(received)
                if self._closing:
                    return
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            metrics.CONNECTIONS_ENDED.labels("broken_record").inc()
            self._send()
            self.abort()
            return
        self._send()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        assert self._session is not None, "the handshake is done"
        sent = self._session.write(data)
        while sent < len(data):  # a record at a time
            sent += self._session.write(memoryview(data)[sent:])
        self._send()

    def _send(self) -> None:
        data = self._outgoing.read()
        if data and self._socket is not None:
            self._socket.write(data)

    def close(self) -> None:
        """Say goodbye and close once everything is sent. The client's own is not waited for: it may never come."""
        if self._closing:
            return
        self._closing = True
        try:
            if self._session is not None:
                self._session.unwrap()
        except ssl.SSLError:
            pass
        self._send()
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        self._closing = True
        if self._socket is not None:
            self._socket.abort()

    def is_closing(self) -> bool:
        return self._closing or self._socket is None or self._socket.is_closing()

    def pause_reading(self) -> None:
        if self._socket is not None:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self._socket is not None:
            self._socket.resume_reading()

    def is_reading(self) -> bool:
        return self._socket is not None and self._socket.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket tells; and `sslcontext`, by which uvicorn knows that this is HTTPS."""
        if name == "sslcontext" and self._session is not None:
            return self._session.context
        return default if self._socket is None else self._socket.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return 0 if self._socket is None else self._socket.get_write_buffer_size()
