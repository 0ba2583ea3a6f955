"""The portal: a customer sees and changes what is their own, let in by their merchant's link and without a password."""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.callers import check_own_page, check_secure, own_origin, public_url
from api.http.card_guard import OpaqueId
from api.http.fields import Body, NoBody, PlanId, text
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.principal import PrincipalKind
from api.http.problems import (
    CROSS_SITE,
    INSECURE_CONNECTION,
    NOT_IN_PORTAL,
    PORTAL_CODE_INVALID,
    Problem,
)
from api.http.replies import Header, Reply, json_reply
from domain.catalog.plan import PLAN, PlanNotFound
from domain.customers.customer import CUSTOMER, CustomerIsErased, CustomerNotFound
from domain.identity.browser import PORTAL_COOKIE, cookie, expired_cookie
from domain.identity.permissions import Permission, Role, permissions_of
from domain.kernel import identifiers
from infra.identity.one_time_tokens import Grant, Purpose
from infra.identity.sessions import csrf_token
from projections.current import current
from projections.models import customers as read
from projections.models import plans

MAX_OFFERED: Final = 100
_CUSTOMER: Final = "cus_01m7ywe9z7e398x54gfbrtqnk7"
_OF_CUSTOMER: Final = "/v1/customers/{customer_id}/portal-sessions"

PORTAL: Final = Operations(
    tag="portal",
    about="Customers who look after what is their own: invoices, payment methods, subscriptions, their data.",
    path_ids={"customer_id": identifiers.CUSTOMER},
    seen_with=Permission.CUSTOMERS_READ,
    changed_with=Permission.CUSTOMERS_WRITE,
)


class PortalLinkResource(TypedDict):
    """A way into the portal. The code works once, and until `expires_at`; it is in the URL's fragment, which no server
    and no log gets to see.
    """

    object: Literal["portal_link"]
    customer: str
    url: str
    code: str
    expires_at: datetime


class PortalVisitResource(TypedDict):
    """A customer in the portal. A change sends `csrf_token` as X-CSRF-Token. `plans` are those that they may subscribe
    to; null: whichever they name.
    """

    object: Literal["portal_visit"]
    tenant: str
    customer: str
    plans: list[str] | None
    permissions: list[str]
    csrf_token: str


class PortalExitResource(TypedDict):
    """How many visits have ended."""

    object: Literal["portal_exit"]
    ended: int


class NewPortalLink(Body):
    """What the customer may do in the portal, besides what is their own."""

    plans: Annotated[tuple[PlanId, ...], Field(max_length=MAX_OFFERED)] | None = Field(
        default=None,
        description="The plans, add-ons among them, that they may subscribe to there; null: whichever they name, of "
        "which they know the ids, [] none",
    )


class Code(Body):
    """What the link bears behind `#code=`."""

    code: Annotated[str, text(64), OpaqueId()]


_VISIT: Final = {
    "object": "portal_visit",
    "tenant": "acme",
    "customer": _CUSTOMER,
    "plans": ["plan_01m7ywe9z7e398x54gfbrtqnk7"],
    "permissions": ["customers:read", "customers:write", "invoices:pay", "invoices:read"],
    "csrf_token": "mfrggzdfmztwq2lk…",
}


def _own_page(call: Call) -> None:
    assert call.caller is not None, "unstored operations are told who calls"
    check_secure(call.caller)
    check_own_page("POST", call.headers, own_origin(call.parts.settings))


@PORTAL.unstored(
    "POST",
    _OF_CUSTOMER,
    body=NewPortalLink,
    body_example={"plans": ["plan_01m7ywe9z7e398x54gfbrtqnk7"]},
    answers=PortalLinkResource,
    example={
        "object": "portal_link",
        "customer": _CUSTOMER,
        "url": "https://billing.example.com/portal#code=mfrggzdfmztwq2lk…",
        "code": "mfrggzdfmztwq2lk…",
        "expires_at": "2026-03-01T12:05:00Z",
    },
    status=201,
    refusals=(CustomerNotFound, CustomerIsErased, PlanNotFound),
    # No customer holds it: one who could make links would never have to leave.
    needs=Permission.CUSTOMERS_CREATE,
)
async def create_portal_link(call: Call, body: NewPortalLink) -> Reply:
    """Make a link that lets a customer into the portal, once, within five minutes.

    Send the customer there right away: whoever has the link is the customer. A newer link of theirs replaces it. In the
    portal they subscribe to the `plans` that it names alone: any other is not there for them.
    """
    customer_id = call.id("customer_id", identifiers.CUSTOMER, CustomerNotFound)
    async with call.reading() as connection:
        row = await current(connection, read.TABLE, CUSTOMER, call.tenant_id, customer_id)
        for nth, plan_id in enumerate(body.plans or ()):
            if await current(connection, plans.TABLE, PLAN, call.tenant_id, plan_id) is None:
                raise PlanNotFound(plan=plan_id).at(f"plans.{nth}")
    if row is None:
        raise CustomerNotFound(customer=customer_id)
    if row.state.erased_at is not None:
        raise CustomerIsErased(customer=customer_id)
    identity = call.parts.identity
    now, lasts = identity.clock(), timedelta(seconds=call.parts.settings.auth.portal_link_s)
    grant = Grant(purpose=Purpose.PORTAL, subject_id=customer_id, tenant_id=call.tenant_id, plan_ids=body.plans)
    code = await identity.one_time.make(grant, lasts=lasts, now=now)
    link: PortalLinkResource = {
        "object": "portal_link",
        "customer": customer_id,
        "url": f"{public_url(call.parts.settings)}/portal#code={code}",
        "code": code,
        "expires_at": now + lasts,
    }
    return json_reply(201, link)


