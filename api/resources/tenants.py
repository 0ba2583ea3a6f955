"""Tenants: one's own, and for whoever looks after the cell all of them, by name, and the way into one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Line, NoBody
from api.http.listing import (
    ListResource,
    NoParameters,
    PageParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.http.validation import form
from domain.commands import AsSuperAdmin
from domain.identity.authority import NotSuperAdmin
from domain.identity.permissions import Permission
from domain.identity.tenant import (
    TENANT,
    AnotherTenantEntered,
    CreateTenant,
    EnterTenant,
    LeaveTenant,
    ReactivateTenant,
    RevealPersonalData,
    SuspendTenant,
    Tenant,
    TenantAlreadyExists,
    TenantIdReserved,
    TenantNotEntered,
    TenantNotFound,
)
from domain.kernel.stream import Command, Streams
from domain.kernel.tenant_mode import TenantMode
from infra.clock import system_clock
from projections.reading import Page, PageRequest, UnknownCursor

TENANT_ID_PATTERN: Final = r"^[a-z][a-z0-9-]{1,62}$"
_ONE: Final = "/v1/tenants/{tenant}"
_LIST: Final = "SELECT * FROM access.list_tenants($1, $2, $3, $4)"

_ENTERED_ELSEWHERE: Final = """
SELECT tenant_id FROM access.entries WHERE user_id = $1 AND tenant_id <> $2 AND ends_at > clock_timestamp()
ORDER BY ends_at DESC LIMIT 1
"""

TenantId = Annotated[str, form(TENANT_ID_PATTERN, "Must be 2 to 63 lower-case letters, digits and hyphens")]


class NewTenant(Body):
    """A tenant to be. Its id and what it is for cannot be changed."""

    id: TenantId
    name: Line
    mode: TenantMode


class Why(Body):
    """The reason, which the tenant's log keeps for its people to read. Put nothing personal there."""

    reason: Line


class TenantResource(TypedDict):
    """A tenant. `members` and `api_keys` count those that are valid; what a command answers does not count them."""

    id: str
    object: Literal["tenant"]
    name: str
    mode: TenantMode
    status: Literal["active", "suspended"]
    created: datetime
    suspended_at: datetime | None
    members: int | None
    api_keys: int | None


class TenantEntryResource(TypedDict):
    """Whoever looks after the cell, in a tenant until `ends_at`: with `X-Tenant-ID` they may do there what an ADMIN
    may. `is_revealed`: they see personal data plain.
    """

    object: Literal["tenant_entry"]
    tenant: str
    user: str
    ends_at: datetime
    is_revealed: bool


_EXAMPLE: Final[dict[str, object]] = {
    "id": "acme",
    "object": "tenant",
    "name": "Acme",
    "mode": "live",
    "status": "active",
    "created": "2026-01-01T00:00:00Z",
    "suspended_at": None,
    "members": 3,
    "api_keys": 2,
}
_DECIDED: Final = {**_EXAMPLE, "members": None, "api_keys": None}
_ENTRY: Final = {
    "object": "tenant_entry",
    "tenant": "acme",
    "user": "user_01m7ywe9z7e398x54gfbrtqnk7",
    "ends_at": "2026-01-31T13:00:00Z",
    "is_revealed": False,
}

TENANTS: Final = Operations(
    tag="tenants",
    about="Whose books there are, and who looks after them.",
    seen_with=Permission.TENANTS_READ,
    changed_with=Permission.TENANTS_WRITE,
)


@TENANTS.command(
    "POST",
    "/v1/tenants",
    body=NewTenant,
    body_example={"id": "acme", "name": "Acme", "mode": "live"},
    answers=TenantResource,
    example=_DECIDED,
    status=201,
    refusals=(TenantAlreadyExists, TenantIdReserved, NotSuperAdmin),
)
async def create_tenant(call: Call, body: NewTenant) -> Intention:
    """Create a tenant.

    It has no members and no keys yet: enter it, and invite its first ADMIN.
    """
    command = CreateTenant(tenant_id=body.id, name=body.name, mode=body.mode)
    return _changed(call, body.id, command)._replace(location=f"/v1/tenants/{body.id}")


