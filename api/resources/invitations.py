"""Invitations: an offer to an address to become a member, which is open until it is accepted or withdrawn, or over."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, cast

from typing_extensions import TypedDict

from api import letters
from api.http.access_rows import page_by_id
from api.http.call import Call
from api.http.fields import Body, NoBody
from api.http.listing import (
    ListResource,
    NoParameters,
    PageParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.resources.personal_data import Email
from domain.identity.authority import NotAllowed
from domain.identity.permissions import Permission, Role
from domain.identity.team import (
    TEAM,
    AlreadyMember,
    InvitationExpired,
    InvitationNotFound,
    InvitationResentTooOften,
    InviteMember,
    NotARoleOfTeams,
    ResendInvitation,
    TeamIsFull,
    TeamNotFound,
    WithdrawInvitation,
)
from domain.kernel.identifiers import INVITATION as PREFIX
from domain.kernel.stream import Streams
from infra.clock import system_clock
from infra.identity.invitation_addresses import InvitationAddresses
from infra.identity.one_time_tokens import Grant, Purpose
from infra.ids import new_id
from infra.mail.port import Letter
from projections.read_model import Record

_ID: Final = "inv_01m7ywe9z7e398x54gfbrtqnk7"
_ONE: Final = "/v1/invitations/{invitation_id}"
_SELECT: Final = "SELECT invitation_id, role, expires_at FROM access.invitations"


class NewInvitation(Body):
    """Who is to become a member, and as what."""

    email: Email
    role: Role


class InvitationResource(TypedDict):
    """An invitation. `email` is where it went; it is kept apart from the log and forgotten when the invitation is over.
    Answers to commands have it once, and a repeat has not.
    """

    id: str
    object: Literal["invitation"]
    role: Role
    status: Literal["open", "expired", "withdrawn"]
    expires_at: datetime
    email: str | None


_EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "invitation",
    "role": "viewer",
    "status": "open",
    "expires_at": "2026-02-07T12:00:00Z",
    "email": "ada@example.com",
}

INVITATIONS: Final = Operations(
    tag="invitations",
    about="Offers to become a member.",
    path_ids={"invitation_id": PREFIX},
    seen_with=Permission.USERS_READ,
    changed_with=Permission.USERS_WRITE,
)


@INVITATIONS.command(
    "POST",
    "/v1/invitations",
    body=NewInvitation,
    body_example={"email": "ada@example.com", "role": "viewer"},
    answers=InvitationResource,
    example=_EXAMPLE,
    status=201,
    refusals=(NotAllowed, NotARoleOfTeams, AlreadyMember, TeamIsFull),
)
async def create_invitation(call: Call, body: NewInvitation) -> Intention:
    """Invite somebody to become a member.

    They get a letter with a link that works once, for 7 days, and only with the address that it went to. The answer is
    the same whether they are a user already or not. Where no letter came, have it sent again.
    """
    identity = call.parts.identity
    found = await identity.users.by_address(body.email)
    invitation_id = new_id(PREFIX)
    expires_at = _expiry(call)
    return Intention(
        command=InviteMember(
            tenant_id=call.tenant_id,
            invitation_id=invitation_id,
            user_id=None if found is None else found.user_id,
            role=body.role,
            expires_at=expires_at,
            by=call.principal.id,
        ),
        render=lambda streams: _decided(streams, call.tenant_id, invitation_id),
        location=f"/v1/invitations/{invitation_id}",
        shows_once={"email": body.email},
        beforehand=lambda: _addresses(call).keep(call.tenant_id, invitation_id, body.email, expires_at),
        afterwards=lambda: call.parts.post.send(partial(_letter, call, invitation_id, body.email)),
    )


@INVITATIONS.command(
    "POST",
    f"{_ONE}/resend",
    body=NoBody,
    answers=InvitationResource,
    example=_EXAMPLE,
    refusals=(InvitationNotFound, TeamNotFound, InvitationExpired, InvitationResentTooOften, NotAllowed),
)
async def resend_invitation(call: Call, _body: NoBody) -> Intention:
    """Send the letter of an open invitation again, with a new link, for another 7 days.

    The link of the letter before works no more. An invitation is sent again 5 times at most, and 10 minutes apart.
    """
    invitation_id = _id_of(call)
    address = (await _addresses(call).of(call.tenant_id, [invitation_id])).get(invitation_id)
    return Intention(
        command=ResendInvitation(
            tenant_id=call.tenant_id, invitation_id=invitation_id, expires_at=_expiry(call), by=call.principal.id
        ),
        render=lambda streams: _decided(streams, call.tenant_id, invitation_id),
        shows_once={"email": address},
        afterwards=lambda: call.parts.post.send(partial(_letter, call, invitation_id, address)),
    )


async def _letter(call: Call, invitation_id: str, address: str | None) -> Letter | None:
    """The letter with a new link, unless the invitation was accepted or withdrawn before it was written."""
    identity = call.parts.identity
    now = identity.clock()
    role = await _addresses(call).open_role(call.tenant_id, invitation_id, now)
    if role is None or address is None:
        return None
    grant = Grant(
        purpose=Purpose.INVITATION,
        subject_id=invitation_id,
        tenant_id=call.tenant_id,
        role=role,
        email_index=identity.users.index_of(address),
    )
    token = await identity.one_time.make(grant, lasts=_lasts(call), now=now)
    name = await call.parts.access_pool.fetchval("SELECT name FROM access.tenants WHERE tenant_id = $1", call.tenant_id)
    return letters.invitation(call.parts.settings, address, token, tenant_name=name)


def _lasts(call: Call) -> timedelta:
    return timedelta(seconds=call.parts.settings.auth.invitation_lasts_s)


def _expiry(call: Call) -> datetime:
    return system_clock() + _lasts(call)


@INVITATIONS.command(
    "POST",
    f"{_ONE}/withdraw",
    body=NoBody,
    answers=InvitationResource,
    example={**_EXAMPLE, "status": "withdrawn", "email": None},
    refusals=(InvitationNotFound, TeamNotFound, NotAllowed),
)
async def withdraw_invitation(call: Call, _body: NoBody) -> Intention:
    """Withdraw an invitation that is open: its link lets nobody in any more, and its address is forgotten."""
    invitation_id = _id_of(call)
    row = await _row(call, invitation_id)
    withdrawn = _resource(row, None) if row is not None else None

    def render(_streams: Streams) -> InvitationResource:
        assert withdrawn is not None, "whoever can name it was told of it after it was made"
        return {**withdrawn, "status": "withdrawn"}

    return Intention(
        command=WithdrawInvitation(tenant_id=call.tenant_id, invitation_id=invitation_id, by=call.principal.id),
        render=render,
    )


@INVITATIONS.query(
    _ONE, answers=InvitationResource, example=_EXAMPLE, parameters=NoParameters, refusals=(InvitationNotFound,)
)
async def get_invitation(call: Call, _asked: NoParameters) -> InvitationResource:
    """Get an invitation that is neither accepted nor withdrawn."""
    invitation_id = _id_of(call)
    row = await _row(call, invitation_id)
    if row is None:
        raise InvitationNotFound(invitation=invitation_id)
    (resource,) = await _resources(call, [row])
    return resource


@INVITATIONS.query(
    "/v1/invitations",
    answers=cast("Any", ListResource)[InvitationResource],
    example=list_example(_EXAMPLE),
    parameters=PageParameters,
)
async def list_invitations(call: Call, asked: PageParameters) -> object:
    """List the invitations that are neither accepted nor withdrawn, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        found = await page_by_id(connection, _SELECT, "invitation_id", {"tenant_id": call.tenant_id}, request)
    return page_resource(found, request, await _resources(call, found.items))


