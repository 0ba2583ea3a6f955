"""What is decided about tenants and their API keys."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from domain.identity.api_key import (
    API_KEY,
    OVERLAP_MAX,
    ApiKeyCreated,
    ApiKeyIsOver,
    ApiKeyIsRotated,
    ApiKeyRevoked,
    ApiKeyRotated,
    ApiKeyUpdated,
    CreateApiKey,
    InvalidOverlap,
    RevokeApiKey,
    RotateApiKey,
    UpdateApiKey,
    check_terms,
)
from domain.identity.authority import check_may, check_may_grant, check_may_last
from domain.identity.permissions import Permission
from domain.identity.tenant import (
    ENTRY_LASTS,
    PLATFORM,
    TENANT,
    ApprovalLimitsSet,
    ChangeApprovalLimits,
    CreateTenant,
    EnterTenant,
    InvalidApprovalLimits,
    LeaveTenant,
    PersonalDataRevealed,
    ReactivateTenant,
    RevealPersonalData,
    SetApprovalLimits,
    SuspendTenant,
    Tenant,
    TenantCreated,
    TenantEntered,
    TenantIdReserved,
    TenantLeft,
    TenantNotEntered,
    TenantReactivated,
    TenantSuspended,
)
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import changed


def create_tenant(command: CreateTenant, streams: Streams, now: datetime) -> Decision:
    if command.tenant_id == PLATFORM:
        raise TenantIdReserved(tenant=PLATFORM)
    TENANT.check_new(streams, command.tenant_id)
    created = TenantCreated(tenant_id=command.tenant_id, name=command.name, mode=command.mode, created_at=now)
    return Decision(now, [TENANT.change(created)])


def suspend_tenant(command: SuspendTenant, streams: Streams, now: datetime) -> Decision:
    if TENANT.of(streams, command.tenant_id).suspended_at is not None:
        return Decision(now, [])
    suspended = TenantSuspended(tenant_id=command.tenant_id, reason=command.reason, suspended_at=now)
    return Decision(now, [TENANT.change(suspended)])


def reactivate_tenant(command: ReactivateTenant, streams: Streams, now: datetime) -> Decision:
    if TENANT.of(streams, command.tenant_id).suspended_at is None:
        return Decision(now, [])
    return Decision(now, [TENANT.change(TenantReactivated(tenant_id=command.tenant_id))])


def set_approval_limits(command: SetApprovalLimits, streams: Streams, now: datetime) -> Decision:
    return _limited(TENANT.of(streams, command.tenant_id), command.limits, now)


def change_approval_limits(command: ChangeApprovalLimits, streams: Streams, now: datetime) -> Decision:
    """Limits keep the order in which they came. Whether it takes a second person is looked at where it is asked for."""
    tenant = TENANT.of(streams, command.tenant_id)
    check_may(streams, command.tenant_id, command.by, Permission.APPROVAL_LIMITS_WRITE, now)
    changes = {change.currency: change.amount for change in command.changes}
    if len(changes) < len(command.changes):
        raise InvalidApprovalLimits
    limits = {limit.currency: limit.amount for limit in tenant.approval_limits} | changes
    left = (Money(amount, currency) for currency, amount in limits.items() if amount is not None)
    return _limited(tenant, tuple(left), now)


def _limited(tenant: Tenant, limits: tuple[Money, ...], now: datetime) -> Decision:
    if len({limit.currency for limit in limits}) < len(limits) or any(limit.amount < 0 for limit in limits):
        raise InvalidApprovalLimits
    if tenant.approval_limits == limits:
        return Decision(now, [])
    return Decision(now, [TENANT.change(ApprovalLimitsSet(tenant_id=tenant.tenant_id, limits=limits))])


def enter_tenant(command: EnterTenant, streams: Streams, now: datetime) -> Decision:
    """By a SUPER_ADMIN (`AsSuperAdmin`). Entering again begins another hour, masked."""
    TENANT.of(streams, command.tenant_id)
    entered = TenantEntered(
        tenant_id=command.tenant_id,
        user_id=command.user_id,
        reason=command.reason,
        entered_at=now,
        ends_at=now + ENTRY_LASTS,
    )
    return Decision(now, [TENANT.change(entered)])


def leave_tenant(command: LeaveTenant, streams: Streams, now: datetime) -> Decision:
    """Whoever is no SUPER_ADMIN any more may leave all the same."""
    if TENANT.of(streams, command.tenant_id).entry_of(command.user_id, now) is None:
        raise TenantNotEntered(tenant=command.tenant_id)
    left = TenantLeft(tenant_id=command.tenant_id, user_id=command.user_id, left_at=now)
    return Decision(now, [TENANT.change(left)])


def reveal_personal_data(command: RevealPersonalData, streams: Streams, now: datetime) -> Decision:
    entry = TENANT.of(streams, command.tenant_id).entry_of(command.user_id, now)
    if entry is None:
        raise TenantNotEntered(tenant=command.tenant_id)
    if entry.is_revealed:
        return Decision(now, [])
    revealed = PersonalDataRevealed(tenant_id=command.tenant_id, user_id=command.user_id, reason=command.reason)
    return Decision(now, [TENANT.change(revealed)])


def create_api_key(command: CreateApiKey, streams: Streams, now: datetime) -> Decision:
    TENANT.of(streams, command.tenant_id)
    API_KEY.check_new(streams, command.key_id)
    check_terms(command.terms, now)
    check_may_grant(streams, command.tenant_id, command.by, command.terms, now)
    check_may_last(streams, command.by, command.terms)
    created = ApiKeyCreated(
        key_id=command.key_id,
        prefix=command.prefix,
        terms=command.terms,
        rotated_from=None,
        made_by=command.by,
        created_at=now,
    )
    return Decision(now, [API_KEY.change(created)])


def rotate_api_key(command: RotateApiKey, streams: Streams, now: datetime) -> Decision:
    """Two at once make one successor: the second finds the key rotated."""
    key = API_KEY.of(streams, command.key_id)
    if key.is_over(now):
        raise ApiKeyIsOver(api_key=command.key_id)
    if key.successor_id is not None:
        raise ApiKeyIsRotated(api_key=command.key_id, successor=key.successor_id)
    if not timedelta(0) <= command.overlap <= OVERLAP_MAX:
        raise InvalidOverlap(overlap_s=command.overlap // timedelta(seconds=1))
    API_KEY.check_new(streams, command.successor_id)
    terms = key.terms
    if command.is_end_given or not terms.is_end_given:
        ends = command.successor_expires_at
        terms = replace(terms, expires_at=ends, is_end_given=command.is_end_given and ends is not None)
    check_terms(terms, now)
    check_may_grant(streams, command.tenant_id, command.by, terms, now)
    check_may_last(streams, command.by, terms)
    over = now + command.overlap
    rotated = ApiKeyRotated(
        key_id=command.key_id,
        successor_id=command.successor_id,
        works_until=over if key.terms.expires_at is None else min(over, key.terms.expires_at),
    )
    successor = ApiKeyCreated(
        key_id=command.successor_id,
        prefix=command.successor_prefix,
        terms=terms,
        rotated_from=command.key_id,
        made_by=command.by,
        created_at=now,
    )
    return Decision(now, [API_KEY.change(rotated), API_KEY.change(successor)])


def revoke_api_key(command: RevokeApiKey, streams: Streams, now: datetime) -> Decision:
    key = API_KEY.of(streams, command.key_id)
    check_may(streams, command.tenant_id, command.by, Permission.API_KEYS_WRITE, now)
    if key.revoked_at is not None:
        return Decision(now, [])
    return Decision(now, [API_KEY.change(ApiKeyRevoked(key_id=command.key_id, revoked_at=now))])


def update_api_key(command: UpdateApiKey, streams: Streams, now: datetime) -> Decision:
    key = API_KEY.of(streams, command.key_id)
    if key.is_over(now):
        raise ApiKeyIsOver(api_key=command.key_id)
    terms = replace(
        key.terms,
        name=changed(command.name, key.terms.name),
        allowed_networks=changed(command.allowed_networks, key.terms.allowed_networks),
        limits=changed(command.limits, key.terms.limits),
    )
    check_terms(terms, now)
    check_may_grant(streams, command.tenant_id, command.by, terms, now)
    if terms == key.terms:
        return Decision(now, [])
    updated = ApiKeyUpdated(
        key_id=command.key_id, name=terms.name, allowed_networks=terms.allowed_networks, limits=terms.limits
    )
    return Decision(now, [API_KEY.change(updated)])


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateTenant: create_tenant,
    SuspendTenant: suspend_tenant,
    ReactivateTenant: reactivate_tenant,
    SetApprovalLimits: set_approval_limits,
    ChangeApprovalLimits: change_approval_limits,
    EnterTenant: enter_tenant,
    LeaveTenant: leave_tenant,
    RevealPersonalData: reveal_personal_data,
    CreateApiKey: create_api_key,
    RotateApiKey: rotate_api_key,
    RevokeApiKey: revoke_api_key,
    UpdateApiKey: update_api_key,
}