@TENANTS.command(
    "POST",
    f"{_ONE}/suspend",
    body=Why,
    body_example={"reason": "unpaid since May"},
    answers=TenantResource,
    example={**_DECIDED, "status": "suspended", "suspended_at": "2026-02-01T00:00:00Z"},
    refusals=(TenantNotFound, NotSuperAdmin),
)
async def suspend_tenant(call: Call, body: Why) -> Intention:
    """Let a tenant be read and not changed, at once. What is under way is brought to its end."""
    tenant_id = _id_of(call)
    return _changed(call, tenant_id, SuspendTenant(tenant_id=tenant_id, reason=body.reason))


@TENANTS.command(
    "POST",
    f"{_ONE}/reactivate",
    body=NoBody,
    answers=TenantResource,
    example=_DECIDED,
    refusals=(TenantNotFound, NotSuperAdmin),
)
async def reactivate_tenant(call: Call, _body: NoBody) -> Intention:
    """Let a suspended tenant be changed again, at once."""
    tenant_id = _id_of(call)
    return _changed(call, tenant_id, ReactivateTenant(tenant_id=tenant_id))


@TENANTS.command(
    "POST",
    f"{_ONE}/enter",
    body=Why,
    body_example={"reason": "ticket 4711: an invoice that does not add up"},
    answers=TenantEntryResource,
    example=_ENTRY,
    refusals=(TenantNotFound, AnotherTenantEntered, NotSuperAdmin),
)
async def enter_tenant(call: Call, body: Why) -> Intention:
    """Enter a tenant that is not yours, for 60 minutes.

    With `X-Tenant-ID` you may then do there what an ADMIN may, and each event says who you are and for whom. Its people
    read in their log that you entered, when and why. Personal data are masked until you ask for them. Entering again
    begins another 60 minutes, masked again. You are in one tenant at a time: leave it, then enter another.
    """
    tenant_id = _id_of(call)
    await _check_in_no_other(call, tenant_id)
    return _entered(call, tenant_id, EnterTenant(tenant_id=tenant_id, user_id=call.principal.id, reason=body.reason))


@TENANTS.command(
    "POST",
    f"{_ONE}/leave",
    body=NoBody,
    answers=TenantEntryResource,
    example={**_ENTRY, "ends_at": "2026-01-31T12:10:00Z"},
    refusals=(TenantNotFound, TenantNotEntered),
)
async def leave_tenant(call: Call, _body: NoBody) -> Intention:
    """Leave the tenant that you entered, before the 60 minutes are over.

    You may do nothing there any more, from the next request on. Its people read in their log when you left.
    """
    tenant_id = _id_of(call)
    user_id = call.principal.id
    ended: TenantEntryResource = {
        "object": "tenant_entry",
        "tenant": tenant_id,
        "user": user_id,
        "ends_at": system_clock(),
        "is_revealed": False,
    }
    return Intention(
        command=LeaveTenant(tenant_id=tenant_id, user_id=user_id),
        tenant_id=tenant_id,
        render=lambda _streams: ended,
        afterwards=call.parts.credentials.forget_sessions,
    )


@TENANTS.command(
    "POST",
    f"{_ONE}/reveal",
    body=Why,
    body_example={"reason": "ticket 4711: whose invoice it is"},
    answers=TenantEntryResource,
    example={**_ENTRY, "is_revealed": True},
    refusals=(TenantNotFound, TenantNotEntered, NotSuperAdmin),
)
async def reveal_personal_data(call: Call, body: Why) -> Intention:
    """See personal data plain in the tenant that you entered, until the 60 minutes are over.

    Its people read in their log that you did, when and why.
    """
    tenant_id = _id_of(call)
    command = RevealPersonalData(tenant_id=tenant_id, user_id=call.principal.id, reason=body.reason)
    return _entered(call, tenant_id, command)


