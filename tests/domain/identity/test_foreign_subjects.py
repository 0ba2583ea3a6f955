"""Specifications of members as other issuers of tokens know them."""

from typing import Any

import pytest

from domain.identity import team_commands
from domain.identity.authority import NotAllowed
from domain.identity.foreign_subject import (
    LinkAlreadyExists,
    LinkNotFound,
    LinkSubject,
    SubjectAlreadyLinked,
    SubjectLinked,
    SubjectUnlinked,
    TooManyLinks,
    UnlinkSubject,
)
from domain.identity.permissions import Role
from domain.identity.team import MemberNotFound, MemberRemoved, RemoveMember, TeamNotFound
from domain.kernel.access import IdentityLinkAccess, MembershipAccess
from testing.examples.identity import ADA, BOB, EVE, TENANT_ID, added, tenant_created
from testing.examples.streams import id_of
from testing.specification import given

LINK, OTHER = id_of("idl_"), id_of("idl_", 2)
ISSUER = "https://login.example.com"
DIGEST = "a" * 64
TEAM = (tenant_created(), added(ADA), added(BOB, Role.VIEWER))


def link(**changes: Any) -> LinkSubject:
    usual: dict[str, Any] = {"link_id": LINK, "user_id": BOB, "subject_digest": DIGEST, "by": ADA}
    return LinkSubject(tenant_id=TENANT_ID, issuer=ISSUER, **{**usual, **changes})


def linked(**changes: Any) -> SubjectLinked:
    usual: dict[str, Any] = {"link_id": LINK, "user_id": BOB, "subject_digest": DIGEST}
    return SubjectLinked(tenant_id=TENANT_ID, issuer=ISSUER, **{**usual, **changes})


def unlink(by: str | None = ADA) -> UnlinkSubject:
    return UnlinkSubject(tenant_id=TENANT_ID, link_id=LINK, by=by)


UNLINKED = SubjectUnlinked(tenant_id=TENANT_ID, link_id=LINK)
GONE = IdentityLinkAccess(link_id=LINK, user_id=None, issuer="", subject_digest="")


@pytest.mark.parametrize("by", [ADA, None])
def test_an_admin_or_the_operator_links_a_member(by: str | None) -> None:
    row = IdentityLinkAccess(link_id=LINK, user_id=BOB, issuer=ISSUER, subject_digest=DIGEST)
    given(*TEAM).when(link(by=by)).then(linked()).then_lets(row)


def test_nobody_else_does_and_not_one_who_was_one() -> None:
    given(*TEAM).when(link(by=BOB)).then_refused(NotAllowed)
    given(*TEAM, linked()).when(unlink(by=BOB)).then_refused(NotAllowed)
    given(*TEAM).when(link(by=EVE)).then_refused(NotAllowed)


def test_only_a_member_is_linked() -> None:
    given(*TEAM).when(link(user_id=EVE)).then_refused(MemberNotFound)
    given(tenant_created()).when(link(by=None)).then_refused(TeamNotFound)


def test_a_subject_is_one_members_and_a_link_is_made_once() -> None:
    given(*TEAM, linked()).when(link(link_id=OTHER, user_id=ADA)).then_refused(SubjectAlreadyLinked)
    given(*TEAM, linked()).when(link(subject_digest="b" * 64)).then_refused(LinkAlreadyExists)
    another = linked(link_id=OTHER, subject_digest="b" * 64)
    given(*TEAM, linked()).when(link(link_id=OTHER, subject_digest="b" * 64)).then(another)


def test_a_team_has_so_many_links_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_commands, "LINKS_MAX", 1)
    given(*TEAM, linked()).when(link(link_id=OTHER, subject_digest="b" * 64)).then_refused(TooManyLinks)


def test_a_link_is_removed_once() -> None:
    given(*TEAM, linked()).when(unlink()).then(UNLINKED).then_lets(GONE)
    given(*TEAM, linked(), UNLINKED).when(unlink()).then_refused(LinkNotFound)
    given(*TEAM, linked(), UNLINKED).when(link()).then(linked())


def test_with_a_member_go_the_links() -> None:
    remove = RemoveMember(tenant_id=TENANT_ID, user_id=BOB, by=ADA)
    removed = MemberRemoved(tenant_id=TENANT_ID, user_id=BOB)
    others = linked(link_id=OTHER, user_id=ADA, subject_digest="b" * 64)
    no_member = MembershipAccess(user_id=BOB, role=None)
    given(*TEAM, linked(), others).when(remove).then(UNLINKED, removed).then_lets(GONE, no_member)
