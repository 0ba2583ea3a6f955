"""Specifications of teams."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.identity import team as teams
from domain.identity.api_key import ApiKeyRevoked
from domain.identity.authority import NotAllowed
from domain.identity.permissions import Role, Scope
from domain.identity.team import (
    TEAM,
    AcceptInvitation,
    AlreadyMember,
    ChangeMemberRole,
    InvalidInvitationExpiry,
    InvitationAlreadyExists,
    InvitationExpired,
    InvitationNotFound,
    InvitationResent,
    InvitationResentTooOften,
    InvitationWithdrawn,
    InviteMember,
    MemberInvited,
    MemberNotFound,
    MemberRemoved,
    MemberRoleChanged,
    NotARoleOfTeams,
    OwnRole,
    RemoveMember,
    ResendInvitation,
    TeamIsFull,
    TeamNeedsAdmin,
    TeamNotFound,
    WithdrawInvitation,
)
from domain.identity.tenant import TenantNotFound
from domain.identity.user import UserErased, UserSuspended
from domain.kernel.access import InvitationAccess, MembershipAccess
from domain.kernel.frozen import replace
from domain.kernel.stream import Command
from testing.examples.identity import (
    ADA,
    BOB,
    EVE,
    INVITATION_ID,
    KEY_ID,
    LATER,
    TENANT_ID,
    add,
    added,
    key_created,
    registered,
    tenant_created,
)
from testing.examples.streams import id_of
from testing.specification import NOW, given

WEEK = timedelta(days=7)
INVITED = MemberInvited(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, role=Role.VIEWER, expires_at=NOW + WEEK)
WITHDRAW = WithdrawInvitation(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, by=ADA)
WITHDRAWN = InvitationWithdrawn(tenant_id=TENANT_ID, invitation_id=INVITATION_ID)
CLOSED = InvitationAccess(invitation_id=INVITATION_ID, role=None, expires_at=None)
ACCEPT = AcceptInvitation(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, user_id=BOB)


def invite(**changes: Any) -> InviteMember:
    usual: dict[str, Any] = {"invitation_id": INVITATION_ID, "role": Role.VIEWER, "expires_at": NOW + WEEK, "by": ADA}
    return InviteMember(tenant_id=TENANT_ID, **{"user_id": None, **usual, **changes})


def change_role(user_id: str, role: Role, by: str | None = ADA) -> ChangeMemberRole:
    return ChangeMemberRole(tenant_id=TENANT_ID, user_id=user_id, role=role, by=by)


def role_changed(user_id: str, role: Role) -> MemberRoleChanged:
    return MemberRoleChanged(tenant_id=TENANT_ID, user_id=user_id, role=role)


def remove(user_id: str, by: str | None = ADA) -> RemoveMember:
    return RemoveMember(tenant_id=TENANT_ID, user_id=user_id, by=by)


def removed(user_id: str) -> MemberRemoved:
    return MemberRemoved(tenant_id=TENANT_ID, user_id=user_id)


def may(user_id: str, role: Role | None) -> MembershipAccess:
    return MembershipAccess(user_id=user_id, role=None if role is None else role.value)


def test_a_team_begins_with_an_admin_whom_the_platform_adds() -> None:
    given(tenant_created()).when(add(ADA)).then(added(ADA)).then_lets(may(ADA, Role.ADMIN))
    given(tenant_created()).when(add(ADA, Role.VIEWER)).then_refused(TeamNeedsAdmin)
    given(tenant_created()).when(add(ADA, by=ADA)).then_refused(NotAllowed)
    given().when(add(ADA)).then_refused(TenantNotFound)


def test_an_admin_adds_members_with_any_role_of_teams() -> None:
    for role in teams.OF_TEAMS:
        given(tenant_created(), added(ADA)).when(add(BOB, role, by=ADA)).then(added(BOB, role)).then_lets(
            may(BOB, role)
        )


@pytest.mark.parametrize("role", sorted(set(Role) - teams.OF_TEAMS))
def test_nobody_is_made_what_is_no_role_of_teams(role: Role) -> None:
    for command in (add(BOB, role, by=ADA), invite(role=role), change_role(BOB, role)):
        given(tenant_created(), added(ADA), added(BOB)).when(command).then_refused(NotARoleOfTeams, role=role.value)


def test_whoever_is_a_member_is_not_added_again() -> None:
    given(tenant_created(), added(ADA), added(BOB)).when(add(BOB, by=ADA)).then_refused(AlreadyMember, user=BOB)
    given(added(ADA), added(BOB), INVITED).when(ACCEPT).then_refused(AlreadyMember, user=BOB)
    given(added(ADA), added(BOB)).when(invite(user_id=BOB)).then_refused(AlreadyMember, user=BOB)
    given(added(ADA)).when(invite(user_id=BOB)).then(INVITED)


@pytest.mark.parametrize("by", [BOB, EVE])
@pytest.mark.parametrize(
    "command",
    [
        lambda by: add(id_of("user_", 9), Role.VIEWER, by=by),
        lambda by: invite(by=by, invitation_id=id_of("inv_", 2)),
        lambda by: WithdrawInvitation(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, by=by),
        lambda by: change_role(ADA, Role.VIEWER, by=by),
        lambda by: remove(ADA, by=by),
    ],
)
def test_only_an_admin_of_the_team_decides_about_others(command: Any, by: str) -> None:
    history = (tenant_created(), added(ADA), added(BOB, Role.BILLING_ADMIN), INVITED)
    given(*history).when(command(by)).then_refused(NotAllowed, permission="users:write")


def test_an_invitation_is_accepted_once_with_the_role_that_was_offered() -> None:
    (
        given(added(ADA))
        .when(invite())
        .then(INVITED)
        .then_lets(InvitationAccess(invitation_id=INVITATION_ID, role="viewer", expires_at=NOW + WEEK))
        .when(ACCEPT)
        .then(added(BOB, Role.VIEWER, INVITATION_ID))
        .then_lets(replace(CLOSED, was_accepted=True), may(BOB, Role.VIEWER))
        .then_shows(TEAM, TENANT_ID, invitations=())
        .when(AcceptInvitation(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, user_id=EVE))
        .then_refused(InvitationNotFound)
    )


def test_a_withdrawn_invitation_is_open_no_more() -> None:
    for command in (ACCEPT, WITHDRAW):
        withdrawn = given(added(ADA), INVITED).when(WITHDRAW).then(WITHDRAWN).then_lets(CLOSED)
        withdrawn.when(command).then_refused(InvitationNotFound)


def test_an_invitation_that_has_expired_lets_nobody_in() -> None:
    given(added(ADA), INVITED).when(ACCEPT, at=NOW + WEEK).then_refused(InvitationExpired)


def test_an_invitation_lasts_for_a_week_at_most() -> None:
    for expires_at in (NOW, NOW + WEEK + timedelta(seconds=1)):
        given(added(ADA)).when(invite(expires_at=expires_at)).then_refused(InvalidInvitationExpiry)


def test_an_open_invitation_is_not_made_again() -> None:
    given(added(ADA), INVITED).when(invite()).then_refused(InvitationAlreadyExists)


def test_what_has_expired_is_cleared_away_by_the_next_invitation() -> None:
    second = invite(invitation_id=id_of("inv_", 2), expires_at=NOW + 2 * WEEK)
    invited = MemberInvited(
        tenant_id=TENANT_ID, invitation_id=second.invitation_id, role=Role.VIEWER, expires_at=second.expires_at
    )
    given(added(ADA), INVITED).when(second, at=NOW + WEEK).then(WITHDRAWN, invited)


def test_a_team_has_so_many_open_invitations_and_members_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.identity.team_commands.INVITATIONS_MAX", 1)
    monkeypatch.setattr("domain.identity.team_commands.MEMBERS_MAX", 1)
    given(added(ADA), INVITED).when(invite(invitation_id=id_of("inv_", 2))).then_refused(TeamIsFull)
    given(added(ADA), INVITED).when(ACCEPT).then_refused(TeamIsFull)


def test_a_role_changes_at_once() -> None:
    (
        given(added(ADA), added(BOB, Role.VIEWER))
        .when(change_role(BOB, Role.ADMIN))
        .then(role_changed(BOB, Role.ADMIN))
        .then_lets(may(BOB, Role.ADMIN))
        .when(change_role(BOB, Role.ADMIN))
        .then_nothing()
    )


def test_nobody_changes_their_own_role() -> None:
    given(added(ADA), added(BOB)).when(change_role(ADA, Role.VIEWER)).then_refused(OwnRole, user=ADA)


@pytest.mark.parametrize("by", [None, ADA])
def test_the_last_admin_stays_whoever_asks(by: str | None) -> None:
    given(added(ADA), added(BOB, Role.VIEWER)).when(remove(ADA, by=by)).then_refused(TeamNeedsAdmin)
    given(added(ADA)).when(change_role(ADA, Role.VIEWER, by=None)).then_refused(TeamNeedsAdmin)


def test_a_member_leaves_and_an_admin_removes() -> None:
    for by in (ADA, BOB, None):
        given(added(ADA), added(BOB, Role.VIEWER)).when(remove(BOB, by=by)).then(removed(BOB)).then_lets(may(BOB, None))


def test_of_two_admins_who_remove_each_other_one_remains() -> None:
    (
        given(added(ADA), added(BOB))
        .when(remove(BOB, by=ADA))
        .then(removed(BOB))
        .when(remove(ADA, by=BOB))
        .then_refused(NotAllowed)
    )


def test_whoever_is_no_member_is_neither_changed_nor_removed() -> None:
    for command in (change_role(EVE, Role.VIEWER), remove(EVE)):
        given(added(ADA)).when(command).then_refused(MemberNotFound, user=EVE)


def test_without_a_team_there_is_nobody_to_decide() -> None:
    given().when(invite()).then_refused(TenantNotFound, tenant=TENANT_ID)
    commands: list[Command] = [WITHDRAW, ACCEPT, change_role(BOB, Role.VIEWER), remove(BOB)]
    for command in commands:
        given().when(command).then_refused(TeamNotFound, tenant=TENANT_ID)


def test_an_api_key_with_the_scope_admin_decides_like_an_admin_until_it_is_over() -> None:
    history = (tenant_created(), key_created(scope=Scope.ADMIN), added(ADA), added(BOB, Role.VIEWER), INVITED)
    for command in (add(EVE, by=KEY_ID), change_role(BOB, Role.ADMIN, by=KEY_ID), remove(BOB, by=KEY_ID)):
        assert given(*history).when(command).done.events
        over = (*history, ApiKeyRevoked(key_id=KEY_ID, revoked_at=NOW))
        given(*over).when(command).then_refused(NotAllowed)
        given(*history).when(command, at=LATER).then_refused(NotAllowed)


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
def test_an_api_key_of_less_decides_about_nobody(scope: Scope) -> None:
    history = (tenant_created(), key_created(scope=scope), added(ADA), added(BOB, Role.VIEWER))
    for command in (
        invite(by=KEY_ID),
        add(EVE, by=KEY_ID),
        change_role(BOB, Role.ADMIN, by=KEY_ID),
        remove(BOB, KEY_ID),
    ):
        given(*history).when(command).then_refused(NotAllowed)


def test_a_key_invites_a_tenants_first_member_who_is_an_admin() -> None:
    history = (tenant_created(), key_created(scope=Scope.ADMIN))
    viewer, admin = invite(by=KEY_ID), invite(by=KEY_ID, role=Role.ADMIN)
    given(*history).when(viewer).when(ACCEPT).then_refused(TeamNeedsAdmin, role="viewer")
    given(*history).when(admin).when(ACCEPT).then(added(BOB, Role.ADMIN, INVITATION_ID))


def resend(at: datetime = NOW, by: str | None = ADA) -> ResendInvitation:
    return ResendInvitation(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, expires_at=at + WEEK, by=by)


def resent(at: datetime) -> InvitationResent:
    return InvitationResent(tenant_id=TENANT_ID, invitation_id=INVITATION_ID, expires_at=at + WEEK, resent_at=at)


def test_an_invitation_that_is_sent_again_is_open_for_as_long_as_at_first() -> None:
    later = NOW + timedelta(days=6)
    (
        given(added(ADA), INVITED)
        .when(resend(later), at=later)
        .then(resent(later))
        .then_lets(InvitationAccess(invitation_id=INVITATION_ID, role="viewer", expires_at=later + WEEK))
        .when(ACCEPT, at=NOW + timedelta(days=8))
        .then(added(BOB, Role.VIEWER, INVITATION_ID))
    )
    given(added(ADA), INVITED).when(resend(NOW + WEEK), at=NOW + WEEK).then_refused(InvitationExpired)
    given(added(ADA)).when(resend()).then_refused(InvitationNotFound)
    given(added(ADA), added(BOB, Role.VIEWER), INVITED).when(resend(by=BOB)).then_refused(NotAllowed)
    too_long = replace(resend(), expires_at=NOW + WEEK + timedelta(seconds=1))
    given(added(ADA), INVITED).when(too_long).then_refused(InvalidInvitationExpiry)


def test_how_often_an_invitation_is_sent_again_is_bounded() -> None:
    times = [NOW + number * teams.RESENT_EVERY_MIN for number in range(teams.RESENT_MAX + 1)]
    asked = given(added(ADA), INVITED)
    for at in times[:-1]:
        soon = at + teams.RESENT_EVERY_MIN - timedelta(seconds=1)
        asked = asked.when(resend(at), at=at).then(resent(at))
        asked = asked.when(resend(soon), at=soon).then_refused(InvitationResentTooOften)
    asked.when(resend(times[-1]), at=times[-1]).then_refused(InvitationResentTooOften, resent=teams.RESENT_MAX)


def test_whoever_the_platform_suspends_decides_nothing_in_a_team() -> None:
    for suspended in (UserSuspended(user_id=ADA), UserErased(user_id=ADA, erased_at=NOW)):
        history = (registered(), added(ADA), added(BOB), INVITED, suspended)
        given(*history).when(remove(BOB)).then_refused(NotAllowed)
        given(*history).when(resend()).then_refused(NotAllowed)
