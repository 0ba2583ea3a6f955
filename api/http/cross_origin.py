"""Pages of other origins that may read our answers (CORS): those that settings name, with a credential of their own.

Never with a cookie: `Access-Control-Allow-Credentials` is not sent, so a browser keeps a session's cookie to itself,
and what a page of another origin may do is what the token that it bears may do anyway.
"""

from typing import Final

from api.http.replies import Header, Reply

SENT: Final = (
    b"authorization, content-type, idempotency-key, min-ledger-position, tallybook-all-or-nothing, "
    b"tallybook-dry-run, tallybook-version, x-request-id, x-tenant-id"
)
SHOWN: Final = (
    b"idempotent-replayed, ledger-position, location, ratelimit, ratelimit-policy, retry-after, "
    b"tallybook-dry-run, tallybook-key-expires, tallybook-version, x-request-id"
)
_PREFLIGHT: Final[tuple[Header, ...]] = (
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
    (b"access-control-allow-headers", SENT),
    (b"access-control-max-age", b"600"),
)


class CrossOrigin:
    """What browsers are told of pages of other origins."""

    def __init__(self, origins: str) -> None:
        self._origins = frozenset(each.strip().encode() for each in origins.split(",") if each.strip())

    def headers(self, request: dict[bytes, bytes]) -> tuple[Header, ...]:
        """What an answer has for a page that may read it. Nothing, and no word of who may, for all others."""
        if not self._origins:
            return ()
        origin = request.get(b"origin")
        if origin not in self._origins or b"cookie" in request:
            return ((b"vary", b"origin"),)
        return (
            (b"vary", b"origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", SHOWN),
        )

    def preflight(self, method: str, request: dict[bytes, bytes]) -> Reply | None:
        """The answer to a browser that asks whether it may ask; None for whatever is no such question."""
        if method != "OPTIONS" or b"access-control-request-method" not in request:
            return None
        return Reply(204, _PREFLIGHT, b"") if request.get(b"origin") in self._origins else None
