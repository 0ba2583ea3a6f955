"""Signing in: a browser gets a cookie, a program an access token and a refresh token."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.callers import check_own_page, check_secure, own_origin
from api.http.card_guard import OpaqueId
from api.http.fields import Body, text
from api.http.operations import Operations
from api.http.problems import (
    CROSS_SITE,
    INSECURE_CONNECTION,
    LOG_IN_HELD_BACK,
    LOOPBACK_ONLY,
    ONE_TIME_TOKEN_INVALID,
    PASSWORDS_BUSY,
    REFRESH_TOKEN_INVALID,
    TENANT_MISMATCH,
    TENANT_REQUIRED,
    WRONG_CREDENTIALS,
    Problem,
)
from api.http.proving import Refused, caller_of, check_room, compare, note, usable
from api.http.replies import Reply, json_reply
from api.http.second_step import SECOND_STEP, SecondStep, check_second_step
from api.http.signing_in import cookie_of, end_session, ended_here, start_session
from api.http.validation import form
from api.resources.personal_data import Email
from domain.identity.auth_event import AuthEventKind
from domain.identity.refreshing import Refreshing, SessionKind
from domain.identity.session import UserMayNotSignIn
from domain.identity.user import UserStatus
from infra.identity.one_time_tokens import Purpose
from infra.identity.sessions import Session, csrf_token
from infra.identity.signed_in import FoundUser, Membership

PASSWORD_MAX_CHARS: Final = 512
_SESSION_ID: Final = "ses_01m7ywe9z7e398x54gfbrtqnk7"
_USER_ID: Final = "user_01m7ywe9z7e398x54gfbrtqnk7"

AUTH: Final = Operations(
    tag="signing in", about="People sign in: in a browser by a cookie, in programs by access and refresh tokens."
)

Password = Annotated[
    str,
    form(r"^[\s\S]*$", "Must be a password", min_length=1, max_length=PASSWORD_MAX_CHARS),
    OpaqueId(),
]
"""As it was typed; what a new one may be is said when it is set. Digits in it are nobody's card number."""

Secret = Annotated[str, form(r"^[!-~]*$", "Must be a token as it was given", min_length=1, max_length=256), OpaqueId()]
"""A token out of a link or an answer."""

TOKEN_EXAMPLE: Final = "mfrggzdfmztwq2lk" * 3 + "mfrg"


class LogIn(SecondStep):
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
        *SECOND_STEP,
    ),
    is_open=True,
)
async def log_in(call: Call, body: LogIn) -> Reply:
    """Sign in with e-mail address and password, and a second factor where the user has one.

    A browser gets its session in a cookie that no script can read. A program gets an access token for one tenant, and a
    refresh token; it names the tenant where its user is a member of several. Whether an address is known is told to
    nobody.
    """
    check_secure(caller_of(call))
    check_room(call)
    await call.parts.limits.log_in(caller_of(call).address)
    kind = SessionKind(body.kind)
    if kind is SessionKind.BROWSER:
        # Another site could sign its visitors in as somebody else, and watch what they then enter.
        check_own_page("POST", call.headers, own_origin(call.parts.settings))
    user, password_hash = await _proven(call, body)
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
    note(call, AuthEventKind.LOGGED_IN, user_id=user.user_id)
    return await signed_in(call, started.session, started.secret, tenant)


async def _proven(call: Call, body: LogIn) -> tuple[FoundUser, bytes]:
    """The user whose address and password these are."""
    user = await call.parts.identity.users.by_address(body.email)
    user_id = None if user is None else user.user_id
    refused = Refused(AuthEventKind.LOG_IN_FAILED, WRONG_CREDENTIALS)
    password_hash = await compare(call, body.email, user_id, body.password, refused)
    assert user is not None, "nobody's password is never right"
    if user.status != UserStatus.ACTIVE:
        # Told to whoever knows the password alone.
        note(call, AuthEventKind.LOG_IN_FAILED, user_id=user_id, code=UserMayNotSignIn.code)
        raise UserMayNotSignIn(user=user.user_id, status=user.status)
    await check_second_step(call, user.user_id, body)
    return user, password_hash


def _tenant_of(memberships: Sequence[Membership], named: str | None) -> Membership:
    if named is None and len(memberships) != 1:
        raise Problem(TENANT_REQUIRED, param="tenant")
    for membership in memberships:
        if named in (None, membership.tenant_id):
            return membership
    raise Problem(TENANT_MISMATCH, param="tenant")


