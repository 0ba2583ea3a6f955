"""A tenant: whose books these are, what for, and whether they may be written. Suspending stops commands, not reads.

Its stream lies in the tenant itself, under the tenant's own id.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.kernel.access import AccessChange, EntryAccess, TenantAccess
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic
from domain.kernel.tenant_mode import TenantMode

PLATFORM: Final = "platform"
"""The tenant whose streams are about the platform itself: its users and their sessions. It has no books."""
ENTRY_LASTS: Final = timedelta(minutes=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTenant:
    """`name` is an organization's, for people to read."""

    tenant_id: str
    name: str
    mode: TenantMode


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendTenant:
    """Take no more commands. What is under way (timers, gateway calls, sagas) is brought to its end."""

    tenant_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivateTenant:
    tenant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetApprovalLimits:
    """Let nobody alone refund or post more than this, an amount for each currency; none for one: it has no limit.

    All of them at once, by the platform. The tenant's own people change them one by one.
    """

    tenant_id: str
    limits: tuple[Money, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """The limit of a currency from now on, in its minor units; None: it has no limit."""

    currency: CurrencyCode
    amount: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeApprovalLimits:
    """By somebody of the tenant: limits of currencies that are not named stay. Whoever is bound by a limit does not
    lift it alone (`domain.approvals.limits`).
    """

    tenant_id: str
    changes: tuple[LimitChange, ...]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterTenant:
    """A SUPER_ADMIN looks after a tenant for an hour. The reason is for its people to read."""

    tenant_id: str
    user_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveTenant:
    """Whoever has entered is in the tenant no more, before the hour is over."""

    tenant_id: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealPersonalData:
    """Whoever has entered sees personal data plain from now on, until the hour is over."""

    tenant_id: str
    user_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantCreated:
    tenant_id: str
    name: str
    mode: TenantMode
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSuspended:
    tenant_id: str
    reason: str
    suspended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantReactivated:
    tenant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalLimitsSet:
    tenant_id: str
    limits: tuple[Money, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantEntered:
    tenant_id: str
    user_id: str
    reason: str
    entered_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLeft:
    tenant_id: str
    user_id: str
    left_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataRevealed:
    tenant_id: str
    user_id: str
    reason: str


TenantEvent = (
    TenantCreated
    | TenantSuspended
    | TenantReactivated
    | ApprovalLimitsSet
    | TenantEntered
    | TenantLeft
    | PersonalDataRevealed
)


class TenantNotFound(Refusal):
    """There is no such tenant."""

    code = "tenant_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "tenant"


class TenantAlreadyExists(Refusal):
    """A tenant of this id exists already."""

    code = "tenant_already_exists"


class TenantIdReserved(Refusal):
    """This id is the platform's own; choose another one for the tenant."""

    code = "tenant_id_reserved"
    kind = RefusalKind.INVALID
    param = "tenant"


class InvalidApprovalLimits(Refusal):
    """An approval limit is zero or more, and there is one for a currency."""

    code = "invalid_approval_limits"
    kind = RefusalKind.INVALID
    param = "limits"


class TenantNotEntered(Refusal):
    """You are not in this tenant, or your hour there is over: enter it, with a reason."""

    code = "tenant_not_entered"
    kind = RefusalKind.FORBIDDEN
    param = "tenant"


class AnotherTenantEntered(Refusal):
    """You are in another tenant: leave it first, by POST /v1/tenants/{id}/leave."""

    code = "another_tenant_entered"
    param = "tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A SUPER_ADMIN in the tenant, until then."""

    user_id: str
    ends_at: datetime
    is_revealed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """`entries` holds the latest of each who entered and did not leave, but those that were over when another did."""

    tenant_id: str
    name: str
    mode: TenantMode
    created_at: datetime
    suspended_at: datetime | None
    approval_limits: tuple[Money, ...]
    entries: tuple[Entry, ...]

    def entry_of(self, user_id: str, now: datetime) -> Entry | None:
        """The entry of a user who is in the tenant now."""
        for entry in self.entries:
            if entry.user_id == user_id and now < entry.ends_at:
                return entry
        return None


def evolve(tenant: Tenant | None, event: TenantEvent) -> Tenant:
    if isinstance(event, TenantCreated):
        return Tenant(
            tenant_id=event.tenant_id,
            name=event.name,
            mode=event.mode,
            created_at=event.created_at,
            suspended_at=None,
            approval_limits=(),
            entries=(),
        )
    assert tenant is not None, "the first event of a tenant is tenant.created"
    match event:
        case TenantSuspended():
            return replace(tenant, suspended_at=event.suspended_at)
        case TenantReactivated():
            return replace(tenant, suspended_at=None)
        case ApprovalLimitsSet():
            return replace(tenant, approval_limits=event.limits)
        case TenantEntered():
            entry = Entry(user_id=event.user_id, ends_at=event.ends_at, is_revealed=False)
            others = [
                each for each in tenant.entries if each.user_id != event.user_id and each.ends_at > event.entered_at
            ]
            return replace(tenant, entries=(*others, entry))
        case TenantLeft():
            return replace(tenant, entries=tuple(each for each in tenant.entries if each.user_id != event.user_id))
        case PersonalDataRevealed():
            entries = [
                replace(each, is_revealed=True) if each.user_id == event.user_id else each for each in tenant.entries
            ]
            return replace(tenant, entries=tuple(entries))


def access(event: TenantEvent, tenant: Tenant) -> tuple[AccessChange, ...]:
    if isinstance(event, ApprovalLimitsSet):
        return ()
    if isinstance(event, TenantLeft):
        return (EntryAccess(user_id=event.user_id, ends_at=None, is_revealed=None),)
    if isinstance(event, TenantEntered | PersonalDataRevealed):
        (entry,) = (each for each in tenant.entries if each.user_id == event.user_id)
        return (EntryAccess(user_id=entry.user_id, ends_at=entry.ends_at, is_revealed=entry.is_revealed),)
    return (
        TenantAccess(
            name=tenant.name,
            mode=tenant.mode.value,
            created_at=tenant.created_at,
            suspended_at=tenant.suspended_at,
        ),
    )


EVENTS: dict[str, type] = {
    "tenant.created": TenantCreated,
    "tenant.suspended": TenantSuspended,
    "tenant.reactivated": TenantReactivated,
    "tenant.approval_limits_set": ApprovalLimitsSet,
    "tenant.entered": TenantEntered,
    "tenant.left": TenantLeft,
    "tenant.personal_data_revealed": PersonalDataRevealed,
}

TENANT: Stream[Tenant] = Stream(
    name="tenant",
    id_field="tenant_id",
    topic=Topic.IDENTITY,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda tenant: None,
    not_found=TenantNotFound,
    already_exists=TenantAlreadyExists,
    access=access,
)
