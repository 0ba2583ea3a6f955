"""Signing in and out: sessions of browsers and of programs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.callers import Caller, check_own_page, check_secure, own_origin
from api.http.card_guard import OpaqueId
from api.http.fields import Body, NoBody, text
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.problems import (
    CROSS_SITE,
    INSECURE_CONNECTION,
    LOG_IN_HELD_BACK,
    PASSWORDS_BUSY,
    TENANT_MISMATCH,
    TENANT_REQUIRED,
    WRONG_CREDENTIALS,
    Problem,
    retry_after,
)
from api.http.replies import Header, Reply, json_reply
from api.http.signing_in import start_session, tell_ended
from api.http.validation import form
from api.resources.personal_data import Email
from domain.identity.browser import SESSION_COOKIE, cookie, expired_cookie
from domain.identity.permissions import Permission
from domain.identity.refreshing import EndReason, SessionKind
from domain.identity.session import UserMayNotSignIn
from domain.identity.tenant import PLATFORM
from infra.identity.log_in_attempts import LogInHeldBack
from infra.identity.password_hashing import HashingBusy
from infra.identity.profiles import profile_of
from infra.identity.sessions import Started, csrf_token
from infra.identity.signed_in import FoundUser, Membership

PASSWORD_MAX_CHARS: Final = 512
_SESSION_ID: Final = "ses_01m7ywe9z7e398x54gfbrtqnk7"
_USER_ID: Final = "user_01m7ywe9z7e398x54gfbrtqnk7"

AUTH: Final = Operations(
    tag="signing in",
    about="Sessions of people: in a browser by a cookie, in programs by access and refresh tokens.",
    seen_with=Permission.PROFILE_READ,
    changed_with=Permission.PROFILE_WRITE,
)

Password = Annotated[
    str,
    form(r"^[\s\S]*$", "Must be a password", min_length=1, max_length=PASSWORD_MAX_CHARS),
    OpaqueId(),
]
"""As it was typed; what a new one may be is said when it is set. Digits in it are nobody's card number."""


class LogIn(Body):
    """Who signs in, and with what: a browser gets a cookie, a program tokens, which are of one tenant."""

    email: Email
    password: Password
    kind: Literal["browser", "program"]
    tenant: Annotated[str, text(63)] | None = None


class LogInResource(TypedDict):
    """A session that has started. `access_token`, `expires_in` (s) and `refresh_token` are a program's, and
    `csrf_token` a browser's, which sends it as X-CSRF-Token with each change.
    """

    object: Literal["log_in"]
    session: str
    user: str
    kind: Literal["browser", "program"]
    tenant: str | None
    expires_at: datetime
    csrf_token: str | None
    token_type: Literal["Bearer"] | None
    access_token: str | None
    expires_in: int | None
    refresh_token: str | None


_EXAMPLE: Final = {
    "object": "log_in",
    "session": _SESSION_ID,
    "user": _USER_ID,
    "kind": "program",
    "tenant": "acme",
    "expires_at": "2026-03-31T12:00:00Z",
    "csrf_token": None,
    "token_type": "Bearer",
    "access_token": "eyJhbGciOi…",
    "expires_in": 3600,
    "refresh_token": "tbr_01m7ywe9z7e398x54gfbrtqnk7_1_…",
}


