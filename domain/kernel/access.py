"""What an event changes of who may do what: rows of the schema `access`, written in the event's own commit.

A value here is a whole row as it is from now on. The tenant is the command's own, so that no rule can reach another's.
Secrets are no part of them: they come beside the command, as personal data do.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

AccessKey = tuple[str, ...]
"""The table, and what a row is found by there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAccess:
    """The tenant itself; suspended since then, where it is."""

    table: ClassVar = "tenants"

    name: str
    mode: str
    created_at: datetime
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyAccess:
    """An API key. Requests an hour are None where the cell's own limit holds; no networks: it works from everywhere.
    `successor_id` is the key that it was rotated to.
    """

    table: ClassVar = "api_keys"

    key_id: str
    prefix: str
    name: str
    scope: str
    allowed_networks: tuple[str, ...]
    reads_per_hour: int | None
    writes_per_hour: int | None
    admin_per_hour: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    successor_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAccess:
    """A user of the platform. With the status `erased` their password and their address are forgotten.
    `is_super_admin`: they look after the cell, and may enter any tenant.
    """

    table: ClassVar = "users"

    user_id: str
    status: str
    is_super_admin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipAccess:
    """A user's role in the tenant; None: no membership from now on."""

    table: ClassVar = "memberships"

    user_id: str
    role: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationAccess:
    """An offer to become a member; a role of None: it is open no more, and the address that it went to is forgotten.
    Its link goes with it, but for one that was accepted: whoever is killed while they accept comes again with it.
    """

    table: ClassVar = "invitations"

    invitation_id: str
    role: str | None
    expires_at: datetime | None
    was_accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryAccess:
    """A SUPER_ADMIN in the tenant until `ends_at`; `is_revealed`: they see personal data plain. None: they left."""

    table: ClassVar = "entries"

    user_id: str
    ends_at: datetime | None
    is_revealed: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorAccess:
    """A second factor of a user, without which they do not sign in; None: it is theirs no more, and what proves it is
    forgotten.
    """

    table: ClassVar = "second_factors"

    user_id: str
    factor_id: str
    kind: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityLinkAccess:
    """Whom a foreign issuer's token is of, in the tenant; a user of None: nobody any more."""

    table: ClassVar = "identity_links"

    link_id: str
    user_id: str | None
    issuer: str
    subject_digest: str


AccessChange = (
    TenantAccess
    | ApiKeyAccess
    | UserAccess
    | MembershipAccess
    | InvitationAccess
    | EntryAccess
    | SecondFactorAccess
    | IdentityLinkAccess
)


def key_of(tenant_id: str, change: AccessChange) -> AccessKey:
    """Where the row of a change in this tenant is."""
    match change:
        case TenantAccess():
            return change.table, tenant_id
        case ApiKeyAccess():
            return change.table, tenant_id, change.key_id
        case UserAccess():
            return change.table, change.user_id
        case MembershipAccess() | EntryAccess():
            return change.table, tenant_id, change.user_id
        case InvitationAccess():
            return change.table, tenant_id, change.invitation_id
        case SecondFactorAccess():
            return change.table, change.user_id, change.factor_id
        case IdentityLinkAccess():
            return change.table, tenant_id, change.link_id


def apply(rows: MutableMapping[AccessKey, AccessChange], tenant_id: str, change: AccessChange) -> None:
    """Let a change have happened to rows in memory."""
    key = key_of(tenant_id, change)
    match change:
        case (
            MembershipAccess(role=None)
            | InvitationAccess(role=None)
            | EntryAccess(ends_at=None)
            | SecondFactorAccess(kind=None)
            | IdentityLinkAccess(user_id=None)
        ):
            rows.pop(key, None)
        case _:
            rows[key] = change
