"""A tenant's approval limits: up to them one person refunds or posts alone, above them a second one approves."""

from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Kept, Partial
from api.http.fields import MAX_AMOUNT, Body, Currency, MoneyResource, money
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from domain.approvals.approval import ApprovalRequired
from domain.identity.authority import NotAllowed
from domain.identity.permissions import Permission
from domain.identity.tenant import (
    TENANT,
    ApprovalLimitsSet,
    ChangeApprovalLimits,
    InvalidApprovalLimits,
    LimitChange,
    TenantNotFound,
)
from domain.kernel.currency import EXPONENTS, CurrencyCode
from domain.kernel.money import Money
from domain.kernel.unchanged import Unchanged
from schemas.codec import default_codec

_PATH: Final = "/v1/tenants/{tenant}/approval-limits"
_NEWEST: Final = """
SELECT payload FROM log.events
WHERE tenant_id = $1 AND stream_type = 'tenant' AND stream_id = $1 AND event_type = 'tenant.approval_limits_set'
ORDER BY stream_version DESC LIMIT 1
"""


class CurrencyLimit(Body):
    """The limit of one currency, in its minor units; null: it has none."""

    currency: Currency
    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None


CurrencyLimits = Annotated[tuple[CurrencyLimit, ...], Field(max_length=len(EXPONENTS))]


class ApprovalLimitsChange(Partial):
    """Limits of some currencies, as they are to be; those of others stay."""

    limits: Kept[CurrencyLimits]


class ApprovalLimitsResource(TypedDict):
    """What one person may refund or post alone, by currency; a currency that is not here has no limit."""

    object: Literal["approval_limits"]
    tenant: str
    limits: list[MoneyResource]


_EXAMPLE: Final[dict[str, object]] = {
    "object": "approval_limits",
    "tenant": "acme",
    "limits": [{"amount": 50000, "currency": "EUR"}],
}

APPROVAL_LIMITS: Final = Operations(
    tag="approval limits",
    about="What one person may do alone with the tenant's money.",
    seen_with=Permission.APPROVAL_LIMITS_READ,
    changed_with=Permission.APPROVAL_LIMITS_WRITE,
)


@APPROVAL_LIMITS.command(
    "PATCH",
    _PATH,
    body=ApprovalLimitsChange,
    body_example={"limits": [{"currency": "EUR", "amount": 50000}]},
    answers=ApprovalLimitsResource,
    example=_EXAMPLE,
    refusals=(TenantNotFound, InvalidApprovalLimits, ApprovalRequired, NotAllowed),
)
async def change_approval_limits(call: Call, body: ApprovalLimitsChange) -> Intention:
    """Change what one person may refund, or post by hand, alone.

    Alone you lower a limit, or set one where there was none. To raise or lift one takes a second person who may change
    limits, where there is one: it is refused with `approval_required`, and asked for by POST /v1/approvals with
    `limits`. The limits hold from the next refund on.
    """
    tenant_id = _own(call)
    changes = () if isinstance(body.limits, Unchanged) else limit_changes(body.limits)
    return Intention(
        command=ChangeApprovalLimits(tenant_id=tenant_id, changes=changes, by=call.principal.id),
        render=lambda streams: _resource(tenant_id, TENANT.of(streams, tenant_id).approval_limits),
    )


@APPROVAL_LIMITS.query(
    _PATH, answers=ApprovalLimitsResource, example=_EXAMPLE, parameters=NoParameters, refusals=(TenantNotFound,)
)
async def get_approval_limits(call: Call, _asked: NoParameters) -> ApprovalLimitsResource:
    """Get what one person may refund, or post by hand, alone."""
    tenant_id = _own(call)
    async with call.reading() as connection:
        payload = await connection.fetchval(_NEWEST, tenant_id)
    if payload is None:
        return _resource(tenant_id, ())
    event = default_codec().decode_event(payload)
    assert isinstance(event, ApprovalLimitsSet), "that is the type that was asked for"
    return _resource(tenant_id, event.limits)


def _own(call: Call) -> str:
    """The tenant in the path, which is the one that is asked in: another's is not there."""
    tenant_id = call.path["tenant"]
    if tenant_id != call.tenant_id:
        raise TenantNotFound(tenant=tenant_id)
    return tenant_id


def limit_changes(limits: tuple[CurrencyLimit, ...]) -> tuple[LimitChange, ...]:
    """As a command takes them."""
    return tuple(LimitChange(currency=CurrencyCode(each.currency), amount=each.amount) for each in limits)


def _resource(tenant_id: str, limits: tuple[Money, ...]) -> ApprovalLimitsResource:
    return {"object": "approval_limits", "tenant": tenant_id, "limits": [money(each) for each in limits]}
