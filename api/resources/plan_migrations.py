"""Migrations of plans: the subscriptions that run on older versions of a plan are moved to its newest one."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Instant, New, NoBody, PlanId, PlanMigrationId, PriceId
from api.http.listing import (
    CreatedParameters,
    ListResource,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.plans import PLANS
from domain.catalog.plan import PlanIsArchived, PlanNotFound
from domain.catalog.price import PriceIsArchived, PriceNotFound
from domain.catalog.product import ProductIsArchived
from domain.identity.permissions import Permission
from domain.kernel.identifiers import PLAN_MIGRATION as PREFIX
from domain.kernel.tenant_mode import TenantMode
from domain.subscriptions.change import ChangeNotAhead, ContradictoryChange, Proration
from domain.subscriptions.migration import (
    PLAN_MIGRATION,
    ContradictoryReplacement,
    Expected,
    MigrationStatus,
    PlanMigration,
    PlanMigrationIsOver,
    PlanMigrationIsRunning,
    PlanMigrationNotFound,
    PriceReplacement,
    UnknownPlanVersion,
)
from domain.subscriptions.migration_commands import CancelPlanMigration, StartPlanMigration
from domain.subscriptions.migration_move import MoveOutcome, SubscriptionMove
from domain.subscriptions.terms import PlanIsAddOn, PriceOfAnotherPlan
from infra.ids import new_id
from projections.models import plan_migration_moves as moves
from projections.models import plan_migrations as read
from projections.models.prices import archived_of_plan
from projections.models.subscriptions import on_older_terms
from projections.read_model import Projection
from projections.reading import page

REPLACEMENTS_MAX: Final = 100
_ID: Final = "mig_01m7ywe9z7e398x54gfbrtqnk7"
_PLAN: Final = "plan_01m7ywe9z7e398x54gfbrtqnk7"
_PRICE: Final = "price_01m7ywe9z7e398x54gfbrtqnk7"
_NEWER: Final = "price_01m7ywe9zke1t9v3hw3z6c9a2k"


class Replacement(Body):
    """What a price of the plan becomes: another one of it; null: it is taken away."""

    price: PriceId
    becomes: PriceId | None


class NewPlanMigration(New):
    """What is to be moved, when, and what it bills: as for a change of each subscription.

    A price on sale stays as it was sold. One that is archived becomes the one on sale of the same name, else the only
    one on sale; where that does not say what is meant, `prices` does.
    """

    from_version: Annotated[int, Field(ge=1, le=2**31, description="null: all older versions")] | None = None
    prices: Annotated[tuple[Replacement, ...], Field(max_length=REPLACEMENTS_MAX)] = ()
    add: Annotated[
        tuple[PriceId, ...], Field(max_length=REPLACEMENTS_MAX, description="Prices that each of them gets, once")
    ] = ()
    proration: Proration = Proration.PERIOD_END
    reset_anchor: bool = Field(default=False, description="Whether a new period begins with the change, billed whole")
    effective_at: Instant | None = Field(
        default=None, description="A time ahead, on each one's own clock; null: now, or at its period's end"
    )


class MigrationFilters(CreatedParameters):
    """Which migrations."""

    plan: PlanId | None = None
    status: MigrationStatus | None = None


class MoveFilters(CreatedParameters):
    """Which subscriptions."""

    outcome: MoveOutcome | None = None


class ReplacementResource(TypedDict):
    """What a price becomes; null: nothing."""

    price: str
    becomes: str | None


class ExpectedResource(TypedDict):
    """What the read models said when it was asked for: how many run on older terms, and of how many of them nothing (a
    pause, a scheduled change or end) stands in the way.
    """

    subscriptions: int
    moves: int


class CountsResource(TypedDict):
    """Of `total` subscriptions that were found, each is counted once in the others. `total` is final once all are
    found.
    """

    total: int
    moved: int
    scheduled: int
    already_there: int
    refused: int
    taken_back: int
    pending: int


class PlanMigrationResource(TypedDict):
    """A migration, and how far it has come."""

    id: PlanMigrationId
    object: Literal["plan_migration"]
    plan: str
    from_version: int | None
    to_version: int
    prices: list[ReplacementResource]
    add: list[str]
    proration: Proration
    reset_anchor: bool
    effective_at: datetime | None
    status: MigrationStatus
    all_found: bool
    expected: ExpectedResource
    counts: CountsResource
    metadata: dict[str, str]
    created: datetime
    ended_at: datetime | None


class MoveResource(TypedDict):
    """What became of one subscription. `effective_at` is when its change takes effect, on its own clock; `code` and
    `detail` say why it was refused.
    """

    id: str
    object: Literal["plan_migration_subscription"]
    migration: str
    subscription: str
    customer: str
    outcome: MoveOutcome
    effective_at: datetime | None
    code: str | None
    detail: str | None
    created: datetime


def migration_resource(migration: PlanMigration) -> PlanMigrationResource:
    """A migration as it is answered."""
    return {
        "id": migration.migration_id,
        "object": "plan_migration",
        "plan": migration.plan_id,
        "from_version": migration.from_version,
        "to_version": migration.to_version,
        "prices": [{"price": each.price_id, "becomes": each.becomes} for each in migration.prices],
        "add": list(migration.adds),
        "proration": migration.proration,
        "reset_anchor": migration.resets_anchor,
        "effective_at": migration.effective_at,
        "status": migration.status,
        "all_found": migration.is_found,
        "expected": {"subscriptions": migration.expected.subscriptions, "moves": migration.expected.moves},
        "counts": {
            "total": migration.total,
            "moved": migration.moved,
            "scheduled": migration.scheduled,
            "already_there": migration.already_there,
            "refused": migration.refused,
            "taken_back": migration.taken_back,
            "pending": migration.pending,
        },
        "metadata": dict(migration.metadata),
        "created": migration.created_at,
        "ended_at": migration.ended_at,
    }


def move_resource(move: SubscriptionMove) -> MoveResource:
    """What became of a subscription, as it is answered."""
    return {
        "id": move.move_id,
        "object": "plan_migration_subscription",
        "migration": move.migration_id,
        "subscription": move.subscription_id,
        "customer": move.customer_id,
        "outcome": move.outcome,
        "effective_at": move.effective_at,
        "code": move.code,
        "detail": move.detail,
        "created": move.created_at,
    }


_ASKED: Final[dict[str, object]] = {
    "from_version": None,
    "prices": [{"price": _PRICE, "becomes": _NEWER}],
    "proration": "period_end",
}
EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "plan_migration",
    "plan": _PLAN,
    **_ASKED,
    "to_version": 3,
    "add": [],
    "reset_anchor": False,
    "effective_at": None,
    "status": "running",
    "all_found": False,
    "expected": {"subscriptions": 120, "moves": 117},
    "counts": {
        "total": 0,
        "moved": 0,
        "scheduled": 0,
        "already_there": 0,
        "refused": 0,
        "taken_back": 0,
        "pending": 0,
    },
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "ended_at": None,
}
_MOVE_EXAMPLE: Final[dict[str, object]] = {
    "id": "move_01m7ywe9z7e398x54gfbrtqnk7",
    "object": "plan_migration_subscription",
    "migration": _ID,
    "subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "outcome": "refused",
    "effective_at": None,
    "code": "subscription_paused",
    "detail": "The subscription is paused: resume it, then change it. (subscription=sub_01m7ywe9z7e398x54gfbrtqnk7)",
    "created": "2026-01-01T00:00:00Z",
}

MIGRATIONS: Final = Resource(
    tag="plan migrations",
    about="Subscriptions of a plan on their way to its newest version.",
    stream=PLAN_MIGRATION,
    table=read.TABLE,
    path="/v1/plan-migrations",
    prefix=PREFIX,
    seen_with=Permission.REPORTS_READ,
    changed_with=Permission.INVOICES_WRITE,
    shows=PlanMigrationResource,
    render=migration_resource,
    example=EXAMPLE,
    filters=MigrationFilters,
)
MIGRATIONS.path_ids = {**MIGRATIONS.path_ids, **PLANS.path_ids}


@MIGRATIONS.command(
    "POST",
    f"{PLANS.path_of_one}/migrations",
    body=NewPlanMigration,
    body_example=_ASKED,
    answers=PlanMigrationResource,
    example=EXAMPLE,
    status=201,
    refusals=(
        PlanNotFound,
        PlanIsArchived,
        ProductIsArchived,
        PlanIsAddOn,
        UnknownPlanVersion,
        PriceNotFound,
        PriceIsArchived,
        PriceOfAnotherPlan,
        ContradictoryReplacement,
        ContradictoryChange,
        ChangeNotAhead,
        PlanMigrationIsRunning,
    ),
)
async def migrate_plan(call: Call, body: NewPlanMigration) -> Intention:
    """Move the subscriptions that run on older versions of a plan, or with prices that are replaced, to what it is now.

    Each is moved by a change of its own (`POST /v1/subscriptions/{id}/change`), with its quantities, add-ons and
    billing date: at its period's end unless `proration` says otherwise, or on the date `effective_at`. It goes on in
    the background; GET tells how far it has come, and `/subscriptions` what became of each. One that is refused (it is
    paused, say, or has another change scheduled) holds up no other. `expected` says how many there are: try it with
    `Tallybook-Dry-Run: true` first.
    """
    plan_id = PLANS.id_of(call)
    migration_id = new_id(PREFIX)
    command = StartPlanMigration(
        migration_id=migration_id,
        plan_id=plan_id,
        from_version=body.from_version,
        prices=tuple(PriceReplacement(price_id=each.price, becomes=each.becomes) for each in body.prices),
        adds=body.add,
        proration=body.proration,
        resets_anchor=body.reset_anchor,
        effective_at=body.effective_at,
        expected=await _expected(call, plan_id, body),
        is_live=call.mode is TenantMode.LIVE,
        metadata=body.kept,
    )
    return MIGRATIONS.created(migration_id, command)


async def _expected(call: Call, plan_id: str, body: NewPlanMigration) -> Expected:
    async with call.reading() as connection:
        plan = (await PLANS.row(call, connection, plan_id)).state
        named = {each.price for each in body.prices}
        replaced = {each.price for each in body.prices if each.becomes != each.price}
        archived = await archived_of_plan(connection, call.tenant_id, plan_id)
        found = await on_older_terms(
            connection,
            call.tenant_id,
            plan_id,
            version=plan.version,
            only=body.from_version,
            replaced=sorted(replaced | (set(archived) - named)),
            added=body.add,
        )
    return Expected(subscriptions=found.subscriptions, moves=found.changeable)


@MIGRATIONS.changes(
    "POST",
    "cancel",
    body=NoBody,
    example={"status": "canceled", "ended_at": "2026-01-02T00:00:00Z"},
    refusals=(PlanMigrationIsOver,),
)
async def cancel_plan_migration(call: Call, _body: NoBody) -> Intention:
    """Cancel a migration: no more is moved, and what it has scheduled is taken back, as far as it still waits.

    What was moved stays so. It is `canceling` until all is taken back.
    """
    migration_id = MIGRATIONS.id_of(call)
    return MIGRATIONS.changed(migration_id, CancelPlanMigration(migration_id=migration_id))


MIGRATIONS.changes_metadata()


@MIGRATIONS.query(
    f"{MIGRATIONS.path_of_one}/subscriptions",
    answers=ListResource[MoveResource],
    example=list_example(_MOVE_EXAMPLE),
    parameters=MoveFilters,
    refusals=(PlanMigrationNotFound,),
    reads=(Projection.BILLING,),
)
async def list_plan_migration_subscriptions(call: Call, asked: MoveFilters) -> ListResource[MoveResource]:
    """List what became of the subscriptions of a migration, newest first: moved, refused and why, taken back.

    Those that were there already when they were looked for, and those that are pending, are counted alone.
    """
    migration_id = MIGRATIONS.id_of(call)
    request = page_request(call, asked)
    async with call.reading() as connection:
        await MIGRATIONS.row(call, connection, migration_id)
        found = await page(
            connection,
            moves.TABLE,
            call.tenant_id,
            where={"migration_id": migration_id, "outcome": asked.outcome},
            created=asked.created,
            request=request,
        )
    return page_resource(found, request, [move_resource(row.state) for row in found.items])
