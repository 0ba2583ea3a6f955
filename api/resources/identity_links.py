"""Identity links: whom a subject of a foreign issuer of tokens is, in the tenant."""

from functools import partial
from typing import Annotated, Any, Final, Literal, cast

from typing_extensions import TypedDict

from api import letters
from api.http.access_rows import page_by_id
from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import Body, NoBody, text
from api.http.listing import (
    ListResource,
    NoParameters,
    PageParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from api.http.signing_in import address_of
from api.http.validation import form
from domain.identity.authority import NotAllowed
from domain.identity.foreign_subject import LinkNotFound, LinkSubject, SubjectAlreadyLinked, TooManyLinks, UnlinkSubject
from domain.identity.permissions import Permission
from domain.identity.team import MemberNotFound, TeamNotFound
from domain.kernel.identifiers import ID_CHARS, USER
from domain.kernel.identifiers import IDENTITY_LINK as PREFIX
from infra.identity.keyring import subject_digest
from infra.ids import new_id
from infra.mail.port import Letter
from projections.read_model import Record

_ID: Final = "idl_01m7ywe9z7e398x54gfbrtqnk7"
_ONE: Final = "/v1/identity-links/{identity_link_id}"
_SELECT: Final = "SELECT link_id, user_id, issuer FROM access.identity_links"
UserId = Annotated[str, form(rf"^{USER}[0-9a-hjkmnp-tv-z]{{{ID_CHARS}}}$", "Must be the id of a user")]


class NewLink(Body):
    """Who it is: a member of the tenant, and how the issuer's tokens name them (`iss` and `sub`, to the letter)."""

    user: UserId
    issuer: Annotated[str, text(200)]
    subject: Annotated[str, text(255), OpaqueId()]


class IdentityLinkResource(TypedDict):
    """A link. The subject is kept as a keyed digest alone, and never shown. `user` is null where it was just removed;
    `is_believed` says whether this cell verifies tokens of the issuer, as its operator has set.
    """

    id: str
    object: Literal["identity_link"]
    user: str | None
    issuer: str
    is_believed: bool


_EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "identity_link",
    "user": "user_01m7ywe9z7e398x54gfbrtqnk7",
    "issuer": "https://login.example.com",
    "is_believed": True,
}

IDENTITY_LINKS: Final = Operations(
    tag="identity links",
    about="Members as foreign issuers of access tokens know them.",
    path_ids={"identity_link_id": PREFIX},
    seen_with=Permission.USERS_READ,
    changed_with=Permission.USERS_WRITE,
)


@IDENTITY_LINKS.command(
    "POST",
    "/v1/identity-links",
    body=NewLink,
    body_example={
        "user": "user_01m7ywe9z7e398x54gfbrtqnk7",
        "issuer": "https://login.example.com",
        "subject": "00u1a2b3c4",
    },
    answers=IdentityLinkResource,
    example=_EXAMPLE,
    status=201,
    refusals=(NotAllowed, TeamNotFound, MemberNotFound, SubjectAlreadyLinked, TooManyLinks),
)
async def create_identity_link(call: Call, body: NewLink) -> Intention:
    """Let the issuer's tokens of this subject be a member's, in this tenant and no other, from now on.

    What they may do is what the member's role holds, but for what asks for a password entered lately, and for the
    member's own profile and sessions. No claim of a token does as much: neither an e-mail address nor a role in it. The
    member gets a letter that says so.
    """
    link_id = new_id(PREFIX)
    command = LinkSubject(
        tenant_id=call.tenant_id,
        link_id=link_id,
        user_id=body.user,
        issuer=body.issuer,
        subject_digest=subject_digest(call.parts.identity.keyring, body.issuer, body.subject),
        by=call.principal.id,
    )
    made = _resource(call, link_id, body.user, body.issuer)
    return Intention(
        command=command,
        render=lambda _streams: made,
        location=f"/v1/identity-links/{link_id}",
        afterwards=lambda: _tell(call, letters.identity_linked, body.user, body.issuer),
    )


@IDENTITY_LINKS.command(
    "DELETE",
    _ONE,
    body=NoBody,
    answers=IdentityLinkResource,
    example={**_EXAMPLE, "user": None},
    refusals=(NotAllowed, TeamNotFound, LinkNotFound),
)
async def remove_identity_link(call: Call, _body: NoBody) -> Intention:
    """Let the issuer's tokens of this subject be nobody's here, from their next request on. The member gets a letter
    that says so.
    """
    link_id = _id_of(call)
    row = await _row(call, link_id)
    removed = _resource(call, link_id, None, "" if row is None else row["issuer"])

    def tell() -> None:
        if row is not None:
            _tell(call, letters.identity_unlinked, row["user_id"], row["issuer"])

    command = UnlinkSubject(tenant_id=call.tenant_id, link_id=link_id, by=call.principal.id)
    return Intention(command=command, render=lambda _streams: removed, afterwards=tell)


@IDENTITY_LINKS.query(
    _ONE, answers=IdentityLinkResource, example=_EXAMPLE, parameters=NoParameters, refusals=(LinkNotFound,)
)
async def get_identity_link(call: Call, _asked: NoParameters) -> IdentityLinkResource:
    """Get a link."""
    link_id = _id_of(call)
    row = await _row(call, link_id)
    if row is None:
        raise LinkNotFound(identity_link=link_id)
    return _resource(call, *row)


@IDENTITY_LINKS.query(
    "/v1/identity-links",
    answers=cast("Any", ListResource)[IdentityLinkResource],
    example=list_example(_EXAMPLE),
    parameters=PageParameters,
)
async def list_identity_links(call: Call, asked: PageParameters) -> object:
    """List the tenant's links, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        found = await page_by_id(connection, _SELECT, "link_id", {"tenant_id": call.tenant_id}, request)
    return page_resource(found, request, [_resource(call, *row) for row in found.items])


def _tell(call: Call, letter: letters.OfLink, user_id: str, issuer: str) -> None:
    call.parts.post.send(partial(_letter, call, letter, user_id, issuer))


async def _letter(call: Call, letter: letters.OfLink, user_id: str, issuer: str) -> Letter | None:
    address = await address_of(call.parts, user_id)
    name = await call.parts.access_pool.fetchval("SELECT name FROM access.tenants WHERE tenant_id = $1", call.tenant_id)
    return letter(call.parts.settings, address, issuer=issuer, tenant_name=name) if address else None


def _id_of(call: Call) -> str:
    return call.id("identity_link_id", PREFIX, LinkNotFound)


async def _row(call: Call, link_id: str) -> Record | None:
    async with call.reading() as connection:
        return await connection.fetchrow(f"{_SELECT} WHERE tenant_id = $1 AND link_id = $2", call.tenant_id, link_id)


def _resource(call: Call, link_id: str, user_id: str | None, issuer: str) -> IdentityLinkResource:
    return {
        "id": link_id,
        "object": "identity_link",
        "user": user_id,
        "issuer": issuer,
        "is_believed": call.parts.identity.tokens.believes(issuer),
    }
