"""Specifications of tenants."""

from domain.identity.tenant import (
    PLATFORM,
    CreateTenant,
    ReactivateTenant,
    SuspendTenant,
    TenantAlreadyExists,
    TenantIdReserved,
    TenantNotFound,
    TenantReactivated,
    TenantSuspended,
)
from domain.kernel.access import TenantAccess
from domain.kernel.tenant_mode import TenantMode
from testing.examples.identity import TENANT_ID, create_tenant, tenant_created
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
