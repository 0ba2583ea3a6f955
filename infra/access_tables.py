"""The rows of the schema `access` that events say, as they are in PostgreSQL."""

from typing import Any, Final

from domain.kernel.access import (
    AccessChange,
    AccessKey,
    ApiKeyAccess,
    EntryAccess,
    IdentityLinkAccess,
    InvitationAccess,
    MembershipAccess,
    SecondFactorAccess,
    TenantAccess,
    UserAccess,
    key_of,
)

_TABLES: Final = {
    TenantAccess: "SELECT tenant_id, name, mode, created_at, suspended_at FROM access.tenants",
    ApiKeyAccess: (
        "SELECT tenant_id, key_id, prefix, name, scope, allowed_networks, reads_per_hour, writes_per_hour, "
        "admin_per_hour, created_at, expires_at, revoked_at, successor_id FROM access.api_keys"
    ),
    UserAccess: "SELECT '' AS tenant_id, user_id, status, is_super_admin FROM access.users",
    SecondFactorAccess: "SELECT '' AS tenant_id, user_id, factor_id, kind FROM access.second_factors",
    InvitationAccess: "SELECT tenant_id, invitation_id, role, expires_at FROM access.invitations",
    EntryAccess: "SELECT tenant_id, user_id, ends_at, is_revealed FROM access.entries",
    MembershipAccess: "SELECT tenant_id, user_id, role FROM access.memberships",
    IdentityLinkAccess: "SELECT tenant_id, link_id, user_id, issuer, subject_digest FROM access.identity_links",
}


async def read_access(connection: Any) -> dict[AccessKey, AccessChange]:
    """All of them, by the keys that `domain.kernel.access.apply` gives them. The role is the owner's, or `access`."""
    found: dict[AccessKey, AccessChange] = {}
    for kind, query in _TABLES.items():
        for row in await connection.fetch(query):
            values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
            del values["tenant_id"]
            change = kind(**values)
            found[key_of(row["tenant_id"], change)] = change
    return found
