"""Who may do what: one table, from which the edge, the documents and the tests read.

A user has a role in a tenant, an API key has a scope; both hold permissions, and each operation needs one. The table
says of each permission which roles hold it and from which scope on keys do.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Role(StrEnum):
    """What a user is in a tenant. SUPER_ADMIN is whoever runs the cell, in the one tenant that they entered; CUSTOMER
    is a customer at the portal.
    """

    SUPER_ADMIN = "super_admin"
    ADMIN = "admin"
    BILLING_ADMIN = "billing_admin"
    MERCHANT = "merchant"
    USER = "user"
    VIEWER = "viewer"
    CUSTOMER = "customer"


class Scope(StrEnum):
    """What an API key is for. Each holds what those before it hold."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


Holder = Role | Scope


class Permission(StrEnum):
    """What may be allowed or not, in the order of the table."""

    PROFILE_READ = "profile:read"
    PROFILE_WRITE = "profile:write"
    REPORTS_READ = "reports:read"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_CREATE = "customers:create"
    CUSTOMERS_WRITE = "customers:write"
    CUSTOMERS_ERASE = "customers:erase"
    SUBSCRIPTIONS_READ = "subscriptions:read"
    SUBSCRIPTIONS_WRITE = "subscriptions:write"
    INVOICES_READ = "invoices:read"
    INVOICES_PAY = "invoices:pay"
    INVOICES_WRITE = "invoices:write"
    CREDIT_NOTES_READ = "credit_notes:read"
    CREDIT_NOTES_WRITE = "credit_notes:write"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    PAYMENT_METHODS_READ = "payment_methods:read"
    PAYMENT_METHODS_WRITE = "payment_methods:write"
    REFUNDS_READ = "refunds:read"
    REFUNDS_WRITE = "refunds:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_WRITE = "approvals:write"
    APPROVAL_LIMITS_READ = "approval_limits:read"
    APPROVAL_LIMITS_WRITE = "approval_limits:write"
    BILLING_SETTINGS_READ = "billing_settings:read"
    BILLING_SETTINGS_WRITE = "billing_settings:write"
    CATALOGUE_READ = "catalogue:read"
    CATALOGUE_WRITE = "catalogue:write"
    USAGE_READ = "usage:read"
    USAGE_WRITE = "usage:write"
    WALLETS_READ = "wallets:read"
    WALLETS_WRITE = "wallets:write"
    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    EVENTS_READ = "events:read"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
    TEST_CLOCKS_READ = "test_clocks:read"
    TEST_CLOCKS_WRITE = "test_clocks:write"
    AUDIT_READ = "audit:read"
    AUDIT_WRITE = "audit:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    API_KEYS_READ = "api_keys:read"
    API_KEYS_WRITE = "api_keys:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    TENANTS_READ = "tenants:read"
    TENANTS_WRITE = "tenants:write"
    CELL_WRITE = "cell:write"


class Reach(StrEnum):
    """How far a permission goes. ALL: everything in the tenant. MASKED: the same, with personal data masked. OWN: only
    what is the holder's own, a customer's or a merchant's.
    """

    ALL = "all"
    MASKED = "masked"
    OWN = "own"


class Caution(StrEnum):
    """What a permission asks for besides. PASSWORD: a password entered a short while ago, of a user. SECOND_PERSON: the
    approval of another one, above the tenant's limit.
    """

    PASSWORD = "password"  # noqa: S105  the word, not one
    SECOND_PERSON = "second_person"


class Row(NamedTuple):
    """One permission: how far it goes for each role, and the least scope whose keys hold it. A SUPER_ADMIN holds all.

    `personal` says that it shows what the vault holds of people, which a SUPER_ADMIN sees masked.
    """

    permission: Permission
    admin: Reach | None
    billing_admin: Reach | None
    merchant: Reach | None
    user: Reach | None
    viewer: Reach | None
    customer: Reach | None
    scope: Scope | None
    cautions: frozenset[Caution] = frozenset()
    personal: bool = False


_A: Final = Reach.ALL
_M: Final = Reach.MASKED
_O: Final = Reach.OWN
_P: Final = Permission
_READ, _WRITE, _ADMIN = Scope.READ, Scope.WRITE, Scope.ADMIN
_PASSWORD: Final = frozenset({Caution.PASSWORD})
_SECOND: Final = frozenset({Caution.SECOND_PERSON})

