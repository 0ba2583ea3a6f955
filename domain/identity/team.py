"""The people of a tenant and their roles, on one stream, so that no team is ever without an ADMIN.

Its stream lies in the tenant, under the tenant's own id. Two admins who remove each other at once are decided one after
the other, and the second is no admin any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.identity.foreign_subject import ForeignSubject, SubjectLinked, SubjectUnlinked
from domain.identity.permissions import Role
from domain.kernel.access import AccessChange, IdentityLinkAccess, InvitationAccess, MembershipAccess
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic

OF_TEAMS: Final = frozenset({Role.ADMIN, Role.BILLING_ADMIN, Role.MERCHANT, Role.USER, Role.VIEWER})
INVITATION_LASTS_MAX: Final = timedelta(days=7)
INVITATIONS_MAX: Final = 100
"""Open at once: each may become mail to a stranger."""
RESENT_MAX: Final = 5
"""Times that one invitation is sent again: each is mail to somebody who may not want it."""
RESENT_EVERY_MIN: Final = timedelta(minutes=10)
MEMBERS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteMember:
    """`by` is the id of the user or the API key that asks, None for the platform; so it is in all commands here.

    Address and token are no facts: they lie elsewhere. `user_id` is whose address it is, where it is a user's; the
    event does not tell.
    """

    tenant_id: str
    invitation_id: str
    user_id: str | None
    role: Role
    expires_at: datetime
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawInvitation:
    tenant_id: str
    invitation_id: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendInvitation:
    """Another letter, whose link replaces the one before, and as much time as at first."""

    tenant_id: str
    invitation_id: str
    expires_at: datetime
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptInvitation:
    """The user whose address was invited takes the role that was offered."""

    tenant_id: str
    invitation_id: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMember:
    """Without an invitation: a tenant's first ADMIN, by the platform, or a user whom an admin knows."""

    tenant_id: str
    user_id: str
    role: Role
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMemberRole:
    tenant_id: str
    user_id: str
    role: Role
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMember:
    """Anybody may leave; others are removed by an admin."""

    tenant_id: str
    user_id: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInvited:
    tenant_id: str
    invitation_id: str
    role: Role
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationWithdrawn:
    tenant_id: str
    invitation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationResent:
    tenant_id: str
    invitation_id: str
    expires_at: datetime
    resent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded:
    tenant_id: str
    user_id: str
    role: Role
    invitation_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRoleChanged:
    tenant_id: str
    user_id: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved:
    tenant_id: str
    user_id: str


TeamEvent = (
    MemberInvited
    | InvitationWithdrawn
    | InvitationResent
    | MemberAdded
    | MemberRoleChanged
    | MemberRemoved
    | SubjectLinked
    | SubjectUnlinked
)


class TeamNotFound(Refusal):
    """This tenant has no team yet: add its first ADMIN."""

    code = "team_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "tenant"


class TeamNeedsAdmin(Refusal):
    """A team is never without an ADMIN: make somebody else ADMIN first."""

    code = "team_needs_admin"


class OwnRole(Refusal):
    """Nobody changes their own role: another ADMIN does."""

    code = "own_role"
    param = "user"


class NotARoleOfTeams(Refusal):
    """No member of a team has this role: it is the platform's, or a customer's in the portal."""

    code = "not_a_role_of_teams"
    kind = RefusalKind.INVALID
    param = "role"


class MemberNotFound(Refusal):
    """This user is no member of the team."""

    code = "member_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "user"


class AlreadyMember(Refusal):
    """This user is a member already: change their role."""

    code = "already_member"
    param = "user"


class TeamIsFull(Refusal):
    """The team has as many members, or open invitations, as it may: remove or withdraw some."""

    code = "team_full"


class InvitationNotFound(Refusal):
    """There is no such open invitation: it was accepted or withdrawn, or never made."""

    code = "invitation_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "invitation"


class InvitationAlreadyExists(Refusal):
    """An invitation of this id is open already."""

    code = "invitation_already_exists"


class InvitationExpired(Refusal):
    """The invitation has expired: ask for another one."""

    code = "invitation_expired"
    param = "invitation"


class InvitationResentTooOften(Refusal):
    """An invitation is sent again 5 times at most, 10 minutes apart: wait, or withdraw it and make another one."""

    code = "invitation_resent_too_often"
    param = "invitation"