@TENANTS.query(_ONE, answers=TenantResource, example=_EXAMPLE, parameters=NoParameters, refusals=(TenantNotFound,))
async def get_tenant(call: Call, _asked: NoParameters) -> TenantResource:
    """Get your tenant, or any, if you look after the cell."""
    tenant_id = _id_of(call)
    if not _sees_all(call) and tenant_id != call.tenant_id:
        raise TenantNotFound(tenant=tenant_id)
    rows = await call.parts.access_pool.fetch(_LIST, tenant_id, None, None, 1)
    if not rows:
        raise TenantNotFound(tenant=tenant_id)
    return _resource(dict(rows[0]))


@TENANTS.query(
    "/v1/tenants",
    answers=cast("Any", ListResource)[TenantResource],
    example=list_example(_EXAMPLE),
    parameters=PageParameters,
)
async def list_tenants(call: Call, asked: PageParameters) -> object:
    """List your tenant, or all, by name, if you look after the cell.

    The list is in the order of the ids. Of tenants that you have not entered you see names and counts, no more.
    """
    request = page_request(call, asked)
    found = await _page(call, request)
    return page_resource(found, request, [_resource(each) for each in found.items])


async def _page(call: Call, request: PageRequest) -> Page[Mapping[str, Any]]:
    pool = call.parts.access_pool
    only = None if _sees_all(call) else call.tenant_id
    cursor = request.starting_after or request.ending_before
    if cursor is not None and (only not in (None, cursor) or not await pool.fetch(_LIST, cursor, None, None, 1)):
        raise UnknownCursor(cursor)
    rows = await pool.fetch(_LIST, only, request.starting_after, request.ending_before, request.limit + 1)
    items: list[Mapping[str, Any]] = [dict(row) for row in rows[: request.limit]]
    if request.ending_before is not None:
        items.reverse()
    return Page(items, len(rows) > request.limit)


def _id_of(call: Call) -> str:
    return call.path["tenant"]


def _sees_all(call: Call) -> bool:
    return Permission.TENANTS_WRITE in call.principal.permissions


async def _check_in_no_other(call: Call, tenant_id: str) -> None:
    """Raises AnotherTenantEntered. Of two entries at once the later counts (`infra.identity.signed_in`)."""
    other = await call.parts.access_pool.fetchval(_ENTERED_ELSEWHERE, call.principal.id, tenant_id)
    if other is not None:
        raise AnotherTenantEntered(tenant=other)


def _changed(call: Call, tenant_id: str, command: Command) -> Intention:
    return Intention(
        command=AsSuperAdmin(user_id=call.principal.id, command=command),
        tenant_id=tenant_id,
        render=lambda streams: _decided(TENANT.of(streams, tenant_id)),
    )


def _entered(call: Call, tenant_id: str, command: Command) -> Intention:
    user_id = call.principal.id

    def render(streams: Streams) -> TenantEntryResource:
        (entry,) = (each for each in TENANT.of(streams, tenant_id).entries if each.user_id == user_id)
        return {
            "object": "tenant_entry",
            "tenant": tenant_id,
            "user": user_id,
            "ends_at": entry.ends_at,
            "is_revealed": entry.is_revealed,
        }

    # What this process remembers of them is from before; the others hear of it with the commit.
    return Intention(
        command=AsSuperAdmin(user_id=user_id, command=command),
        tenant_id=tenant_id,
        render=render,
        afterwards=call.parts.credentials.forget_sessions,
    )


def _decided(tenant: Tenant) -> TenantResource:
    return _resource(
        {
            "tenant_id": tenant.tenant_id,
            "name": tenant.name,
            "mode": tenant.mode,
            "created_at": tenant.created_at,
            "suspended_at": tenant.suspended_at,
            "members": None,
            "api_keys": None,
        }
    )


def _resource(row: Mapping[str, Any]) -> TenantResource:
    return {
        "id": row["tenant_id"],
        "object": "tenant",
        "name": row["name"],
        "mode": TenantMode(row["mode"]),
        "status": "active" if row["suspended_at"] is None else "suspended",
        "created": row["created_at"],
        "suspended_at": row["suspended_at"],
        "members": row["members"],
        "api_keys": row["api_keys"],
    }