@AUTH.unstored(
    "POST",
    "/v1/auth/login",
    body=LogIn,
    body_example={"email": "ada@example.com", "password": "a sentence that I know", "kind": "program"},
    answers=LogInResource,
    example=_EXAMPLE,
    refusals=(UserMayNotSignIn,),
    problems=(
        WRONG_CREDENTIALS,
        LOG_IN_HELD_BACK,
        PASSWORDS_BUSY,
        INSECURE_CONNECTION,
        CROSS_SITE,
        TENANT_REQUIRED,
        TENANT_MISMATCH,
    ),
    is_open=True,
)
async def log_in(call: Call, body: LogIn) -> Reply:
    """Sign in with e-mail address and password.

    A browser gets its session in a cookie that no script can read. A program gets an access token for one tenant, and a
    refresh token; it names the tenant where its user is a member of several. Whether an address is known is told to
    nobody.
    """
    caller = _caller(call)
    check_secure(caller)
    kind = SessionKind(body.kind)
    if kind is SessionKind.BROWSER:
        # Another site could sign its visitors in as somebody else, and watch what they then enter.
        check_own_page("POST", call.headers, own_origin(call.parts.settings))
    user, password_hash = await _proven(call, caller, body)
    tenant = None
    if kind is SessionKind.PROGRAM:
        tenant = _tenant_of(await call.parts.identity.users.memberships(user.user_id), body.tenant)
    started = await start_session(
        call,
        user.user_id,
        kind,
        tenant_id=None if tenant is None else tenant.tenant_id,
        password_hash=password_hash,
    )
    if call.principal.session is not None:
        # Whoever was signed in here is so no more: a browser has one session.
        await end_session(call, call.principal.session)
    return await signed_in(call, started, tenant)


async def _proven(call: Call, caller: Caller, body: LogIn) -> tuple[FoundUser, bytes]:
    """The user whose address and password these are. Every answer that says no costs the same, known or not."""
    identity = call.parts.identity
    try:
        attempt = await identity.attempts.begin(body.email, caller.address, identity.clock())
    except LogInHeldBack as held:
        raise Problem(LOG_IN_HELD_BACK, headers=retry_after(held.retry_after_s)) from None
    user = await identity.users.by_address(body.email)
    try:
        password_hash = await identity.passwords.check(None if user is None else user.user_id, body.password)
    except HashingBusy as busy:
        await identity.attempts.not_compared(attempt, identity.clock())
        raise Problem(PASSWORDS_BUSY, headers=retry_after(busy.retry_after_s)) from None
    if user is None or password_hash is None:
        raise Problem(WRONG_CREDENTIALS)
    await identity.attempts.succeeded(attempt, identity.clock())
    if user.status != "active":
        raise UserMayNotSignIn(user=user.user_id, status=user.status)
    return user, password_hash


def _tenant_of(memberships: Sequence[Membership], named: str | None) -> Membership:
    if named is None and len(memberships) != 1:
        raise Problem(TENANT_REQUIRED, param="tenant")
    for membership in memberships:
        if named in (None, membership.tenant_id):
            return membership
    raise Problem(TENANT_MISMATCH, param="tenant")


async def signed_in(call: Call, started: Started, tenant: Membership | None) -> Reply:
    """The answer to whoever has just signed in, with what only they get to see."""
    identity = call.parts.identity
    session = started.session
    is_browser = session.kind is SessionKind.BROWSER
    tokens = await _tokens(call, started, tenant)
    value: LogInResource = {
        "object": "log_in",
        "session": session.session_id,
        "user": session.user_id,
        "kind": "browser" if is_browser else "program",
        "tenant": session.tenant_id,
        "expires_at": session.ends_at,
        "csrf_token": csrf_token(identity.keyring, session.session_id) if is_browser else None,
        "token_type": None if tokens is None else "Bearer",
        "access_token": tokens,
        "expires_in": None if tokens is None else call.parts.settings.auth.access_token_s,
        "refresh_token": None if is_browser else started.secret,
    }
    headers: list[Header] = []
    if is_browser:
        text_ = cookie(SESSION_COOKIE, started.secret, ends_at=session.ends_at, now=identity.clock())
        headers.append((b"set-cookie", text_.encode()))
    return json_reply(200, value, headers)


async def _tokens(call: Call, started: Started, tenant: Membership | None) -> str | None:
    if tenant is None:
        return None
    identity = call.parts.identity
    now = identity.clock()
    session = started.session
    return identity.tokens.sign(
        await identity.keys_in_hand.to_sign(now),
        user_id=session.user_id,
        tenant_id=tenant.tenant_id,
        role=tenant.role,
        session_id=session.session_id,
        now=now,
    )


class NothingResource(TypedDict):
    """It is done."""

    object: Literal["done"]


