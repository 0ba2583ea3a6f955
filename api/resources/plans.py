"""Plans: how often a product is billed. A change makes a new version for new subscriptions."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change, Kept
from api.http.fields import MAX_AMOUNT, Body, Line, MeterId, New, NoBody, PlanId, ProductId
from api.http.listing import (
    CreatedParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.http.validation import form
from domain.catalog.feature import MAX_FEATURES, Feature, InvalidFeatures, LimitKind
from domain.catalog.plan import (
    MAX_TRIAL_DAYS,
    PLAN,
    AddOnHasNoTrial,
    ArchivePlan,
    ChangePlanTerms,
    CreatePlan,
    DeletePlan,
    Plan,
    PlanInUse,
    PlanIsArchived,
    PlanTerms,
    TrialTooLong,
)
from domain.catalog.product import ProductIsArchived, ProductNotFound
from domain.identity.permissions import Permission
from domain.kernel.billing_period import MAX_INTERVAL_COUNT, Interval, IntervalUnit
from domain.kernel.identifiers import PLAN as PREFIX
from domain.kernel.unchanged import Unchanged
from domain.metering.meter import MeterIsArchived, MeterNotFound
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


TrialDays = Annotated[int, Field(ge=0, le=MAX_TRIAL_DAYS)]


FEATURE_PATTERN: Final = "^[a-z][a-z0-9_.-]{0,63}$"
FeatureKey: TypeAlias = Annotated[
    str, form(FEATURE_PATTERN, "Must be a lower-case letter, and up to 63 more with digits, _, . and -")
]


class FeatureBody(Body):
    """What customers of the plan may have: up to a limit, or as much as they like where it is null. With a meter the
    limit is of what that counts of a customer in a period.
    """

    key: Annotated[FeatureKey, Field(examples=["seats"])]
    limit: Annotated[int, Field(ge=0, le=MAX_AMOUNT)] | None = None
    meter: Annotated[MeterId | None, Field(description="What counts up to the limit, in the meter's unit.")] = None
    limit_kind: Annotated[
        LimitKind,
        Field(strict=False, description="Whether the feature is granted beyond a limit of a meter: `soft` is."),
    ] = LimitKind.HARD

    @property
    def value(self) -> Feature:
        return Feature(key=self.key, limit=self.limit, meter_id=self.meter, limit_kind=self.limit_kind)


Features: TypeAlias = Annotated[tuple[FeatureBody, ...], Field(max_length=MAX_FEATURES)]


class FeatureResource(TypedDict):
    """What customers may have; null has no limit. `limit_kind` says whether a meter's limit ends it."""

    key: str
    limit: int | None
    meter: str | None
    limit_kind: LimitKind


def feature_resources(features: tuple[Feature, ...]) -> list[FeatureResource]:
    """Features as they are answered."""
    return [
        {"key": each.key, "limit": each.limit, "meter": each.meter_id, "limit_kind": each.limit_kind}
        for each in features
    ]


class NewPlan(New):
    """A plan to be."""

    product: ProductId
    name: Line
    interval: IntervalBody
    trial_days: TrialDays = 0
    features: Features = ()
    add_on: Annotated[bool, Field(description="Whether it is sold beside other plans, and never by itself.")] = False


class PlanChange(Change):
    """What is to change of a plan."""

    name: Kept[Line]
    interval: Kept[IntervalBody]
    trial_days: Kept[TrialDays]
    features: Kept[Features]


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
    features: list[FeatureResource]
    add_on: bool
    version: Annotated[int, Field(description="Rises by one with every change; a subscription keeps its own.")]
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None
    deleted_at: datetime | None


def plan_resource(plan: Plan) -> PlanResource:
    """A plan as it is answered."""
    return {
        "id": plan.plan_id,
        "object": "plan",
        "product": plan.product_id,
        "name": plan.terms.name,
        "interval": interval_resource(plan.terms.interval),
        "trial_days": plan.terms.trial_days,
        "features": feature_resources(plan.terms.features),
        "add_on": plan.is_add_on,
        "version": plan.version,
        "active": plan.archived_at is None,
        "metadata": dict(plan.metadata),
        "created": plan.created_at,
        "archived_at": plan.archived_at,
        "deleted_at": plan.deleted_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "plan",
    "product": "prod_01m7ywe9z7e398x54gfbrtqnk7",
    "name": "Team, monthly",
    "interval": {"unit": "month", "count": 1},
    "trial_days": 14,
    "features": [{"key": "seats", "limit": 10, "meter": None, "limit_kind": "hard"}],
    "add_on": False,
    "version": 1,
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
    "deleted_at": None,
}

PLANS: Final = Resource(
    tag="plans",
    about="How often a product is billed.",
    stream=PLAN,
    table=read.TABLE,
    path="/v1/plans",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=PlanResource,
    render=plan_resource,
    example=EXAMPLE,
    filters=PlanFilters,
)


@PLANS.creates(
    body=NewPlan,
    body_example={name: EXAMPLE[name] for name in ("product", "name", "interval", "trial_days", "features")},
    refusals=(
        ProductNotFound,
        ProductIsArchived,
        TrialTooLong,
        AddOnHasNoTrial,
        InvalidFeatures,
        MeterNotFound,
        MeterIsArchived,
    ),
)
async def create_plan(_call: Call, body: NewPlan) -> Intention:
    """Create a plan of a product.

    The prices of an add-on are items of subscriptions to other plans, beside those plans' own.
    """
    plan_id = new_id(PREFIX)
    terms = PlanTerms(
        name=body.name,
        interval=body.interval.value,
        trial_days=body.trial_days,
        features=tuple(feature.value for feature in body.features),
    )
    return PLANS.created(
        plan_id,
        CreatePlan(
            plan_id=plan_id,
            product_id=body.product,
            terms=terms,
            is_add_on=body.add_on,
            metadata=body.kept,
        ),
    )


@PLANS.changes(
    "PATCH",
    body=PlanChange,
    body_example={"trial_days": 30},
    example={"trial_days": 30, "version": 2},
    refusals=(PlanIsArchived, TrialTooLong, AddOnHasNoTrial, InvalidFeatures, MeterNotFound, MeterIsArchived),
)
async def update_plan(call: Call, body: PlanChange) -> Intention:
    """Change a plan's terms, which makes a new version for new subscriptions; metadata alone does not.

    What the body leaves out stays as it is. Subscriptions that run keep their terms.
    """
    plan_id = PLANS.id_of(call)
    interval = body.interval if isinstance(body.interval, Unchanged) else body.interval.value
    features = body.features if isinstance(body.features, Unchanged) else tuple(each.value for each in body.features)
    command = ChangePlanTerms(
        plan_id=plan_id, name=body.name, interval=interval, trial_days=body.trial_days, features=features
    )
    return PLANS.patched(plan_id, body, command)


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


@PLANS.changes(
    "DELETE",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z", "deleted_at": "2026-02-01T00:00:00Z"},
    refusals=(PlanInUse,),
)
async def delete_plan(call: Call, _body: NoBody) -> Intention:
    """Delete a plan that has no prices, or whose prices were all deleted. One that is in use can be archived."""
    plan_id = PLANS.id_of(call)
    return PLANS.changed(plan_id, DeletePlan(plan_id=plan_id))
