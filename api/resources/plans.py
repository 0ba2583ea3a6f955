"""Plans: how often a product is billed. A change makes a new version for new subscriptions."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Line, NoBody, PlanId, ProductId
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from domain.catalog.plan import (
    MAX_TRIAL_DAYS,
    PLAN,
    ArchivePlan,
    ChangePlanTerms,
    CreatePlan,
    Plan,
    PlanIsArchived,
    PlanTerms,
    TrialTooLong,
)
from domain.catalog.product import ProductIsArchived, ProductNotFound
from domain.kernel.billing_period import MAX_INTERVAL_COUNT, Interval, IntervalUnit
from domain.kernel.identifiers import PLAN as PREFIX
from infra.ids import new_id
from projections.models import plans as read

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

PLANS: Final = Resource(
    tag="plans",
    about="How often a product is billed.",
    stream=PLAN,
    table=read.TABLE,
    path="/v1/plans",
    prefix=PREFIX,
    shows=PlanResource,
    render=plan_resource,
    example=EXAMPLE,
    filters=PlanFilters,
)
_TERMS_EXAMPLE: Final[dict[str, object]] = {
    "name": "Team, monthly",
    "interval": {"unit": "month", "count": 1},
    "trial_days": 14,
}


@PLANS.creates(
    body=NewPlan,
    body_example={"product": "prod_01m7ywe9z7e398x54gfbrtqnk7", **_TERMS_EXAMPLE},
    refusals=(ProductNotFound, ProductIsArchived, TrialTooLong),
)
async def create_plan(_call: Call, body: NewPlan) -> Intention:
    """Create a plan of a product."""
    plan_id = new_id(PREFIX)
    return PLANS.created(plan_id, CreatePlan(plan_id=plan_id, product_id=body.product, terms=body.terms))


@PLANS.changes(
    "PATCH",
    body=PlanTermsBody,
    body_example=_TERMS_EXAMPLE | {"trial_days": 30},
    example={"trial_days": 30, "version": 2},
    refusals=(PlanIsArchived, TrialTooLong),
)
async def update_plan(call: Call, body: PlanTermsBody) -> Intention:
    """Give a plan new terms.

    All of them are named: they are a new version for new subscriptions. Those that run keep theirs.
    """
    plan_id = PLANS.id_of(call)
    return PLANS.changed(plan_id, ChangePlanTerms(plan_id=plan_id, terms=body.terms))


@PLANS.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
)
async def archive_plan(call: Call, _body: NoBody) -> Intention:
    """Archive a plan: nobody new can subscribe to it."""
    plan_id = PLANS.id_of(call)
    return PLANS.changed(plan_id, ArchivePlan(plan_id=plan_id))
