"""The people of a tenant: who they are, what they may do there, and what each role holds."""

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from typing_extensions import TypedDict

from api.http.access_rows import page_by_id
from api.http.call import Call
from api.http.fields import Body, NoBody
from api.http.listing import (
    ListResource,
    NoParameters,
    PageParameters,
    list_example,
    list_resource,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.http.problems import TENANT_REQUIRED, Problem
from domain.identity.authority import NotAllowed
from domain.identity.permissions import CAUTIONS, Caution, Permission, Reach, Role, reach_of
from domain.identity.team import (
    OF_TEAMS,
    TEAM,
    ChangeMemberRole,
    MemberNotFound,
    NotARoleOfTeams,
    OwnRole,
    RemoveMember,
    TeamNeedsAdmin,
    TeamNotFound,
)
from domain.identity.tenant import PLATFORM
from domain.kernel.identifiers import USER as PREFIX
from domain.kernel.stream import Command
from infra.identity.members import NOTHING, Known, known_of, statuses

_ID: Final = "user_01m7ywe9z7e398x54gfbrtqnk7"
_ONE: Final = "/v1/users/{user_id}"
_SELECT: Final = "SELECT user_id, role FROM access.memberships"


class NewRole(Body):
    """What a member is to be from now on."""

    role: Role


class UserResource(TypedDict):
    """A member of the tenant. `role` is null for whoever was just removed. `name` and `email` are kept apart from the
    log; answers to commands have them once, and a repeat has not. Both are null for a user who was erased.
    """

    id: str
    object: Literal["user"]
    role: Role | None
    status: str
    name: str | None
    email: str | None


class HeldPermission(TypedDict):
    """A permission, how far it goes, and what it asks for besides."""

    permission: Permission
    reach: Reach
    cautions: list[Caution]


class RoleResource(TypedDict):
    """What a role holds. A member of a team has one of those with `is_of_teams`."""

    id: Role
    object: Literal["role"]
    is_of_teams: bool
    permissions: list[HeldPermission]


_EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "user",
    "role": "viewer",
    "status": "active",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
}

USERS: Final = Operations(
    tag="users",
    about="The people of the tenant, and what their roles hold.",
    path_ids={"user_id": PREFIX},
    seen_with=Permission.USERS_READ,
    changed_with=Permission.USERS_WRITE,
)
REFUSALS: Final = (MemberNotFound, TeamNotFound, NotAllowed, TeamNeedsAdmin)


@USERS.command(
    "POST",
    f"{_ONE}/change-role",
    body=NewRole,
    body_example={"role": "billing_admin"},
    answers=UserResource,
    example={**_EXAMPLE, "role": "billing_admin"},
    refusals=(*REFUSALS, OwnRole, NotARoleOfTeams),
)
async def change_user_role(call: Call, body: NewRole) -> Intention:
    """Change what a member may do, from their next request on.

    Nobody changes their own role, and a team is never without an ADMIN: of two who take the role from each other at
    once, one keeps it.
    """
    user_id = _id_of(call)
    command = ChangeMemberRole(tenant_id=call.tenant_id, user_id=user_id, role=body.role, by=call.principal.id)
    return await _changed(call, user_id, command)


@USERS.command(
    "DELETE",
    _ONE,
    body=NoBody,
    answers=UserResource,
    example={**_EXAMPLE, "role": None},
    refusals=REFUSALS,
)
async def remove_user(call: Call, _body: NoBody) -> Intention:
    """Remove a member from the tenant, from their next request on.

    They stay a user, of other tenants too. The last ADMIN stays. API keys that they made stay valid: look through them.
    """
    user_id = _id_of(call)
    return await _changed(call, user_id, RemoveMember(tenant_id=call.tenant_id, user_id=user_id, by=call.principal.id))