async def signed_in(call: Call, session: Session, secret: str, tenant: Membership | None) -> Reply:
    """The answer to whoever has just signed in, with what only they get to see."""
    identity = call.parts.identity
    is_browser = session.kind is SessionKind.BROWSER
    token = None if tenant is None else await _access_token(call, session, tenant)
    value: LogInResource = {
        "object": "log_in",
        "session": session.session_id,
        "user": session.user_id,
        "kind": session.kind.value,
        "tenant": session.tenant_id,
        "expires_at": session.ends_at,
        "csrf_token": csrf_token(identity.keyring, session.session_id) if is_browser else None,
        "token_type": None if token is None else "Bearer",
        "access_token": token,
        "expires_in": None if token is None else call.parts.settings.auth.access_token_s,
        "refresh_token": None if is_browser else secret,
    }
    return json_reply(200, value, [cookie_of(call, session, secret)] if is_browser else ())


async def _access_token(call: Call, session: Session, tenant: Membership) -> str:
    identity = call.parts.identity
    now = identity.clock()
    return identity.tokens.sign(
        await identity.keys_in_hand.to_sign(now),
        user_id=session.user_id,
        tenant_id=tenant.tenant_id,
        role=tenant.role,
        session_id=session.session_id,
        now=now,
    )


class Refresh(Body):
    """The newest refresh token."""

    refresh_token: Secret


@AUTH.unstored(
    "POST",
    "/v1/auth/refresh",
    body=Refresh,
    body_example={"refresh_token": f"tbr_01m7ywe9z7e398x54gfbrtqnk7_1_{TOKEN_EXAMPLE}"},
    answers=LogInResource,
    example=_EXAMPLE,
    problems=(REFRESH_TOKEN_INVALID, INSECURE_CONNECTION),
    is_open=True,
)
async def refresh(call: Call, body: Refresh) -> Reply:
    """Get a new access token, and the refresh token that follows.

    Each refresh token is good once. Within 10 seconds the one before gets the current one again, for an answer that was
    lost or a request that was sent twice; an older one is in two hands, and ends the session.
    """
    check_secure(caller_of(call))
    identity = call.parts.identity
    refreshed = await identity.sessions.refresh(body.refresh_token, identity.clock())
    session, token = refreshed.session, refreshed.token
    if session is None or token is None:
        if refreshed.outcome is Refreshing.REUSED:
            await ended_here(call.parts)
        raise Problem(REFRESH_TOKEN_INVALID, param="refresh_token")
    signed = await identity.users.by_session(session.session_id, identity.clock())
    memberships = [] if signed is None else signed.memberships
    tenant = next((each for each in memberships if each.tenant_id == session.tenant_id), None)
    if tenant is None:
        # Suspended, or no member of the tenant any more.
        raise Problem(REFRESH_TOKEN_INVALID, param="refresh_token")
    return await signed_in(call, session, token, tenant)


class LogInLink(Body):
    """What the link's fragment bears."""

    token: Secret


@AUTH.unstored(
    "POST",
    "/v1/auth/login-link",
    body=LogInLink,
    body_example={"token": TOKEN_EXAMPLE},
    answers=LogInResource,
    example={
        **_EXAMPLE,
        "kind": "browser",
        "tenant": None,
        "csrf_token": "mfrggzdfmztwq2lk…",
        "token_type": None,
        "access_token": None,
        "expires_in": None,
        "refresh_token": None,
    },
    refusals=(UserMayNotSignIn,),
    problems=(ONE_TIME_TOKEN_INVALID, LOOPBACK_ONLY, CROSS_SITE),
    is_open=True,
)
async def log_in_by_link(call: Call, body: LogInLink) -> Reply:
    """Sign in by the link that `make dev` prints: once, from the machine itself, within 10 minutes."""
    if not caller_of(call).is_loopback:
        raise Problem(LOOPBACK_ONLY)
    check_own_page("POST", call.headers, own_origin(call.parts.settings))
    token = await usable(call, body.token, Purpose.FIRST_LOG_IN)
    # It is used up before anybody is let in: of two at once, one is.
    identity = call.parts.identity
    if await identity.one_time.use(body.token, Purpose.FIRST_LOG_IN, identity.clock()) is None:
        raise Problem(ONE_TIME_TOKEN_INVALID, param="token")
    started = await start_session(call, token.grant.subject_id, SessionKind.BROWSER)
    note(call, AuthEventKind.LOGGED_IN, user_id=token.grant.subject_id)
    return await signed_in(call, started.session, started.secret, None)
