"""Which requests of a browser are the page's own, and the text of the cookie that its session is in."""

from datetime import datetime, timedelta
from typing import Final

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
SESSION_COOKIE: Final = "__Host-tallybook_session"
PORTAL_COOKIE: Final = "__Host-tallybook_portal"
COOKIE_SECRET_MAX_CHARS: Final = 64


def is_own_request(method: str, *, sec_fetch_site: str | None, origin: str | None, own_origin: str) -> bool:
    """Whether a request that bears the cookie was sent by our own page.

    `Sec-Fetch-Site` is the browser's own word, which no script can set: `same-origin`, or `none` where a person typed
    the address, which no form can do with another method than GET. A browser that does not send it sends `Origin`
    with everything but a GET; one that sends neither is believed only where nothing is changed. `own_origin` is
    `scheme://host[:port]` as settings say it, never what the Host header says.
    """
    is_safe = method in SAFE_METHODS
    if sec_fetch_site is not None:
        return sec_fetch_site == "same-origin" or (is_safe and sec_fetch_site == "none")
    if origin is not None:
        return origin == own_origin
    return is_safe


def cookie(name: str, secret: str, *, ends_at: datetime, now: datetime) -> str:
    """A `Set-Cookie` that the browser keeps until the session's end and no script can read.

    `__Host-` makes the browser refuse it without Secure, with a Domain, or from another path: no other host under
    the same domain can plant one.
    """
    seconds = max(0, (ends_at - now) // timedelta(seconds=1))
    return f"{name}={secret}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict"


def expired_cookie(name: str) -> str:
    """The same, taken away."""
    return f"{name}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict"


def secret_of(cookie_header: str, name: str) -> str | None:
    """The secret in a `Cookie` header; None where there is none, or two, of which one was planted."""
    found = [
        value.strip()
        for key, equals, value in (part.partition("=") for part in cookie_header.split(";"))
        if equals and key.strip() == name
    ]
    return found[0] if len(found) == 1 and 0 < len(found[0]) <= COOKIE_SECRET_MAX_CHARS else None
