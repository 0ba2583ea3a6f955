"""What is decided about a tenant's team."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from domain.identity.authority import check_may
from domain.identity.foreign_subject import (
    LINKS_MAX,
    LinkAlreadyExists,
    LinkNotFound,
    LinkSubject,
    SubjectAlreadyLinked,
    SubjectLinked,
    SubjectUnlinked,
    TooManyLinks,
    UnlinkSubject,
)
from domain.identity.permissions import Permission, Role
from domain.identity.team import (
    INVITATION_LASTS_MAX,
    INVITATIONS_MAX,
    MEMBERS_MAX,
    OF_TEAMS,
    RESENT_EVERY_MIN,
    RESENT_MAX,
    TEAM,
    AcceptInvitation,
    AddMember,
    AlreadyMember,
    ChangeMemberRole,
    InvalidInvitationExpiry,
    Invitation,
    InvitationAlreadyExists,
    InvitationExpired,
    InvitationNotFound,
    InvitationResent,
    InvitationResentTooOften,
    InvitationWithdrawn,
    InviteMember,
    MemberAdded,
    MemberInvited,
    MemberNotFound,
    MemberRemoved,
    MemberRoleChanged,
    NotARoleOfTeams,
    OwnRole,
    RemoveMember,
    ResendInvitation,
    Team,
    TeamIsFull,
    TeamNeedsAdmin,
    WithdrawInvitation,
)
from domain.identity.tenant import TENANT
from domain.kernel.stream import Decision, Handler, Streams


def _team_of(streams: Streams, tenant_id: str) -> Team:
    """The team; nobody where only API keys have used the tenant so far. Its first member is an ADMIN."""
    team = streams.get(TEAM, tenant_id)
    if team is None:
        TENANT.of(streams, tenant_id)
        return Team(tenant_id=tenant_id, members=(), invitations=(), foreign_subjects=())
    return team


def invite_member(command: InviteMember, streams: Streams, now: datetime) -> Decision:
    team = _team_of(streams, command.tenant_id)
    _check_may(streams, command, now)
    _check_role(command.role)
    if command.user_id is not None and team.role_of(command.user_id) is not None:
        raise AlreadyMember(user=command.user_id)
    if any(each.invitation_id == command.invitation_id for each in team.invitations):
        raise InvitationAlreadyExists(invitation=command.invitation_id)
    _check_expiry(command.expires_at, now)
    if sum(each.expires_at > now for each in team.invitations) >= INVITATIONS_MAX:
        raise TeamIsFull(invitations_max=INVITATIONS_MAX)
    invited = MemberInvited(
        tenant_id=command.tenant_id,
        invitation_id=command.invitation_id,
        role=command.role,
        expires_at=command.expires_at,
    )
    # What has expired makes room here; what nobody makes room for is cleared away after a while (api/upkeep.py).
    over = [
        TEAM.change(InvitationWithdrawn(tenant_id=command.tenant_id, invitation_id=each.invitation_id))
        for each in team.invitations
        if each.expires_at <= now
    ]
    return Decision(now, [*over, TEAM.change(invited)])


def withdraw_invitation(command: WithdrawInvitation, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    _check_may(streams, command, now)
    _open(team, command.invitation_id)
    withdrawn = InvitationWithdrawn(tenant_id=command.tenant_id, invitation_id=command.invitation_id)
    return Decision(now, [TEAM.change(withdrawn)])


def resend_invitation(command: ResendInvitation, streams: Streams, now: datetime) -> Decision:
    """Of one that is open. Whether its letter came is nobody's to know; how many there are is bounded."""
    team = TEAM.of(streams, command.tenant_id)
    _check_may(streams, command, now)
    invitation = _open(team, command.invitation_id)
    if invitation.expires_at <= now:
        raise InvitationExpired(invitation=command.invitation_id)
    _check_expiry(command.expires_at, now)
    last = invitation.resent_at
    if invitation.resent >= RESENT_MAX or (last is not None and now < last + RESENT_EVERY_MIN):
        raise InvitationResentTooOften(invitation=command.invitation_id, resent=invitation.resent, last=last)
    resent = InvitationResent(
        tenant_id=command.tenant_id,
        invitation_id=command.invitation_id,
        expires_at=command.expires_at,
        resent_at=now,
    )
    return Decision(now, [TEAM.change(resent)])


def _check_expiry(expires_at: datetime, now: datetime) -> None:
    if not now < expires_at <= now + INVITATION_LASTS_MAX:
        raise InvalidInvitationExpiry(expires_at=expires_at)


def accept_invitation(command: AcceptInvitation, streams: Streams, now: datetime) -> Decision:
    """Once: an invitation that is accepted is open no more. Whoever invited may have left; the offer stands."""
    team = TEAM.of(streams, command.tenant_id)
    invitation = _open(team, command.invitation_id)
    if invitation.expires_at <= now:
        raise InvitationExpired(invitation=command.invitation_id)
    return _added(team, command.tenant_id, command.user_id, invitation.role, command.invitation_id, now)


