"""What is decided about a tenant's team."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.identity.permissions import Role
from domain.identity.team import (
    INVITATION_LASTS_MAX,
    INVITATIONS_MAX,
    MEMBERS_MAX,
    OF_TEAMS,
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
    InvitationWithdrawn,
    InviteMember,
    MemberAdded,
    MemberInvited,
    MemberNotFound,
    MemberRemoved,
    MemberRoleChanged,
    NotAnAdmin,
    NotARoleOfTeams,
    OwnRole,
    RemoveMember,
    Team,
    TeamIsFull,
    TeamNeedsAdmin,
    WithdrawInvitation,
)
from domain.identity.tenant import TENANT
from domain.kernel.stream import Decision, Handler, Streams


def invite_member(command: InviteMember, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    _check_admin(team, command.by)
    _check_role(command.role)
    if any(each.invitation_id == command.invitation_id for each in team.invitations):
        raise InvitationAlreadyExists(invitation=command.invitation_id)
    if not now < command.expires_at <= now + INVITATION_LASTS_MAX:
        raise InvalidInvitationExpiry(expires_at=command.expires_at)
    if sum(each.expires_at > now for each in team.invitations) >= INVITATIONS_MAX:
        raise TeamIsFull(invitations_max=INVITATIONS_MAX)
    invited = MemberInvited(
        tenant_id=command.tenant_id,
        invitation_id=command.invitation_id,
        role=command.role,
        expires_at=command.expires_at,
    )
    # What has expired is cleared away here, so that no timer has to.
    over = [
        TEAM.change(InvitationWithdrawn(tenant_id=command.tenant_id, invitation_id=each.invitation_id))
        for each in team.invitations
        if each.expires_at <= now
    ]
    return Decision(now, [*over, TEAM.change(invited)])


def withdraw_invitation(command: WithdrawInvitation, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    _check_admin(team, command.by)
    _open(team, command.invitation_id)
    withdrawn = InvitationWithdrawn(tenant_id=command.tenant_id, invitation_id=command.invitation_id)
    return Decision(now, [TEAM.change(withdrawn)])


def accept_invitation(command: AcceptInvitation, streams: Streams, now: datetime) -> Decision:
    """Once: an invitation that is accepted is open no more. Whoever invited may have left; the offer stands."""
    team = TEAM.of(streams, command.tenant_id)
    invitation = _open(team, command.invitation_id)
    if invitation.expires_at <= now:
        raise InvitationExpired(invitation=command.invitation_id)
    return _added(team, command.tenant_id, command.user_id, invitation.role, command.invitation_id, now)


def add_member(command: AddMember, streams: Streams, now: datetime) -> Decision:
    TENANT.of(streams, command.tenant_id)
    _check_role(command.role)
    team = streams.get(TEAM, command.tenant_id)
    if team is None:
        if command.by is not None:
            raise NotAnAdmin(user=command.by)
        if command.role is not Role.ADMIN:
            raise TeamNeedsAdmin(role=command.role.value)
    else:
        _check_admin(team, command.by)
    return _added(team, command.tenant_id, command.user_id, command.role, None, now)


def change_member_role(command: ChangeMemberRole, streams: Streams, now: datetime) -> Decision:
    team = TEAM.of(streams, command.tenant_id)
    _check_admin(team, command.by)
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
        _check_admin(team, command.by)
    if team.role_of(command.user_id) is None:
        raise MemberNotFound(user=command.user_id)
    if team.is_last_admin(command.user_id):
        raise TeamNeedsAdmin(user=command.user_id)
    removed = MemberRemoved(tenant_id=command.tenant_id, user_id=command.user_id)
    return Decision(now, [TEAM.change(removed)])


def _check_admin(team: Team, by: str | None) -> None:
    """Whoever asks is an ADMIN as of now, or the platform. Raises NotAnAdmin."""
    if by is not None and team.role_of(by) is not Role.ADMIN:
        raise NotAnAdmin(user=by)


def _check_role(role: Role) -> None:
    if role not in OF_TEAMS:
        raise NotARoleOfTeams(role=role.value)


def _open(team: Team, invitation_id: str) -> Invitation:
    for invitation in team.invitations:
        if invitation.invitation_id == invitation_id:
            return invitation
    raise InvitationNotFound(invitation=invitation_id)


def _added(
    team: Team | None, tenant_id: str, user_id: str, role: Role, invitation_id: str | None, now: datetime
) -> Decision:
    if team is not None and team.role_of(user_id) is not None:
        raise AlreadyMember(user=user_id)
    if team is not None and len(team.members) >= MEMBERS_MAX:
        raise TeamIsFull(members_max=MEMBERS_MAX)
    added = MemberAdded(tenant_id=tenant_id, user_id=user_id, role=role, invitation_id=invitation_id)
    return Decision(now, [TEAM.change(added)])


HANDLERS: Final[Mapping[type, Handler]] = {
    InviteMember: invite_member,
    WithdrawInvitation: withdraw_invitation,
    AcceptInvitation: accept_invitation,
    AddMember: add_member,
    ChangeMemberRole: change_member_role,
    RemoveMember: remove_member,
}