@USERS.command(
    "POST",
    "/v1/auth/leave-team",
    body=NoBody,
    answers=UserResource,
    example={**_EXAMPLE, "role": None},
    refusals=(MemberNotFound, TeamNotFound, TeamNeedsAdmin),
    needs=Permission.PROFILE_WRITE,
)
async def leave_team(call: Call, _body: NoBody) -> Intention:
    """Leave the tenant that you ask in: you are no member of it any more, from the next request on.

    You stay a user, of other tenants too. API keys that you made stay valid. The last ADMIN makes somebody else ADMIN
    first.
    """
    if not call.tenant_id:
        raise Problem(TENANT_REQUIRED, param="X-Tenant-ID")
    user_id = call.principal.id
    left = await _changed(call, user_id, RemoveMember(tenant_id=call.tenant_id, user_id=user_id, by=user_id))
    return left._replace(afterwards=call.parts.credentials.forget_sessions)


@USERS.query(_ONE, answers=UserResource, example=_EXAMPLE, parameters=NoParameters, refusals=(MemberNotFound,))
async def get_user(call: Call, _asked: NoParameters) -> UserResource:
    """Get a member of the tenant."""
    user_id = _id_of(call)
    async with call.reading() as connection:
        row = await connection.fetchrow(f"{_SELECT} WHERE tenant_id = $1 AND user_id = $2", call.tenant_id, user_id)
    if row is None:
        raise MemberNotFound(user=user_id)
    (resource,) = await _resources(call, [(row[0], Role(row[1]))])
    return resource


@USERS.query(
    "/v1/users",
    answers=cast("Any", ListResource)[UserResource],
    example=list_example(_EXAMPLE),
    parameters=PageParameters,
)
async def list_users(call: Call, asked: PageParameters) -> object:
    """List the members of the tenant, those who registered last first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        found = await page_by_id(connection, _SELECT, "user_id", {"tenant_id": call.tenant_id}, request)
    resources = await _resources(call, [(row[0], Role(row[1])) for row in found.items])
    return page_resource(found, request, resources)


@USERS.query(
    "/v1/roles",
    answers=cast("Any", ListResource)[RoleResource],
    example=list_example(
        {
            "id": "viewer",
            "object": "role",
            "is_of_teams": True,
            "permissions": [{"permission": "customers:read", "reach": "masked", "cautions": []}],
        }
    ),
    parameters=NoParameters,
)
async def list_roles(_call: Call, _asked: NoParameters) -> ListResource[RoleResource]:
    """List the roles, and what each of them holds."""
    roles: list[RoleResource] = [
        {
            "id": role,
            "object": "role",
            "is_of_teams": role in OF_TEAMS,
            "permissions": [
                {"permission": permission, "reach": reach, "cautions": sorted(CAUTIONS.get(permission, ()))}
                for permission, reach in reach_of(role).items()
            ],
        }
        for role in Role
    ]
    return list_resource(roles, has_more=False, next_cursor=None)


def _id_of(call: Call) -> str:
    return call.id("user_id", PREFIX, MemberNotFound)


async def _changed(call: Call, user_id: str, command: Command) -> Intention:
    """The intention of a command on a member. Who they are is in the answer, and not in what is stored of it."""
    async with call.reading() as connection:
        role = await connection.fetchval(
            "SELECT role FROM access.memberships WHERE tenant_id = $1 AND user_id = $2", call.tenant_id, user_id
        )
    status, known = "", NOTHING
    if role is not None:
        # Of somebody else's member nothing is looked up, not even to be thrown away.
        (shown,) = await _resources(call, [(user_id, Role(role))])
        status, known = shown["status"], Known(shown["name"], shown["email"])
    return Intention(
        command=command,
        render=lambda streams: _resource(user_id, TEAM.of(streams, call.tenant_id).role_of(user_id), status, NOTHING),
        shows_once={"name": known.name, "email": known.email},
    )


async def _resources(call: Call, members: Sequence[tuple[str, Role]]) -> list[UserResource]:
    """Members with what is known of them."""
    ids = [user_id for user_id, _ in members]
    if not ids:
        return []
    may_sign_in = await statuses(call.parts.access_pool, ids)
    async with call.parts.reader.of(PLATFORM) as connection:
        known = await known_of(call.parts.vault, connection, ids)
    return [
        _resource(user_id, role, may_sign_in.get(user_id, "erased"), known.get(user_id, NOTHING))
        for user_id, role in members
    ]


def _resource(user_id: str, role: Role | None, status: str, known: Known) -> UserResource:
    return {
        "id": user_id,
        "object": "user",
        "role": role,
        "status": status,
        "name": known.name,
        "email": known.email,
    }
