"""What every request passes, whatever it asks for: its id, who sends it, limits, headers, and one line in the log."""

import re
import time
from collections import Counter
from collections.abc import Iterable, MutableMapping
from datetime import timedelta
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http import metrics
from api.http.addresses import client_address, is_within, limited_as, networks
from api.http.attempts import REFUSED, note
from api.http.call import Parts
from api.http.callers import came_by_tls
from api.http.credentials import COOKIES, known_as, presented, unknown
from api.http.cross_origin import CrossOrigin
from api.http.key_expiry import notice
from api.http.limits import Allowance
from api.http.principal import Principal
from api.http.problems import (
    ADDRESS_NOT_ALLOWED,
    INTERNAL,
    INVALID_HEADER,
    METHOD_NOT_ALLOWED,
    NO_SUCH_PAGE,
    TENANT_SUSPENDED,
    UNKNOWN_VERSION,
    URI_TOO_LONG,
    Problem,
    unavailable,
)
from api.http.replies import Header
from api.http.version import VERSION
from domain.identity.permissions import Scope as RateClass
from infra.card_numbers import holds_card_number
from infra.clock import system_clock
from infra.database import CONNECTION_ERRORS
from infra.event_store.port import Writer
from infra.ids import new_id
from infra.telemetry import correlated

EXCHANGE: Final = "tallybook.exchange"
UNLIMITED_PATHS: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
OWN_SESSIONS: Final = ("/v1/auth/", "/v1/portal/")
"""What is asked for there is the session's own, whatever becomes of a tenant: whoever is in may leave."""
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
DISCONNECTED: Final = 499
"""Logged and counted as the status of a request that did not arrive whole; nothing is answered to it."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
SINGLE_HEADERS: Final = {
    name.lower().encode(): name
    for name in (
        "Authorization",
        "Cookie",
        "Origin",
        "Sec-Fetch-Site",
        "X-CSRF-Token",
        "Tallybook-Portal",
        "X-Tenant-ID",
        "Idempotency-Key",
        "Content-Type",
        "Content-Length",
        "Min-Ledger-Position",
        "Tallybook-All-Or-Nothing",
        "Tallybook-Dry-Run",
        "Tallybook-Version",
        "X-Request-Id",
    )
}
"""Every header that means something here."""

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"tallybook-version", VERSION.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UNLESS_SAID: Final[tuple[Header, ...]] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""What an answer has that says nothing else of it."""
_log: Final = structlog.stdlib.get_logger("api")


class ClientDisconnected(Exception):
    """The connection ended before the request had arrived whole. There is nothing to do, and nobody to answer."""


class Exchange:
    """A request and its answer on their way. `route` is a template: what is logged is never what a client made up.
    `writer` takes its command, where that is not the process's own.
    """

    __slots__ = ("code", "headers", "limit", "principal", "request_id", "route", "status", "writer")

    def __init__(self, request_id: str, headers: dict[bytes, bytes]) -> None:
        self.request_id = request_id
        self.headers = headers
        self.writer: Writer | None = None
        self.principal: Principal | None = None
        self.limit: Allowance | None = None
        self.code: str | None = None
        self.route = "unmatched"
        self.status = 0


