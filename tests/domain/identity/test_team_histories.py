"""The law of teams in random histories: never without an ADMIN once it has one, and nobody rises but by an ADMIN.

A model of a few lines says who is in, with which role, and whom other issuers know; the stream and the rows that it
lets must say the same.
"""

from datetime import timedelta

from hypothesis import given as of
from hypothesis import strategies as st

from domain.identity.foreign_subject import LinkSubject, UnlinkSubject
from domain.identity.permissions import Role
from domain.identity.team import (
    OF_TEAMS,
    TEAM,
    AcceptInvitation,
    AddMember,
    ChangeMemberRole,
    InviteMember,
    RemoveMember,
)
from domain.kernel.access import AccessChange, AccessKey, IdentityLinkAccess, MembershipAccess, apply
from domain.kernel.refusal import Refusal
from testing.examples.identity import TENANT_ID, add, tenant_created
from testing.specification import NOW, Books

PEOPLE = ("user_a", "user_b", "user_c", "user_d")
INVITATIONS = ("inv_1", "inv_2")
LINKS = ("idl_1", "idl_2", "idl_3")
SUBJECTS = ("1" * 64, "2" * 64)
WEEK = timedelta(days=7)

person = st.sampled_from(PEOPLE)
asking = st.none() | person
role = st.sampled_from(sorted(OF_TEAMS))
invitation = st.sampled_from(INVITATIONS)
Asked = AddMember | ChangeMemberRole | RemoveMember | InviteMember | AcceptInvitation | LinkSubject | UnlinkSubject
asked: st.SearchStrategy[Asked] = st.one_of(
    st.builds(AddMember, tenant_id=st.just(TENANT_ID), user_id=person, role=role, by=asking),
    st.builds(ChangeMemberRole, tenant_id=st.just(TENANT_ID), user_id=person, role=role, by=asking),
    st.builds(RemoveMember, tenant_id=st.just(TENANT_ID), user_id=person, by=asking),
    st.builds(
        InviteMember,
        tenant_id=st.just(TENANT_ID),
        invitation_id=invitation,
        user_id=asking,
        role=role,
        expires_at=st.just(NOW + WEEK),
        by=asking,
    ),
    st.builds(AcceptInvitation, tenant_id=st.just(TENANT_ID), invitation_id=invitation, user_id=person),
    st.builds(
        LinkSubject,
        tenant_id=st.just(TENANT_ID),
        link_id=st.sampled_from(LINKS),
        user_id=person,
        issuer=st.just("https://login.example.com"),
        subject_digest=st.sampled_from(SUBJECTS),
        by=asking,
    ),
    st.builds(UnlinkSubject, tenant_id=st.just(TENANT_ID), link_id=st.sampled_from(LINKS), by=asking),
)


class Model:
    """Who is in, and what is offered."""

    def __init__(self) -> None:
        self.roles = {PEOPLE[0]: Role.ADMIN}
        self.offers: dict[str, Role] = {}
        self.links: dict[str, tuple[str, str]] = {}

    def takes(self, command: Asked) -> bool:
        """Let a command happen, if it may."""
        roles, after, offers, links = self.roles, dict(self.roles), dict(self.offers), dict(self.links)
        if isinstance(command, AcceptInvitation):
            if command.invitation_id not in offers or command.user_id in roles:
                return False
            after[command.user_id] = offers.pop(command.invitation_id)
        else:
            leaves = isinstance(command, RemoveMember) and command.user_id == command.by
            if command.by is not None and not leaves and roles.get(command.by) is not Role.ADMIN:
                return False
            match command:
                case InviteMember():
                    if command.invitation_id in offers or command.user_id in roles:
                        return False
                    offers[command.invitation_id] = command.role
                case AddMember():
                    if command.user_id in roles:
                        return False
                    after[command.user_id] = command.role
                case ChangeMemberRole():
                    if command.user_id not in roles or command.user_id == command.by:
                        return False
                    after[command.user_id] = command.role
                case RemoveMember():
                    if after.pop(command.user_id, None) is None:
                        return False
                    links = {name: link for name, link in links.items() if link[0] != command.user_id}
                case LinkSubject():
                    is_taken = command.link_id in links or any(
                        command.subject_digest == digest for _, digest in links.values()
                    )
                    if command.user_id not in roles or is_taken:
                        return False
                    links[command.link_id] = command.user_id, command.subject_digest
                case UnlinkSubject():
                    if links.pop(command.link_id, None) is None:
                        return False
        if Role.ADMIN not in after.values():
            return False
        self.roles, self.offers, self.links = after, offers, links
        return True


@of(st.lists(asked, max_size=40))
def test_a_team_is_never_without_an_admin_whatever_is_asked_of_it(commands: list[Asked]) -> None:
    books, model = Books(), Model()
    rows: dict[AccessKey, AccessChange] = {}
    books.record(tenant_created())
    for change in books.do(add(PEOPLE[0]), NOW).access:
        apply(rows, TENANT_ID, change)
    for command in commands:
        try:
            done = books.do(command, NOW)
        except Refusal:
            assert not model.takes(command)
        else:
            assert model.takes(command)
            for change in done.access:
                apply(rows, TENANT_ID, change)
        team = books.get(TEAM, TENANT_ID)
        assert team is not None
        assert dict(team.roles) == model.roles
        assert Role.ADMIN in team.roles.values()
        assert {row.user_id: row.role for row in rows.values() if isinstance(row, MembershipAccess)} == team.roles
        linked = [row for row in rows.values() if isinstance(row, IdentityLinkAccess)]
        assert {row.link_id: (row.user_id, row.subject_digest) for row in linked} == model.links