def add_member(command: AddMember, streams: Streams, now: datetime) -> Decision:
    TENANT.of(streams, command.tenant_id)
    team = _team_of(streams, command.tenant_id)
    _check_role(command.role)
    _check_may(streams, command, now)
    return _added(team, command.tenant_id, command.user_id, command.role, None, now)


def change_member_role(command: ChangeMemberRole, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    _check_may(streams, command, now)
    _check_role(command.role)
    role = team.role_of(command.user_id)
    if role is None:
        raise MemberNotFound(user=command.user_id)
    if command.user_id == command.by:
        raise OwnRole(user=command.user_id)
    if role is command.role:
        return Decision(now, [])
    if team.is_last_admin(command.user_id):
        raise TeamNeedsAdmin(user=command.user_id)
    changed = MemberRoleChanged(tenant_id=command.tenant_id, user_id=command.user_id, role=command.role)
    return Decision(now, [TEAM.change(changed)])


def remove_member(command: RemoveMember, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    if command.user_id != command.by:
        _check_may(streams, command, now)
    if team.role_of(command.user_id) is None:
        raise MemberNotFound(user=command.user_id)
    if team.is_last_admin(command.user_id):
        raise TeamNeedsAdmin(user=command.user_id)
    # Whoever becomes a member again is not whom another issuer's subject meant before.
    unlinked = [
        TEAM.change(SubjectUnlinked(tenant_id=command.tenant_id, link_id=each.link_id))
        for each in team.foreign_subjects
        if each.user_id == command.user_id
    ]
    removed = MemberRemoved(tenant_id=command.tenant_id, user_id=command.user_id)
    return Decision(now, [*unlinked, TEAM.change(removed)])


def link_subject(command: LinkSubject, streams: Streams, now: datetime) -> Decision:
    """What the member may do stays their role's matter."""
    team = TEAM.of(streams, command.tenant_id)
    _check_may(streams, command, now)
    if team.role_of(command.user_id) is None:
        raise MemberNotFound(user=command.user_id)
    if any(each.link_id == command.link_id for each in team.foreign_subjects):
        raise LinkAlreadyExists(identity_link=command.link_id)
    if any(each.subject_digest == command.subject_digest for each in team.foreign_subjects):
        raise SubjectAlreadyLinked(issuer=command.issuer)
    if len(team.foreign_subjects) >= LINKS_MAX:
        raise TooManyLinks(identity_links_max=LINKS_MAX)
    linked = SubjectLinked(
        tenant_id=command.tenant_id,
        link_id=command.link_id,
        user_id=command.user_id,
        issuer=command.issuer,
        subject_digest=command.subject_digest,
    )
    return Decision(now, [TEAM.change(linked)])


def unlink_subject(command: UnlinkSubject, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    _check_may(streams, command, now)
    if all(each.link_id != command.link_id for each in team.foreign_subjects):
        raise LinkNotFound(identity_link=command.link_id)
    unlinked = SubjectUnlinked(tenant_id=command.tenant_id, link_id=command.link_id)
    return Decision(now, [TEAM.change(unlinked)])


class _Asked(Protocol):
    @property
    def tenant_id(self) -> str: ...

    @property
    def by(self) -> str | None: ...


def _check_may(streams: Streams, command: _Asked, now: datetime) -> None:
    """Whoever asks decides about members as of now. Raises NotAllowed."""
    check_may(streams, command.tenant_id, command.by, Permission.USERS_WRITE, now)


def _check_role(role: Role) -> None:
    if role not in OF_TEAMS:
        raise NotARoleOfTeams(role=role.value)


def _open(team: Team, invitation_id: str) -> Invitation:
    for invitation in team.invitations:
        if invitation.invitation_id == invitation_id:
            return invitation
    raise InvitationNotFound(invitation=invitation_id)


def _added(team: Team, tenant_id: str, user_id: str, role: Role, invitation_id: str | None, now: datetime) -> Decision:
    if team.role_of(user_id) is not None:
        raise AlreadyMember(user=user_id)
    if not team.members and role is not Role.ADMIN:
        raise TeamNeedsAdmin(role=role.value)
    if len(team.members) >= MEMBERS_MAX:
        raise TeamIsFull(members_max=MEMBERS_MAX)
    added = MemberAdded(tenant_id=tenant_id, user_id=user_id, role=role, invitation_id=invitation_id)
    return Decision(now, [TEAM.change(added)])


HANDLERS: Final[Mapping[type, Handler]] = {
    InviteMember: invite_member,
    WithdrawInvitation: withdraw_invitation,
    ResendInvitation: resend_invitation,
    AcceptInvitation: accept_invitation,
    AddMember: add_member,
    ChangeMemberRole: change_member_role,
    RemoveMember: remove_member,
    LinkSubject: link_subject,
    UnlinkSubject: unlink_subject,
}