class InvalidInvitationExpiry(Refusal):
    """An invitation lasts for up to 7 days from now."""

    code = "invalid_invitation_expiry"
    kind = RefusalKind.INVALID
    param = "expires_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """`resent` counts how often it was sent again; `resent_at` is the last time."""

    invitation_id: str
    role: Role
    expires_at: datetime
    resent: int
    resent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    user_id: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Members in the order they came, the invitations that are neither accepted nor withdrawn, and whom other issuers
    of tokens know.
    """

    tenant_id: str
    members: tuple[Member, ...]
    invitations: tuple[Invitation, ...]
    foreign_subjects: tuple[ForeignSubject, ...]

    @property
    def roles(self) -> Mapping[str, Role]:
        """Each member's role, by the user's id."""
        return {member.user_id: member.role for member in self.members}

    def role_of(self, user_id: str) -> Role | None:
        """A user's role; None if they are no member."""
        return self.roles.get(user_id)

    def is_last_admin(self, user_id: str) -> bool:
        """Whether the team would be without an ADMIN if it were without this one."""
        return [member.user_id for member in self.members if member.role is Role.ADMIN] == [user_id]


def evolve(team: Team | None, event: TeamEvent) -> Team:
    team = team or Team(tenant_id=event.tenant_id, members=(), invitations=(), foreign_subjects=())
    match event:
        case MemberInvited():
            new = Invitation(
                invitation_id=event.invitation_id,
                role=event.role,
                expires_at=event.expires_at,
                resent=0,
                resent_at=None,
            )
            return replace(team, invitations=(*team.invitations, new))
        case InvitationResent():
            return replace(team, invitations=tuple(_resent(each, event) for each in team.invitations))
        case InvitationWithdrawn():
            return replace(team, invitations=_without(team.invitations, event.invitation_id))
        case MemberAdded():
            member = Member(user_id=event.user_id, role=event.role)
            left = _without(team.invitations, event.invitation_id)
            return replace(team, members=(*team.members, member), invitations=left)
        case MemberRoleChanged():
            changed = Member(user_id=event.user_id, role=event.role)
            members = tuple(changed if each.user_id == event.user_id else each for each in team.members)
            return replace(team, members=members)
        case MemberRemoved():
            return replace(team, members=tuple(each for each in team.members if each.user_id != event.user_id))
        case SubjectLinked():
            link = ForeignSubject(
                link_id=event.link_id,
                user_id=event.user_id,
                issuer=event.issuer,
                subject_digest=event.subject_digest,
            )
            return replace(team, foreign_subjects=(*team.foreign_subjects, link))
        case SubjectUnlinked():
            linked = tuple(each for each in team.foreign_subjects if each.link_id != event.link_id)
            return replace(team, foreign_subjects=linked)


def _without(invitations: tuple[Invitation, ...], invitation_id: str | None) -> tuple[Invitation, ...]:
    return tuple(each for each in invitations if each.invitation_id != invitation_id)


def _resent(invitation: Invitation, event: InvitationResent) -> Invitation:
    if invitation.invitation_id != event.invitation_id:
        return invitation
    return replace(invitation, expires_at=event.expires_at, resent=invitation.resent + 1, resent_at=event.resent_at)


def access(event: TeamEvent, team: Team) -> tuple[AccessChange, ...]:
    match event:
        case MemberInvited():
            offer = InvitationAccess(
                invitation_id=event.invitation_id, role=event.role.value, expires_at=event.expires_at
            )
            return (offer,)
        case InvitationResent():
            (resent,) = (each for each in team.invitations if each.invitation_id == event.invitation_id)
            offer = InvitationAccess(
                invitation_id=event.invitation_id, role=resent.role.value, expires_at=event.expires_at
            )
            return (offer,)
        case InvitationWithdrawn():
            return (_closed(event.invitation_id),)
        case MemberAdded():
            closed = () if event.invitation_id is None else (_closed(event.invitation_id, was_accepted=True),)
            return (*closed, MembershipAccess(user_id=event.user_id, role=event.role.value))
        case MemberRoleChanged():
            return (MembershipAccess(user_id=event.user_id, role=event.role.value),)
        case MemberRemoved():
            return (MembershipAccess(user_id=event.user_id, role=None),)
        case SubjectLinked():
            link = IdentityLinkAccess(
                link_id=event.link_id,
                user_id=event.user_id,
                issuer=event.issuer,
                subject_digest=event.subject_digest,
            )
            return (link,)
        case SubjectUnlinked():
            return (IdentityLinkAccess(link_id=event.link_id, user_id=None, issuer="", subject_digest=""),)


def _closed(invitation_id: str, *, was_accepted: bool = False) -> InvitationAccess:
    return InvitationAccess(invitation_id=invitation_id, role=None, expires_at=None, was_accepted=was_accepted)


EVENTS: dict[str, type] = {
    "team.member_invited": MemberInvited,
    "team.invitation_withdrawn": InvitationWithdrawn,
    "team.invitation_resent": InvitationResent,
    "team.member_added": MemberAdded,
    "team.member_role_changed": MemberRoleChanged,
    "team.member_removed": MemberRemoved,
    "team.subject_linked": SubjectLinked,
    "team.subject_unlinked": SubjectUnlinked,
}

TEAM: Stream[Team] = Stream(
    name="team",
    id_field="tenant_id",
    topic=Topic.IDENTITY,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda team: None,
    not_found=TeamNotFound,
    access=access,
)