# fmt: off
MATRIX: Final = (
    #   permission                ADMIN BILLING MERCHANT USER VIEWER CUSTOMER scope
    Row(_P.PROFILE_READ,          _A,   _A,     _A,   _A,   _A,   None, None),
    Row(_P.PROFILE_WRITE,         _A,   _A,     _A,   _A,   _A,   None, None),
    Row(_P.REPORTS_READ,          _A,   _A,     _A,   None, _A,   None, _READ),
    Row(_P.CUSTOMERS_READ,        _A,   _A,     _A,   None, _M,   _O,   _READ, personal=True),
    Row(_P.CUSTOMERS_CREATE,      _A,   _A,     None, None, None, None, _WRITE),
    Row(_P.CUSTOMERS_WRITE,       _A,   _A,     None, None, None, _O,   _WRITE),
    Row(_P.CUSTOMERS_ERASE,       _A,   None,   None, None, None, None, _ADMIN, _PASSWORD),
    Row(_P.SUBSCRIPTIONS_READ,    _A,   _A,     _A,   None, _A,   _O,   _READ),
    Row(_P.SUBSCRIPTIONS_WRITE,   _A,   _A,     None, None, None, _O,   _WRITE),
    Row(_P.INVOICES_READ,         _A,   _A,     _A,   _A,   _A,   _O,   _READ),
    Row(_P.INVOICES_PAY,          _A,   _A,     None, None, None, _O,   _WRITE),
    Row(_P.INVOICES_WRITE,        _A,   _A,     None, None, None, None, _WRITE),
    Row(_P.CREDIT_NOTES_READ,     _A,   _A,     _A,   _A,   _A,   _O,   _READ),
    Row(_P.CREDIT_NOTES_WRITE,    _A,   _A,     None, None, None, None, _WRITE, _SECOND),
    Row(_P.PAYMENTS_READ,         _A,   _A,     _A,   _A,   _A,   _O,   _READ),
    Row(_P.PAYMENTS_WRITE,        _A,   _A,     _A,   None, None, None, _WRITE),
    Row(_P.PAYMENT_METHODS_READ,  _A,   _A,     _A,   None, _A,   _O,   _READ),
    Row(_P.PAYMENT_METHODS_WRITE, _A,   _A,     None, None, None, _O,   _WRITE),
    Row(_P.REFUNDS_READ,          _A,   _A,     _A,   None, _A,   _O,   _READ),
    Row(_P.REFUNDS_WRITE,         _A,   _A,     _A,   None, None, None, _WRITE, _SECOND),
    Row(_P.APPROVALS_READ,        _A,   _A,     None, None, _A,   None, _READ),
    Row(_P.APPROVALS_WRITE,       _A,   _A,     None, None, None, None, _WRITE),
    Row(_P.APPROVAL_LIMITS_READ,  _A,   _A,     _A,   None, _A,   None, _READ),
    Row(_P.APPROVAL_LIMITS_WRITE, _A,   None,   None, None, None, None, None, _PASSWORD | _SECOND),
    Row(_P.BILLING_SETTINGS_READ, _A,   _A,     _A,   None, _A,   None, _READ),
    Row(_P.BILLING_SETTINGS_WRITE, _A,  _A,     None, None, None, None, _ADMIN),
    Row(_P.CATALOGUE_READ,        _A,   _A,     _A,   _A,   _A,   None, _READ),
    Row(_P.CATALOGUE_WRITE,       _A,   _A,     None, None, None, None, _WRITE),
    Row(_P.USAGE_READ,            _A,   _A,     _A,   None, _A,   _O,   _READ),
    Row(_P.USAGE_WRITE,           _A,   _A,     None, None, None, None, _WRITE),
    Row(_P.WALLETS_READ,          _A,   _A,     _O,   None, _A,   _O,   _READ),
    Row(_P.WALLETS_WRITE,         _A,   _A,     _O,   None, None, _O,   _WRITE),
    Row(_P.LEDGER_READ,           _A,   _A,     None, None, _A,   None, _READ),
    Row(_P.LEDGER_WRITE,          _A,   _A,     None, None, None, None, _ADMIN, _PASSWORD | _SECOND),
    Row(_P.EVENTS_READ,           _A,   _A,     None, None, _A,   None, _READ),
    Row(_P.OPERATIONS_READ,       _A,   _A,     None, None, None, None, _ADMIN),
    Row(_P.OPERATIONS_WRITE,      _A,   None,   None, None, None, None, _ADMIN, _PASSWORD),
    Row(_P.TEST_CLOCKS_READ,      _A,   _A,     None, None, None, None, _ADMIN),
    Row(_P.TEST_CLOCKS_WRITE,     _A,   _A,     None, None, None, None, _ADMIN),
    Row(_P.AUDIT_READ,            _A,   _A,     None, None, None, None, _ADMIN),
    Row(_P.AUDIT_WRITE,           _A,   None,   None, None, None, None, _ADMIN),
    Row(_P.USERS_READ,            _A,   None,   None, None, None, None, _ADMIN),
    Row(_P.USERS_WRITE,           _A,   None,   None, None, None, None, _ADMIN, _PASSWORD),
    Row(_P.API_KEYS_READ,         _A,   None,   None, None, None, None, _ADMIN),
    Row(_P.API_KEYS_WRITE,        _A,   None,   None, None, None, None, _ADMIN, _PASSWORD),
    Row(_P.WEBHOOKS_READ,         _A,   None,   _A,   None, None, None, _ADMIN),
    Row(_P.WEBHOOKS_WRITE,        _A,   None,   _A,   None, None, None, _ADMIN, _PASSWORD),
    Row(_P.TENANTS_READ,          _A,   None,   None, None, None, None, None),
    Row(_P.TENANTS_WRITE,         None, None,   None, None, None, None, None),
    Row(_P.CELL_WRITE,            None, None,   None, None, None, None, None),
)
# fmt: on


