"""Specifications of tenants."""

from datetime import timedelta

from domain.commands import AsSuperAdmin
from domain.identity.authority import NotAllowed, NotSuperAdmin
from domain.identity.tenant import (
    PLATFORM,
    TENANT,
    CreateTenant,
    EnterTenant,
    Entry,
    LeaveTenant,
    PersonalDataRevealed,
    ReactivateTenant,
    RevealPersonalData,
    SuspendTenant,
    TenantAlreadyExists,
    TenantEntered,
    TenantIdReserved,
    TenantLeft,
    TenantNotEntered,
    TenantNotFound,
    TenantReactivated,
    TenantSuspended,
)
from domain.identity.user import SuperAdminUnmade, UserErased, UserSuspended
from domain.kernel.access import EntryAccess, TenantAccess
from domain.kernel.frozen import replace
from domain.kernel.tenant_mode import TenantMode
from testing.examples.identity import (
    ADA,
    BOB,
    TENANT_ID,
    add,
    create_key,
    create_tenant,
    registered,
    super_admin,
    tenant_created,
)
from testing.specification import NOW, given

SUSPEND = SuspendTenant(tenant_id=TENANT_ID, reason="unpaid")
SUSPENDED = TenantSuspended(tenant_id=TENANT_ID, reason="unpaid", suspended_at=NOW)
REACTIVATE = ReactivateTenant(tenant_id=TENANT_ID)
OPEN = TenantAccess(name="Acme", mode="live", created_at=NOW, suspended_at=None)
CLOSED = TenantAccess(name="Acme", mode="live", created_at=NOW, suspended_at=NOW)


def test_a_tenant_is_created_once() -> None:
    (
        given()
        .when(create_tenant())
        .then(tenant_created())
        .then_lets(OPEN)
        .when(create_tenant())
        .then_refused(TenantAlreadyExists, tenant=TENANT_ID)
    )


def test_no_tenant_has_the_id_of_the_platform() -> None:
    platform = CreateTenant(tenant_id=PLATFORM, name="Mine", mode=TenantMode.LIVE)
    given().when(platform).then_refused(TenantIdReserved)


def test_a_suspended_tenant_is_suspended_until_it_is_reactivated() -> None:
    (
        given(tenant_created())
        .when(SUSPEND)
        .then(SUSPENDED)
        .then_lets(CLOSED)
        .when(SUSPEND)
        .then_nothing()
        .when(REACTIVATE)
        .then(TenantReactivated(tenant_id=TENANT_ID))
        .then_lets(OPEN)
        .when(REACTIVATE)
        .then_nothing()
    )


def test_only_a_tenant_that_is_there_is_suspended_or_reactivated() -> None:
    for command in (SUSPEND, REACTIVATE):
        given().when(command).then_refused(TenantNotFound, tenant=TENANT_ID)


HOUR = timedelta(hours=1)
WHY = "ticket 4711"
ENTER = EnterTenant(tenant_id=TENANT_ID, user_id=ADA, reason=WHY)
ENTERED = TenantEntered(tenant_id=TENANT_ID, user_id=ADA, reason=WHY, entered_at=NOW, ends_at=NOW + HOUR)
REVEAL = RevealPersonalData(tenant_id=TENANT_ID, user_id=ADA, reason=WHY)
REVEALED = PersonalDataRevealed(tenant_id=TENANT_ID, user_id=ADA, reason=WHY)


def test_whoever_looks_after_the_cell_is_in_a_tenant_for_an_hour_and_sees_people_masked_until_they_ask() -> None:
    (
        given(tenant_created())
        .when(ENTER)
        .then(ENTERED)
        .then_lets(EntryAccess(user_id=ADA, ends_at=NOW + HOUR, is_revealed=False))
        .when(REVEAL)
        .then(REVEALED)
        .then_lets(EntryAccess(user_id=ADA, ends_at=NOW + HOUR, is_revealed=True))
        .when(REVEAL)
        .then_nothing()
        .when(REVEAL, at=NOW + HOUR)
        .then_refused(TenantNotEntered)
    )
    given(tenant_created()).when(REVEAL).then_refused(TenantNotEntered, tenant=TENANT_ID)
    given().when(ENTER).then_refused(TenantNotFound)


def test_whoever_enters_again_is_shown_masked_again() -> None:
    given(tenant_created(), ENTERED, REVEALED).when(ENTER).then_lets(
        EntryAccess(user_id=ADA, ends_at=NOW + HOUR, is_revealed=False)
    )


def test_a_tenant_remembers_those_who_are_in_it() -> None:
    later = EnterTenant(tenant_id=TENANT_ID, user_id=BOB, reason=WHY)
    own, others = (Entry(user_id=each, ends_at=NOW + HOUR, is_revealed=False) for each in (ADA, BOB))
    given(tenant_created(), ENTERED).when(later).then_shows(TENANT, TENANT_ID, entries=(own, others))
    given(tenant_created(), ENTERED).when(later, at=NOW + HOUR).then_shows(
        TENANT, TENANT_ID, entries=(replace(others, ends_at=NOW + 2 * HOUR),)
    )


def test_whoever_is_in_a_tenant_decides_there_as_an_admin_does_while_the_hour_lasts() -> None:
    entered = (*super_admin(), tenant_created(), ENTERED)
    for command in (add(BOB, by=ADA), create_key(by=ADA)):
        assert given(*entered).when(command).done.events
        given(*entered).when(command, at=NOW + HOUR).then_refused(NotAllowed)
        given(*super_admin(), tenant_created()).when(command).then_refused(NotAllowed)
        for taken_away in NO_MORE:
            given(*entered, taken_away).when(command).then_refused(NotAllowed)
        given(*entered, LEFT).when(command).then_refused(NotAllowed)


NO_MORE = (
    SuperAdminUnmade(user_id=ADA),
    UserSuspended(user_id=ADA),
    UserErased(user_id=ADA, erased_at=NOW),
)
LEAVE = LeaveTenant(tenant_id=TENANT_ID, user_id=ADA)
LEFT = TenantLeft(tenant_id=TENANT_ID, user_id=ADA, left_at=NOW)


def test_whoever_leaves_is_in_the_tenant_no_more() -> None:
    (
        given(tenant_created(), ENTERED)
        .when(LEAVE)
        .then(LEFT)
        .then_lets(EntryAccess(user_id=ADA, ends_at=None, is_revealed=None))
        .then_shows(TENANT, TENANT_ID, entries=())
        .when(REVEAL)
        .then_refused(TenantNotEntered)
    )
    given(tenant_created(), ENTERED, LEFT).when(ENTER).then(ENTERED)
    given(tenant_created(), ENTERED, LEFT).when(LEAVE).then_refused(TenantNotEntered, tenant=TENANT_ID)
    given(tenant_created(), ENTERED).when(LEAVE, at=NOW + HOUR).then_refused(TenantNotEntered)


def test_what_a_super_admin_asks_for_is_done_if_they_are_one_when_it_is_decided() -> None:
    for command in (ENTER, SUSPEND):
        asked = AsSuperAdmin(user_id=ADA, command=command)
        assert given(*super_admin(), tenant_created()).when(asked).done.events
        given(registered(), tenant_created()).when(asked).then_refused(NotSuperAdmin, user=ADA)
        given(tenant_created()).when(asked).then_refused(NotSuperAdmin)
        for taken_away in NO_MORE:
            given(*super_admin(), tenant_created(), taken_away).when(asked).then_refused(NotSuperAdmin)
