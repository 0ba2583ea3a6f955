"""Who is signed in, where they are a member, and their own sessions."""

from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import NoBody
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.proving import profile
from api.http.replies import Reply, json_reply
from api.http.signing_in import NO_COOKIE, end_session, ended_here
from domain.identity.permissions import Permission
from domain.identity.refreshing import EndReason
from domain.identity.session import SessionNotFound
from domain.kernel.identifiers import SESSION
from infra.identity.sessions import Session, csrf_token
from infra.identity.signed_in import Membership

_SESSION_ID: Final = "ses_01m7ywe9z7e398x54gfbrtqnk7"
_USER_ID: Final = "user_01m7ywe9z7e398x54gfbrtqnk7"

OWN: Final = Operations(
    tag="own sessions",
    about="Who is signed in, and where else.",
    path_ids={"session_id": SESSION},
    seen_with=Permission.PROFILE_READ,
    changed_with=Permission.PROFILE_WRITE,
)


class NothingResource(TypedDict):
    """It is done."""

    object: Literal["done"]


@OWN.unstored("POST", "/v1/auth/logout", body=NoBody, answers=NothingResource, example={"object": "done"})
async def log_out(call: Call, _body: NoBody) -> Reply:
    """Sign out: the session that asks is over, and every token of it.

    It is over at once; other processes hear of it with the commit.
    """
    assert call.principal.session is not None, "only users hold the permission"
    await end_session(call, call.principal.session)
    return json_reply(200, {"object": "done"}, [NO_COOKIE])


@OWN.unstored("POST", "/v1/auth/logout-all", body=NoBody, answers=NothingResource, example={"object": "done"})
async def log_out_everywhere(call: Call, _body: NoBody) -> Reply:
    """Sign out everywhere: all your sessions are over, in browsers and in programs, this one too."""
    identity = call.parts.identity
    await identity.sessions.end_all(call.principal.id, EndReason.LOGGED_OUT, identity.clock())
    await ended_here(call.parts)
    return json_reply(200, {"object": "done"}, [NO_COOKIE])


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


@OWN.query(
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
    known = await profile(call, user_id)
    return {
        "id": user_id,
        "object": "profile",
        "email": known.text("email") or None,
        "name": known.text("name") or None,
        "phone": known.text("phone") or None,
        "locale": known.text("locale") or None,
    }


class TenantsResource(TypedDict):
    """All tenants of a user, by their ids."""

    object: Literal["list"]
    data: list[TenantMembershipResource]


@OWN.query(
    "/v1/auth/tenants",
    answers=TenantsResource,
    example={"object": "list", "data": [_TENANT]},
    parameters=NoParameters,
)
async def get_own_tenants(call: Call, _asked: NoParameters) -> TenantsResource:
    """List the tenants that you are a member of."""
    memberships = await call.parts.identity.users.memberships(call.principal.id)
    return {"object": "list", "data": [membership_resource(each) for each in memberships]}


class SessionResource(TypedDict):
    """One of the user's own sessions. `tenant` is a program's; `is_current` is the one that asks."""

    id: str
    object: Literal["session"]
    kind: Literal["browser", "program"]
    tenant: str | None
    started_at: datetime
    seen_at: datetime
    expires_at: datetime
    is_current: bool


class SessionsResource(TypedDict):
    """A user's live sessions, newest first."""

    object: Literal["list"]
    data: list[SessionResource]


_SESSION: Final = {
    "id": _SESSION_ID,
    "object": "session",
    "kind": "browser",
    "tenant": None,
    "started_at": "2026-03-01T12:00:00Z",
    "seen_at": "2026-03-01T12:00:00Z",
    "expires_at": "2026-03-31T12:00:00Z",
    "is_current": True,
}


@OWN.query(
    "/v1/auth/sessions",
    answers=SessionsResource,
    example={"object": "list", "data": [_SESSION]},
    parameters=NoParameters,
)
async def get_own_sessions(call: Call, _asked: NoParameters) -> SessionsResource:
    """List your sessions that are not over, newest first."""
    identity = call.parts.identity
    sessions = await identity.sessions.of_user(call.principal.id, identity.clock())
    return {"object": "list", "data": [_session_resource(each, call.principal.session) for each in sessions]}


def _session_resource(session: Session, current: str | None) -> SessionResource:
    return {
        "id": session.session_id,
        "object": "session",
        "kind": session.kind.value,
        "tenant": session.tenant_id,
        "started_at": session.started_at,
        "seen_at": session.seen_at,
        "expires_at": min(session.ends_at, session.idle_ends_at),
        "is_current": session.session_id == current,
    }


@OWN.unstored(
    "DELETE",
    "/v1/auth/sessions/{session_id}",
    body=NoBody,
    answers=NothingResource,
    example={"object": "done"},
    refusals=(SessionNotFound,),
)
async def end_own_session(call: Call, _body: NoBody) -> NothingResource:
    """End one of your sessions, such as that of a computer that you left."""
    identity = call.parts.identity
    wanted = call.id("session_id", SESSION, SessionNotFound)
    own = await identity.sessions.of_user(call.principal.id, identity.clock())
    if wanted not in {session.session_id for session in own}:
        raise SessionNotFound(session=wanted)
    await end_session(call, wanted, EndReason.REVOKED)
    return {"object": "done"}
