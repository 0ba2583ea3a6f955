"""A plan: how often a product is billed. Its versions are immutable; a subscription is pinned to one.

An add-on is a plan that is sold beside others, never by itself: its prices are items of their subscriptions.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.catalog.feature import Feature, check_features
from domain.kernel.billing_period import Interval
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Streams, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged

MAX_TRIAL_DAYS = 730


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """What a version fixes: its name, the billing interval, and the trial and features a new subscription gets."""

    name: str
    interval: Interval
    trial_days: int = 0
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePlan:
    plan_id: str
    product_id: str
    terms: PlanTerms
    is_add_on: bool = False
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlanTerms:
    """Makes a new version for new subscriptions; those that run keep theirs."""

    plan_id: str
    name: str | Unchanged = UNCHANGED
    interval: Interval | Unchanged = UNCHANGED
    trial_days: int | Unchanged = UNCHANGED
    features: tuple[Feature, ...] | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlan:
    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePlan:
    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCreated:
    plan_id: str
    product_id: str
    terms: PlanTerms
    is_add_on: bool = False
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanVersionAdded:
    plan_id: str
    version: int
    terms: PlanTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanArchived:
    plan_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanUsed:
    """`by` is a price of it."""

    plan_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFreed:
    """That price was deleted."""

    plan_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDeleted:
    plan_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMetadataSet(MetadataSet):
    plan_id: str


PlanEvent = PlanCreated | PlanVersionAdded | PlanArchived | PlanUsed | PlanFreed | PlanDeleted | PlanMetadataSet


class PlanNotFound(Refusal):
    """There is no such plan."""

    code = "plan_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "plan"


class PlanAlreadyExists(Refusal):
    """A plan of this id exists already."""

    code = "plan_already_exists"


class PlanIsArchived(Refusal):
    """The plan is archived: nobody new can subscribe to it."""

    code = "plan_archived"
    param = "plan"


class AddOnHasNoTrial(Refusal):
    """An add-on is tried with the plan that it is beside: a trial is that plan's."""

    code = "add_on_has_no_trial"
    kind = RefusalKind.INVALID
    param = "trial_days"


class TrialTooLong(Refusal):
    """A trial lasts from 0 to 730 days."""

    code = "trial_too_long"
    kind = RefusalKind.INVALID
    param = "trial_days"


class PlanInUse(Refusal):
    """The plan has prices: archive it, or delete them first."""

    code = "plan_in_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`used_by` are its prices. One that was deleted is archived, too."""

    plan_id: str
    product_id: str
    version: int
    terms: PlanTerms
    is_add_on: bool
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None
    deleted_at: datetime | None
    used_by: tuple[str, ...]


def on_sale(streams: Streams, plan_id: str) -> Plan:
    """The plan, if somebody new may subscribe to it: PlanNotFound or PlanIsArchived otherwise."""
    plan = PLAN.of(streams, plan_id)
    if plan.deleted_at is not None:
        raise PLAN.missing(plan_id)
    if plan.archived_at is not None:
        raise PlanIsArchived(plan=plan_id)
    return plan


def check_terms(terms: PlanTerms, *, is_add_on: bool) -> None:
    """Raises TrialTooLong, AddOnHasNoTrial, InvalidFeatures."""
    check_trial_days(terms.trial_days)
    check_features(terms.features)
    if is_add_on and terms.trial_days:
        raise AddOnHasNoTrial(trial_days=terms.trial_days)


def check_trial_days(days: int) -> None:
    """Raises TrialTooLong outside 0 to MAX_TRIAL_DAYS."""
    if not 0 <= days <= MAX_TRIAL_DAYS:
        raise TrialTooLong(trial_days=days, most=MAX_TRIAL_DAYS)


def evolve(plan: Plan | None, event: PlanEvent) -> Plan:
    if isinstance(event, PlanCreated):
        return Plan(
            plan_id=event.plan_id,
            product_id=event.product_id,
            version=1,
            terms=event.terms,
            is_add_on=event.is_add_on,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
            deleted_at=None,
            used_by=(),
        )
    assert plan is not None, "the first event of a plan is plan.created"
    match event:
        case PlanVersionAdded():
            return replace(plan, version=event.version, terms=event.terms)
        case PlanArchived():
            return replace(plan, archived_at=event.archived_at)
        case PlanUsed():
            return replace(plan, used_by=(*plan.used_by, event.by))
        case PlanFreed():
            return replace(plan, used_by=tuple(each for each in plan.used_by if each != event.by))
        case PlanDeleted():
            return replace(plan, archived_at=plan.archived_at or event.deleted_at, deleted_at=event.deleted_at)
        case PlanMetadataSet():
            return replace(plan, metadata=event.metadata)


EVENTS: dict[str, type] = {
    "plan.created": PlanCreated,
    "plan.version_added": PlanVersionAdded,
    "plan.archived": PlanArchived,
    "plan.used": PlanUsed,
    "plan.freed": PlanFreed,
    "plan.deleted": PlanDeleted,
    "plan.metadata_set": PlanMetadataSet,
}

PLAN: Stream[Plan] = Stream(
    name="plan",
    id_field="plan_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda plan: None,
    not_found=PlanNotFound,
    already_exists=PlanAlreadyExists,
    metadata_set=PlanMetadataSet,
)
