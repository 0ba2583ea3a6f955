"""A member of a team, as another issuer of tokens knows them: whoever that issuer calls so is this member, here.

A link is the tenant's own, and good there alone: an ADMIN of one tenant gains nothing of a member's power in another.
The subject may be a name or an address, so it is in no event; a keyed digest is, which takes the master key to make.
"""

from dataclasses import dataclass
from typing import Final

from domain.kernel.refusal import Refusal, RefusalKind

LINKS_MAX: Final = 2_000
"""Of one team: two for each member that it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSubject:
    """`by` is the id of the user or the API key that asks, None for the platform."""

    tenant_id: str
    link_id: str
    user_id: str
    issuer: str
    subject_digest: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkSubject:
    tenant_id: str
    link_id: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectLinked:
    tenant_id: str
    link_id: str
    user_id: str
    issuer: str
    subject_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectUnlinked:
    tenant_id: str
    link_id: str


class SubjectAlreadyLinked(Refusal):
    """This subject of the issuer is linked in the tenant already: remove that link first."""

    code = "subject_already_linked"
    param = "subject"


class LinkNotFound(Refusal):
    """There is no such link: it was removed, or never made."""

    code = "identity_link_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "identity_link"


class LinkAlreadyExists(Refusal):
    """A link of this id exists already."""

    code = "identity_link_already_exists"


class TooManyLinks(Refusal):
    """The team has as many links as it may: remove some."""

    code = "too_many_identity_links"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSubject:
    """`subject_digest` (64 hex digits) tells issuer and subject; one of them is one member's."""

    link_id: str
    user_id: str
    issuer: str
    subject_digest: str
