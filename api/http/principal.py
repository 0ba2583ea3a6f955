"""Who asks: what a credential says of them, whatever kind of credential it is."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from api.http.addresses import Network
from domain.identity.permissions import Holder, Permission, Scope, permissions_of, sees_masked
from domain.identity.tenant import PLATFORM
from domain.kernel.tenant_mode import TenantMode

NO_LIMITS: Final[Mapping[Scope, int]] = MappingProxyType({})


class PrincipalKind(StrEnum):
    """What sort of principal; an event's actor begins with it."""

    API_KEY = "api_key"
    USER = "user"
    CUSTOMER = "customer"


class Principal(NamedTuple):
    """Who asks. `id` is the key's, the user's or the customer's, `session` that of whoever logged in.

    `permissions` is where the edge looks for what an operation needs. With a `customer_id` only what is that customer's
    own is seen and changed, and they subscribe to `plan_ids` alone (None: whichever they name); `masked` says that
    personal data are shown masked, `is_suspended` that the tenant may be looked at and not changed. `confirmed_at` is
    when a user last entered their password, `expires_at` when an API key ends. It works from its `allowed_networks`
    alone, where it has any; `hourly` are its own limits of requests an hour, by the class of the operation.
    """

    kind: PrincipalKind
    tenant_id: str
    id: str
    mode: TenantMode
    permissions: frozenset[Permission]
    session: str | None = None
    customer_id: str | None = None
    plan_ids: frozenset[str] | None = None
    masked: bool = True
    is_suspended: bool = False
    confirmed_at: datetime | None = None
    expires_at: datetime | None = None
    allowed_networks: tuple[Network, ...] = ()
    hourly: Mapping[Scope, int] = NO_LIMITS
    has_entered: bool = False
    """Whoever looks after the cell, in a tenant that is not theirs: events say for whom they act."""

    @property
    def actor(self) -> str:
        """Who does this, as events record it."""
        actor = f"{self.kind}:{self.id}"
        return f"{actor} for {self.tenant_id}" if self.has_entered else actor


NOBODY: Final = Principal(PrincipalKind.API_KEY, "", "", TenantMode.LIVE, frozenset())
"""Who asks an open operation without a credential."""


OWN_PROFILE: Final = frozenset({Permission.PROFILE_READ, Permission.PROFILE_WRITE})


def unplaced(user_id: str, session: str, confirmed_at: datetime) -> Principal:
    """A user who has not said in which of their tenants they ask: their own profile and sessions are all they reach."""
    return Principal(PrincipalKind.USER, "", user_id, TenantMode.LIVE, OWN_PROFILE, session, confirmed_at=confirmed_at)


def unplaced_elsewhere(user_id: str) -> Principal:
    """Whom a foreign issuer vouches for and who has not said in which of their tenants they ask: they reach nothing."""
    return Principal(PrincipalKind.USER, "", user_id, TenantMode.LIVE, frozenset())


OF_THE_PLATFORM: Final = OWN_PROFILE | {
    Permission.TENANTS_READ,
    Permission.TENANTS_WRITE,
    Permission.AUDIT_READ,
}


def of_platform(user_id: str, session: str, confirmed_at: datetime) -> Principal:
    """Whoever looks after the cell, in no tenant: they see which tenants there are, and enter them."""
    return Principal(
        PrincipalKind.USER, PLATFORM, user_id, TenantMode.LIVE, OF_THE_PLATFORM, session, confirmed_at=confirmed_at
    )


def principal_of(
    kind: PrincipalKind,
    holder: Holder,
    *,
    tenant_id: str,
    principal_id: str,
    mode: TenantMode,
    session: str | None = None,
    is_suspended: bool = False,
) -> Principal:
    """The principal with what a role or a scope holds. A customer's own id is theirs."""
    return Principal(
        kind,
        tenant_id,
        principal_id,
        mode,
        permissions_of(holder),
        session,
        principal_id if kind is PrincipalKind.CUSTOMER else None,
        masked=sees_masked(holder),
        is_suspended=is_suspended,
    )