@PORTAL.unstored(
    "DELETE",
    _OF_CUSTOMER,
    body=NoBody,
    answers=PortalExitResource,
    example={"object": "portal_exit", "ended": 1},
    refusals=(CustomerNotFound,),
    needs=Permission.CUSTOMERS_CREATE,
)
async def end_portal_sessions(call: Call, _body: NoBody) -> PortalExitResource:
    """End a customer's visits to the portal, at once, and make a link that is not used yet good for nothing.

    For a link that went to somebody else.
    """
    customer_id = call.id("customer_id", identifiers.CUSTOMER, CustomerNotFound)
    async with call.reading() as connection:
        if await current(connection, read.TABLE, CUSTOMER, call.tenant_id, customer_id) is None:
            raise CustomerNotFound(customer=customer_id)
    identity = call.parts.identity
    # In this order: a code that is used meanwhile was withdrawn, or its visit is there to be ended.
    await identity.one_time.withdraw(customer_id, Purpose.PORTAL)
    ended = await identity.portal.end_all(call.tenant_id, customer_id, identity.clock())
    call.parts.credentials.forget_sessions()
    return {"object": "portal_exit", "ended": ended}


@PORTAL.unstored(
    "POST",
    "/v1/portal/login",
    body=Code,
    body_example={"code": "mfrggzdfmztwq2lk…"},
    answers=PortalVisitResource,
    example=_VISIT,
    problems=(PORTAL_CODE_INVALID, INSECURE_CONNECTION, CROSS_SITE),
    is_open=True,
)
async def enter_portal(call: Call, body: Code) -> Reply:
    """Enter the portal with the code of a link. It works once; the visit lasts an hour, and is kept in a cookie.

    A browser in which somebody of the merchant is signed in, too, says `Tallybook-Portal: 1` where it means the visit.
    """
    _own_page(call)
    identity = call.parts.identity
    now = identity.clock()
    secret = await identity.portal.enter(body.code, now)
    session = None if secret is None else await identity.portal.by_cookie(secret, now)
    if secret is None or session is None:
        raise Problem(PORTAL_CODE_INVALID, param="code")
    if call.principal.kind is PrincipalKind.CUSTOMER and call.principal.session is not None:
        # A browser is one customer at a time.
        await identity.portal.end(call.principal.session, now)
    kept: Header = (b"set-cookie", cookie(PORTAL_COOKIE, secret, ends_at=session.ends_at, now=now).encode())
    entered: PortalVisitResource = {
        "object": "portal_visit",
        "tenant": session.tenant_id,
        "customer": session.customer_id,
        "plans": _offered(session.plan_ids),
        "permissions": sorted(permissions_of(Role.CUSTOMER)),
        "csrf_token": csrf_token(identity.keyring, session.session_id),
    }
    return json_reply(200, entered, [kept])


@PORTAL.query(
    "/v1/portal/me", answers=PortalVisitResource, example=_VISIT, parameters=NoParameters, problems=(NOT_IN_PORTAL,)
)
async def get_portal_visit(call: Call, _asked: NoParameters) -> PortalVisitResource:
    """Show which customer's visit this is, and what they may do."""
    session = _visit(call)
    return {
        "object": "portal_visit",
        "tenant": call.tenant_id,
        "customer": call.principal.id,
        "plans": _offered(call.principal.plan_ids),
        "permissions": sorted(call.principal.permissions),
        "csrf_token": csrf_token(call.parts.identity.keyring, session),
    }


@PORTAL.unstored(
    "POST",
    "/v1/portal/logout",
    body=NoBody,
    answers=PortalExitResource,
    example={"object": "portal_exit", "ended": 1},
    problems=(NOT_IN_PORTAL,),
)
async def leave_portal(call: Call, _body: NoBody) -> Reply:
    """Leave the portal: the visit is over at once."""
    identity = call.parts.identity
    await identity.portal.end(_visit(call), identity.clock())
    call.parts.credentials.forget_sessions()
    gone: Header = (b"set-cookie", expired_cookie(PORTAL_COOKIE).encode())
    return json_reply(200, {"object": "portal_exit", "ended": 1}, [gone])


def _offered(plan_ids: frozenset[str] | None) -> list[str] | None:
    return None if plan_ids is None else sorted(plan_ids)


def _visit(call: Call) -> str:
    """The session of a customer. Whoever is none has their own ways in and out."""
    session = call.principal.session
    if call.principal.kind is not PrincipalKind.CUSTOMER or session is None:
        raise Problem(NOT_IN_PORTAL)
    return session