@AUTH.unstored("POST", "/v1/auth/logout", body=NoBody, answers=NothingResource, example={"object": "done"})
async def log_out(call: Call, _body: NoBody) -> Reply:
    """Sign out: the session that asks is over, and every token of it.

    It is over at once, in every process.
    """
    assert call.principal.session is not None, "only users hold the permission"
    await end_session(call, call.principal.session)
    return json_reply(200, {"object": "done"}, [(b"set-cookie", expired_cookie(SESSION_COOKIE).encode())])


async def end_session(call: Call, session_id: str) -> None:
    """End a session; the log is told of it."""
    identity = call.parts.identity
    await identity.sessions.end(session_id, EndReason.LOGGED_OUT, identity.clock())
    await tell_ended(call.parts)


class ProfileResource(TypedDict):
    """What is known of a user; of nobody else."""

    id: str
    object: Literal["profile"]
    email: str | None
    name: str | None
    phone: str | None
    locale: str | None


class TenantMembershipResource(TypedDict):
    """A tenant that the user is a member of, and what they are there."""

    id: str
    name: str
    mode: Literal["live", "test"]
    role: str
    suspended: bool


class MeResource(TypedDict):
    """Who is signed in. `tenant` and `permissions` are of the tenant that the request is in; without one, name one of
    `tenants` in X-Tenant-ID.
    """

    object: Literal["me"]
    user: ProfileResource
    session: str
    tenant: str | None
    role: str | None
    permissions: list[str]
    tenants: list[TenantMembershipResource]
    confirmed_at: datetime
    csrf_token: str | None


_PROFILE: Final = {
    "id": _USER_ID,
    "object": "profile",
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "phone": None,
    "locale": "en-GB",
}
_TENANT: Final = {"id": "acme", "name": "Acme", "mode": "live", "role": "admin", "suspended": False}


@AUTH.query(
    "/v1/auth/me",
    answers=MeResource,
    example={
        "object": "me",
        "user": _PROFILE,
        "session": _SESSION_ID,
        "tenant": "acme",
        "role": "admin",
        "permissions": ["profile:read", "profile:write"],
        "tenants": [_TENANT],
        "confirmed_at": "2026-03-01T12:00:00Z",
        "csrf_token": "mfrggzdfmztwq2lk…",
    },
    parameters=NoParameters,
)
async def get_me(call: Call, _asked: NoParameters) -> MeResource:
    """Show who is signed in, where, and what they may do there."""
    identity, principal = call.parts.identity, call.principal
    session, confirmed_at = principal.session, principal.confirmed_at
    assert session is not None, "only users hold the permission"
    assert confirmed_at is not None, "a session began with a password"
    tenants = [membership_resource(each) for each in await identity.users.memberships(principal.id)]
    return {
        "object": "me",
        "user": await profile_resource(call, principal.id),
        "session": session,
        "tenant": principal.tenant_id or None,
        "role": next((each["role"] for each in tenants if each["id"] == principal.tenant_id), None),
        "permissions": sorted(principal.permissions),
        "tenants": tenants,
        "confirmed_at": confirmed_at,
        "csrf_token": csrf_token(identity.keyring, session) if b"cookie" in call.headers else None,
    }


def membership_resource(membership: Membership) -> TenantMembershipResource:
    """A membership as it is answered."""
    return {
        "id": membership.tenant_id,
        "name": membership.name,
        "mode": membership.mode.value,
        "role": membership.role.value,
        "suspended": membership.is_suspended,
    }


async def profile_resource(call: Call, user_id: str) -> ProfileResource:
    """A user's own data as they are answered to themselves."""
    async with call.parts.reader.of(PLATFORM) as connection:
        profile = await profile_of(call.parts.vault, connection, user_id)
    return {
        "id": user_id,
        "object": "profile",
        "email": profile.text("email") or None,
        "name": profile.text("name") or None,
        "phone": profile.text("phone") or None,
        "locale": profile.text("locale") or None,
    }


def _caller(call: Call) -> Caller:
    assert call.caller is not None, "unstored operations are told who calls"
    return call.caller
