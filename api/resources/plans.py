"""Plans: how often a product is billed. A change makes a new version for new subscriptions."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Line, NoBody, PlanId, ProductId
from api.http.listing import (
    CreatedParameters,
    ListResource,
    NoParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from domain.catalog.plan import (
    MAX_TRIAL_DAYS,
    PLAN,
    ArchivePlan,
    ChangePlanTerms,
    CreatePlan,
    Plan,
    PlanIsArchived,
    PlanNotFound,
    PlanTerms,
    TrialTooLong,
)
from domain.catalog.product import ProductIsArchived, ProductNotFound
from domain.kernel.billing_period import MAX_INTERVAL_COUNT, Interval, IntervalUnit
from domain.kernel.identifiers import PLAN as PREFIX
from domain.kernel.stream import Streams
from infra.ids import new_id
from projections.models import plans as read
from projections.read_model import Projection

PLANS: Final = Operations(tag="plans", about="How often a product is billed.")
_ID: Final = "plan_01m7ywe9z7e398x54gfbrtqnk7"


class IntervalBody(Body):
    """A count of units: every 3 months."""

    unit: IntervalUnit
    count: Annotated[int, Field(ge=1, le=MAX_INTERVAL_COUNT)] = 1

    @property
    def value(self) -> Interval:
        return Interval(self.unit, self.count)


class IntervalResource(TypedDict):
    """A count of units."""

    unit: IntervalUnit
    count: int


def interval_resource(interval: Interval) -> IntervalResource:
    """An interval as it is answered."""
    return {"unit": interval.unit, "count": interval.count}


class PlanTermsBody(Body):
    """What a version of a plan fixes."""

    name: Line
    interval: IntervalBody
    trial_days: Annotated[int, Field(ge=0, le=MAX_TRIAL_DAYS)] = 0

    @property
    def terms(self) -> PlanTerms:
        return PlanTerms(name=self.name, interval=self.interval.value, trial_days=self.trial_days)


class NewPlan(PlanTermsBody):
    """A plan to be."""

    product: ProductId


class PlanFilters(CreatedParameters):
    """Which plans."""

    product: ProductId | None = None


class PlanResource(TypedDict):
    """A plan in its newest version."""

    id: PlanId
    object: Literal["plan"]
    product: str
    name: str
    interval: IntervalResource
    trial_days: int
    version: Annotated[int, Field(description="Rises by one with every change; a subscription keeps its own.")]
    active: bool
    created: datetime
    archived_at: datetime | None


def plan_resource(plan: Plan) -> PlanResource:
    """A plan as it is answered."""
    return {
        "id": plan.plan_id,
        "object": "plan",
        "product": plan.product_id,
        "name": plan.terms.name,
        "interval": interval_resource(plan.terms.interval),
        "trial_days": plan.terms.trial_days,
        "version": plan.version,
        "active": plan.archived_at is None,
        "created": plan.created_at,
        "archived_at": plan.archived_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "plan",
    "product": "prod_01m7ywe9z7e398x54gfbrtqnk7",
    "name": "Team, monthly",
    "interval": {"unit": "month", "count": 1},
    "trial_days": 14,
    "version": 1,
    "active": True,
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
}
_TERMS_EXAMPLE: Final[dict[str, object]] = {
    "name": "Team, monthly",
    "interval": {"unit": "month", "count": 1},
    "trial_days": 14,
}


def _decided(streams: Streams, plan_id: str) -> PlanResource:
    return plan_resource(PLAN.of(streams, plan_id))


def _path_id(call: Call) -> str:
    return call.id("plan_id", PREFIX, PlanNotFound)


@PLANS.command(
    "POST",
    "/v1/plans",
    body=NewPlan,
    body_example={"product": "prod_01m7ywe9z7e398x54gfbrtqnk7", **_TERMS_EXAMPLE},
    answers=PlanResource,
    example=EXAMPLE,
    status=201,
    refusals=(ProductNotFound, ProductIsArchived, TrialTooLong),
)
async def create_plan(_call: Call, body: NewPlan) -> Intention:
    """Create a plan of a product."""
    plan_id = new_id(PREFIX)
    return Intention(
        command=CreatePlan(plan_id=plan_id, product_id=body.product, terms=body.terms),
        render=lambda streams: _decided(streams, plan_id),
        location=f"/v1/plans/{plan_id}",
    )


@PLANS.command(
    "PATCH",
    "/v1/plans/{plan_id}",
    body=PlanTermsBody,
    body_example=_TERMS_EXAMPLE | {"trial_days": 30},
    answers=PlanResource,
    example=EXAMPLE | {"trial_days": 30, "version": 2},
    refusals=(PlanNotFound, PlanIsArchived, TrialTooLong),
)
async def update_plan(call: Call, body: PlanTermsBody) -> Intention:
    """Give a plan new terms.

    All of them are named: they are a new version for new subscriptions. Those that run keep theirs.
    """
    plan_id = _path_id(call)
    return Intention(
        command=ChangePlanTerms(plan_id=plan_id, terms=body.terms), render=lambda streams: _decided(streams, plan_id)
    )


@PLANS.command(
    "POST",
    "/v1/plans/{plan_id}/archive",
    body=NoBody,
    answers=PlanResource,
    example=EXAMPLE | {"active": False, "archived_at": "2026-02-01T00:00:00Z"},
    refusals=(PlanNotFound,),
)
async def archive_plan(call: Call, _body: NoBody) -> Intention:
    """Archive a plan: nobody new can subscribe to it."""
    plan_id = _path_id(call)
    return Intention(command=ArchivePlan(plan_id=plan_id), render=lambda streams: _decided(streams, plan_id))


@PLANS.query(
    "/v1/plans/{plan_id}",
    answers=PlanResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(PlanNotFound,),
    reads=(Projection.BILLING,),
)
async def get_plan(call: Call, _asked: NoParameters) -> PlanResource:
    """Get a plan."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        found = await read.get(connection, call.tenant_id, wanted)
    if found is None:
        raise PlanNotFound(plan=wanted)
    return plan_resource(found.state)


@PLANS.query(
    "/v1/plans",
    answers=ListResource[PlanResource],
    example=list_example(EXAMPLE),
    parameters=PlanFilters,
    reads=(Projection.BILLING,),
)
async def list_plans(call: Call, asked: PlanFilters) -> ListResource[PlanResource]:
    """List plans, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(
            connection, call.tenant_id, product_id=asked.product, created=asked.created, request=request
        )
    return page_resource(page, request, [plan_resource(found.state) for found in page.items])