def _reach(holder: Holder, row: Row) -> Reach | None:
    if isinstance(holder, Scope):
        scopes = list(Scope)
        return None if row.scope is None or scopes.index(holder) < scopes.index(row.scope) else Reach.ALL
    if holder is Role.SUPER_ADMIN:
        return Reach.MASKED if row.personal else Reach.ALL
    found: Reach | None = getattr(row, holder.value)
    return found


class _Held(NamedTuple):
    reach: Mapping[Permission, Reach]
    permissions: frozenset[Permission]


def _held(holder: Holder) -> _Held:
    reach = {row.permission: found for row in MATRIX if (found := _reach(holder, row)) is not None}
    return _Held(MappingProxyType(reach), frozenset(reach))


HOLDERS: Final[tuple[Holder, ...]] = (*Role, *Scope)
# Two tables: Role.ADMIN and Scope.ADMIN are the same text, so in one the later would stand for both.
_ROLES: Final = {role: _held(role) for role in Role}
_SCOPES: Final = {scope: _held(scope) for scope in Scope}

CAUTIONS: Final[Mapping[Permission, frozenset[Caution]]] = MappingProxyType(
    {row.permission: row.cautions for row in MATRIX}
)
_CLASSES: Final = {
    row.permission: row.scope or (Scope.READ if row.permission.endswith(":read") else Scope.WRITE) for row in MATRIX
}
_ALIASES: Final = {"billing_viewer": Role.VIEWER, "superadmin": Role.SUPER_ADMIN, "billing_manager": Role.BILLING_ADMIN}


class UnknownRole(ValueError):
    """There is no role of this name, nor one that is like it."""


def role_named(name: str) -> Role:
    """The role of a name as other systems write it: `billing_viewer`, `Billing-Admin`. Raises UnknownRole."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    alias = _ALIASES.get(plain)
    if alias is not None:
        return alias
    try:
        return Role(plain)
    except ValueError:
        raise UnknownRole(name) from None


def reach_of(holder: Holder) -> Mapping[Permission, Reach]:
    """What a role or a scope holds, and how far it goes."""
    return (_SCOPES[holder] if isinstance(holder, Scope) else _ROLES[holder]).reach


def permissions_of(holder: Holder) -> frozenset[Permission]:
    """What a role or a scope holds, however far."""
    return (_SCOPES[holder] if isinstance(holder, Scope) else _ROLES[holder]).permissions


def sees_masked(holder: Holder) -> bool:
    """Whether personal data are masked for it. They are for whoever does not hold them plain."""
    return reach_of(holder).get(Permission.CUSTOMERS_READ) not in (Reach.ALL, Reach.OWN)


def class_of(permission: Permission) -> Scope:
    """Against which limit it counts to use it: that of the scope from which on API keys hold it. What no key holds is
    read or changed.
    """
    return _CLASSES[permission]


class Thing(NamedTuple):
    """What is to be seen or changed: whose tenant's it is, and which customer's or merchant's (None: nobody's own)."""

    tenant_id: str
    owner_id: str | None = None


def allows(holder: Holder, permission: Permission, *, tenant_id: str, own_id: str | None, thing: Thing) -> bool:
    """Whether a principal of a tenant may do this with a thing; `own_id` is the customer or merchant that they are."""
    reach = reach_of(holder).get(permission)
    if reach is None or thing.tenant_id != tenant_id:
        return False
    return reach is not Reach.OWN or (own_id is not None and thing.owner_id == own_id)


def holders_of(permission: Permission) -> tuple[list[Role], list[Scope]]:
    """The roles, and the scopes of API keys, that hold it."""
    return (
        [role for role in Role if permission in permissions_of(role)],
        [scope for scope in Scope if permission in permissions_of(scope)],
    )