def _id_of(call: Call) -> str:
    return call.id("invitation_id", PREFIX, InvitationNotFound)


def _addresses(call: Call) -> InvitationAddresses:
    return InvitationAddresses(call.parts.access_pool, call.parts.identity.keyring)


async def _row(call: Call, invitation_id: str) -> Record | None:
    async with call.reading() as connection:
        return await connection.fetchrow(
            f"{_SELECT} WHERE tenant_id = $1 AND invitation_id = $2", call.tenant_id, invitation_id
        )


async def _resources(call: Call, rows: Sequence[Record]) -> list[InvitationResource]:
    known = await _addresses(call).of(call.tenant_id, [row[0] for row in rows])
    return [_resource(row, known.get(row[0])) for row in rows]


def _decided(streams: Streams, tenant_id: str, invitation_id: str) -> InvitationResource:
    invitations = TEAM.of(streams, tenant_id).invitations
    (made,) = (each for each in invitations if each.invitation_id == invitation_id)
    return _shown(made.invitation_id, made.role, made.expires_at, None)


def _resource(row: Record, email: str | None) -> InvitationResource:
    return _shown(row["invitation_id"], Role(row["role"]), row["expires_at"], email)


def _shown(invitation_id: str, role: Role, expires_at: datetime, email: str | None) -> InvitationResource:
    return {
        "id": invitation_id,
        "object": "invitation",
        "role": role,
        "status": "open" if expires_at > system_clock() else "expired",
        "expires_at": expires_at,
        "email": email,
    }