class Edge:
    """ASGI middleware around everything. Nothing that passes it can end in anything but an answer."""

    def __init__(self, app: ASGIApp, *, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._trusted = networks(parts.settings.api.trusted_proxies)
        self._cross_origin = CrossOrigin(parts.settings.api.cors_origins)
        self._key_notice = timedelta(days=parts.settings.auth.api_key_notice_days)
        hsts_max_age_s = parts.settings.api.hsts_max_age_s
        self._by_tls_alone: Header = (b"strict-transport-security", b"max-age=%d" % hsts_max_age_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        exchange = Exchange(_request_id(headers), headers)
        scope[EXCHANGE] = exchange
        # By plain HTTP it must not be said (RFC 6797 §7.2): anybody could have.
        by_tls = (self._by_tls_alone,) if came_by_tls(scope, headers, self._trusted) else ()
        send_with_headers = _Sender(send, exchange, self._key_notice, self._cross_origin, by_tls)
        with correlated(exchange.request_id):
            try:
                await self._admit(scope, exchange)
                preflight = self._cross_origin.preflight(scope["method"], headers)
                if preflight is None:
                    await self._app(scope, receive, send_with_headers)
                else:
                    await preflight.send(send_with_headers)
            except ClientDisconnected:
                exchange.status = DISCONNECTED
            except Problem as refused:
                problem = await self._counted(exchange, refused)
                exchange.code = problem.kind.code
                await problem.reply(exchange.request_id).send(send_with_headers)
            except HTTPException as error:
                problem = await self._counted(exchange, _not_routed(error, scope))
                await problem.reply(exchange.request_id).send(send_with_headers)
            except CONNECTION_ERRORS:
                # Whose key it is cannot be looked up now.
                if not exchange.status:
                    away = unavailable(is_command=scope["method"] not in {"GET", "HEAD"})
                    await away.reply(exchange.request_id).send(send_with_headers)
            except Exception:
                _log.exception("request failed", method=scope["method"], route=exchange.route)
                if not exchange.status:
                    await Problem(INTERNAL).reply(exchange.request_id).send(send_with_headers)
            finally:
                self._record(scope, exchange, time.perf_counter() - started)

    async def _admit(self, scope: Scope, exchange: Exchange) -> None:
        """Raises the problem of a request that comes no further."""
        headers = exchange.headers
        if len(headers) < len(scope["headers"]):
            _refuse_repeated(scope["headers"])
        version = headers.get(b"tallybook-version")
        exchange.principal = await self._authenticate(headers, scope, exchange)
        if exchange.principal is not None:
            is_change = scope["method"] not in READING and not scope["path"].startswith(OWN_SESSIONS)
            if exchange.principal.is_suspended and is_change:
                raise Problem(TENANT_SUSPENDED)
        elif exchange.limit is None and scope["path"] not in UNLIMITED_PATHS:
            exchange.limit = self._parts.anonymous_limits.take(self._address(scope)).checked()
        url_max_bytes = self._parts.settings.api.url_max_bytes
        if len(scope["path"]) + len(scope["query_string"]) > url_max_bytes:
            raise Problem(URI_TOO_LONG, f"The limit is {url_max_bytes} bytes.")
        if version is not None and version != VERSION.encode():
            raise Problem(UNKNOWN_VERSION, f"There is Tallybook-Version: {VERSION}.", param="Tallybook-Version")
        if b"x-request-id" in headers and not _REQUEST_ID.fullmatch(headers[b"x-request-id"]):
            raise Problem(
                INVALID_HEADER,
                "X-Request-Id is 1 to 64 letters, digits, dots, hyphens, colons, underscores.",
                param="X-Request-Id",
            )

    async def _counted(self, exchange: Exchange, problem: Problem) -> Problem:
        """What came to no operation, which would have counted it, is counted as a read; and the 429 of one too many."""
        if exchange.principal is not None and exchange.limit is None:
            try:
                exchange.limit = await self._parts.limits.admit(exchange.principal, RateClass.READ)
            except Problem as too_many:
                return too_many
        return problem

    def _address(self, scope: Scope) -> str:
        """The name under which whoever has no key is limited."""
        return limited_as(self._client(scope))

    def _client(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        return client_address(peer, scope["headers"], self._trusted)

    async def _authenticate(self, headers: dict[bytes, bytes], scope: Scope, exchange: Exchange) -> Principal | None:
        """Who asks; None for whoever shows nothing, or the cookie of a session that is over."""
        credentials, anonymous = self._parts.credentials, self._parts.anonymous_limits
        try:
            shown = presented(headers)
        except Problem:
            anonymous.take(self._address(scope)).checked()
            raise
        if shown is None:
            return None
        whose = credentials.held(shown)
        if whose is None:
            # Until it is known to be good, it is a guess like any other, and guesses are counted by address.
            address = self._address(scope)
            guess = anonymous.take(address).checked()
            try:
                whose = await credentials.find(shown)
            except CONNECTION_ERRORS:
                anonymous.give_back(address)
                raise
            if whose is not None:
                anonymous.give_back(address)
            elif shown.kind in COOKIES:
                exchange.limit = guess
                return None
            else:
                raise unknown("What the header Authorization: Bearer bears is not known here, is over, or was revoked.")
        # Whoever is refused from here on is known, and the logs say who it was.
        known = exchange.principal = known_as(whose)
        if known.allowed_networks and not is_within(self._client(scope), known.allowed_networks):
            # Counted on who presents it: whoever stole a key that does not work there would use up its owner's rate.
            exchange.limit = anonymous.take(self._address(scope)).checked()
            raise Problem(ADDRESS_NOT_ALLOWED)
        return credentials.principal(whose, scope["method"], headers)

    def _record(self, scope: Scope, exchange: Exchange, seconds: float) -> None:
        method = scope["method"] if scope["method"] in metrics.METHODS else "other"
        metrics.observe(method, exchange.route, exchange.status, seconds)
        note(self._parts.auth_log, exchange, self._client(scope) if exchange.status in REFUSED else "")
        self._parts.access_log.record(
            method=method,
            route=exchange.route,
            status=exchange.status,
            seconds=seconds,
            request_id=exchange.request_id,
            key_id=exchange.principal.id if exchange.principal else "",
        )


class _Sender:
    """Adds to an answer's headers what every answer has."""

    __slots__ = ("_by_tls", "_cross_origin", "_exchange", "_key_notice", "_send")

    def __init__(
        self,
        send: Send,
        exchange: Exchange,
        key_notice: timedelta,
        cross_origin: CrossOrigin,
        by_tls: tuple[Header, ...],
    ) -> None:
        self._send = send
        self._exchange = exchange
        self._key_notice = key_notice
        self._cross_origin = cross_origin
        self._by_tls = by_tls

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            exchange = self._exchange
            exchange.status = message["status"]
            headers: list[Header] = [*message["headers"], *SECURITY_HEADERS]
            headers.append((b"x-request-id", exchange.request_id.encode()))
            if exchange.limit is not None:
                headers += exchange.limit.headers()
            headers += self._by_tls
            headers += self._cross_origin.headers(exchange.headers)
            headers += notice(exchange.principal, system_clock(), self._key_notice)
            named = {name for name, _ in message["headers"]}
            headers += [header for header in UNLESS_SAID if header[0] not in named]
            message["headers"] = headers
        await self._send(message)


def _not_routed(error: HTTPException, scope: Scope) -> Problem:
    """What the router says: no route, or not this method."""
    if error.status_code != METHOD_NOT_ALLOWED.status:
        return Problem(NO_SUCH_PAGE)
    # Each method of a path has a route of its own.
    path = scope["path"]
    routes = (route for route in scope["app"].router.routes if isinstance(route, Route))
    methods = {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
    return Problem(METHOD_NOT_ALLOWED, headers=[(b"allow", ", ".join(sorted(methods)).encode())])


def _refuse_repeated(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise for a header that is read here and was sent twice: which one is meant, others on the way may see otherwise.

    A proxy that checks the first and a server that goes by the last would each be right alone.
    """
    counts = Counter(name for name, _ in headers)
    for name, shown in SINGLE_HEADERS.items():
        if counts[name] > 1:
            raise Problem(INVALID_HEADER, f"The header {shown} may be sent once.", param=shown)


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The client's own id where it is of the right form, else a new one.

    It stands in logs, so one that may be a card number (or is an id that looks like one) is not taken up either.
    """
    sent = headers.get(b"x-request-id")
    if sent is not None and _REQUEST_ID.fullmatch(sent):
        text = sent.decode()
        if not holds_card_number(text):
            return text
    return new_id("req_")
