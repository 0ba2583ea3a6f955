"""Who is this credential? API keys, access tokens and session cookies, each looked up in one way and remembered alike.

A request bears one credential or none. A cookie is sent by the browser whoever made the page, so for a cookie alone
three things are looked at besides: the browser keeps it to itself on other sites' requests (SameSite), says where the
request comes from, and a change repeats a token that no other site can read.
"""

from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from api.http.callers import check_own_page
from api.http.portal_visits import PortalVisits, Visit
from api.http.principal import Principal
from api.http.problems import (
    CSRF_TOKEN_INVALID,
    TENANT_MISMATCH,
    TWO_CREDENTIALS,
    UNAUTHENTICATED,
    Problem,
)
from api.http.replies import Header
from api.http.user_sessions import User, UserSessions
from domain.identity.browser import PORTAL_COOKIE, SAFE_METHODS, SESSION_COOKIE, secret_of
from infra.identity.keyring import Keyring
from infra.identity.sessions import is_csrf_token

_BEARER: Final = b"bearer "
PORTAL_HEADER: Final = b"tallybook-portal"
"""Sent by the portal's page: where a browser bears both cookies, a merchant's own and a visit's, the visit is meant."""

Whose = Principal | User | Visit


class CredentialKind(StrEnum):
    """What was sent to tell who asks."""

    API_KEY = "api_key"
    ACCESS_TOKEN = "access_token"  # noqa: S105  the word, not one
    COOKIE = "cookie"
    PORTAL_COOKIE = "portal_cookie"


COOKIES: Final = frozenset({CredentialKind.COOKIE, CredentialKind.PORTAL_COOKIE})


class Presented(NamedTuple):
    """A credential as it was sent; nobody has looked whether it is one."""

    kind: CredentialKind
    secret: str


def presented(headers: dict[bytes, bytes]) -> Presented | None:
    """The credential that a request bears. Raises the problem of one of no known form, or of two at once."""
    authorization, cookies = headers.get(b"authorization"), headers.get(b"cookie")
    cookie = None if cookies is None else _cookie(cookies.decode("latin-1"), is_portal=PORTAL_HEADER in headers)
    if authorization is None:
        return cookie
    if cookie is not None:
        raise Problem(TWO_CREDENTIALS, param="Authorization")
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise unknown("The header Authorization must be of the form: Bearer <API key or access token>.")
    secret = authorization[len(_BEARER) :].strip().decode("latin-1")
    return Presented(CredentialKind.ACCESS_TOKEN if secret.count(".") == 2 else CredentialKind.API_KEY, secret)


def _cookie(cookies: str, *, is_portal: bool) -> Presented | None:
    kinds = [(CredentialKind.COOKIE, SESSION_COOKIE), (CredentialKind.PORTAL_COOKIE, PORTAL_COOKIE)]
    for kind, name in reversed(kinds) if is_portal else kinds:
        secret = secret_of(cookies, name)
        if secret is not None:
            return Presented(kind, secret)
    return None


def known_as(whose: Whose) -> Principal:
    """Who it is that is refused, for the logs, before the request has named a tenant."""
    match whose:
        case Principal():
            return whose
        case Visit():
            return whose.principal
        case _:
            return whose.default


def unknown(why: str) -> Problem:
    """The 401 of a credential that is none."""
    refused: Header = (b"www-authenticate", b'Bearer error="invalid_token"')
    return Problem(UNAUTHENTICATED, why, param="Authorization", headers=[refused])


class Keys(Protocol):
    """Who an API key is (`access.ApiKeys`)."""

    def held(self, secret: str) -> Principal | None:
        """The principal of a key that was looked up a moment ago."""
        ...

    async def find(self, secret: str) -> Principal | None:
        """The principal of a key as of now."""
        ...


class Credentials:
    """Looks credentials up: `held` without asking the database, `find` with it."""

    def __init__(
        self, keys: Keys, users: UserSessions, visits: PortalVisits, keyring: Keyring, *, own_origin: str
    ) -> None:
        self.keys: Keys = keys
        self._users = users
        self._visits = visits
        self._keyring = keyring
        self._own_origin = own_origin

    def forget_sessions(self) -> None:
        """Believe nothing of sessions that was found before: one has ended here. Other processes are notified."""
        self._users.forget()
        self._visits.forget()

    def held(self, shown: Presented) -> Whose | None:
        """Whose it is, if it was looked up a moment ago."""
        if shown.kind is CredentialKind.PORTAL_COOKIE:
            return self._visits.held(shown.secret)
        if shown.kind is CredentialKind.API_KEY:
            return self.keys.held(shown.secret)
        return self._users.held(shown.secret)

    async def find(self, shown: Presented) -> Whose | None:
        """Whose it is as of now."""
        match shown.kind:
            case CredentialKind.API_KEY:
                return await self.keys.find(shown.secret)
            case CredentialKind.ACCESS_TOKEN:
                return await self._users.by_token(shown.secret)
            case CredentialKind.COOKIE:
                return await self._users.by_cookie(shown.secret)
            case CredentialKind.PORTAL_COOKIE:
                return await self._visits.by_cookie(shown.secret)

    def principal(self, whose: Whose, method: str, headers: dict[bytes, bytes]) -> Principal:
        """Who asks, in the tenant that the request may name. Raises the problem of a tenant that is not theirs, and of
        a browser's request that its user's page did not send.
        """
        named = headers.get(b"x-tenant-id")
        tenant = None if named is None else named.decode("latin-1")
        if isinstance(whose, Visit):
            self._check_own_page(whose.session_id, method, headers)
            whose = whose.principal
        if isinstance(whose, Principal):
            if tenant is not None and tenant != whose.tenant_id:
                raise Problem(TENANT_MISMATCH, param="X-Tenant-ID")
            return whose
        if whose.is_browser and whose.session_id is not None:
            self._check_own_page(whose.session_id, method, headers)
        return whose.principal(tenant)

    def _check_own_page(self, session_id: str, method: str, headers: dict[bytes, bytes]) -> None:
        check_own_page(method, headers, self._own_origin)
        if method in SAFE_METHODS:
            return
        token = headers.get(b"x-csrf-token")
        text = None if token is None else token.decode("latin-1")
        if not is_csrf_token(self._keyring, session_id, text):
            raise Problem(CSRF_TOKEN_INVALID, param="X-CSRF-Token")
