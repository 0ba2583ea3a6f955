"""Specifications of migrations of plans: who is moved, by which change, and what becomes of all others."""

from decimal import Decimal
from typing import Any

import pytest

from domain.catalog.feature import Feature
from domain.catalog.plan import ArchivePlan, ChangePlanTerms, CreatePlan, PlanIsArchived, PlanTerms
from domain.catalog.price import ArchivePrice, CreatePrice
from domain.customers.customer import DeleteCustomer
from domain.customers.test_clock import CompleteTestClockAdvance, CreateTestClock
from domain.invoicing.finalization import InvoiceFinalized
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.stream import Command, WorkKind
from domain.kernel.tenant_mode import TenantMode
from domain.pricing.models import Flat, PerUnit
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change import (
    ChangeNotAhead,
    ContradictoryChange,
    Proration,
    SubscriptionChanged,
    SubscriptionChangeScheduled,
)
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.migration import (
    ContradictoryReplacement,
    MigrationStatus,
    PlanMigrationIsOver,
    PlanMigrationIsRunning,
    PriceReplacement,
    UnknownPlanVersion,
)
from domain.subscriptions.migration_commands import (
    CancelPlanMigration,
    FindSubscriptions,
    MoveSubscription,
    RefuseMove,
    TakeBackMove,
)
from domain.subscriptions.migration_move import MoveOutcome
from domain.subscriptions.pause_commands import PauseSubscription, SuspendSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import PlanIsAddOn, PriceOfAnotherPlan
from domain.subscriptions.transfer_commands import TransferSubscription
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    CUSTOMER_ID,
    MONTH,
    OTHER_CUSTOMER_ID,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, renew
from testing.moments import utc
from testing.specification import NOW, Given, given
from tests.domain.subscriptions.plan_migration_run import (
    MIGRATION_ID,
    counts,
    migrate,
    migration_of,
    outcome_of,
    run,
    steps,
)

SECOND, THIRD = id_of("sub_", 2), id_of("sub_", 3)
NEWER, NEWEST, SEAT, ADD_ON = id_of("price_", 5), id_of("price_", 6), id_of("price_", 7), id_of("price_", 8)
OTHER_PLAN, ADD_ON_PLAN, ELSEWHERE = id_of("plan_", 2), id_of("plan_", 3), id_of("price_", 9)
LATER = id_of("mig_", 2)
MID = utc("2026-02-14T10:00")
"""Half of [31 January, 28 February) is left."""
SEATS = Feature(key="seats", limit=10)
CANCEL = CancelPlanMigration(migration_id=MIGRATION_ID)

CATALOGUE: tuple[Command, ...] = (
    *plan_on_sale(in_advance=flat(2_800), in_arrears=flat(5_600)),
    CreatePlan(plan_id=OTHER_PLAN, product_id=PRODUCT_ID, terms=PlanTerms(name="Big", interval=MONTH)),
    CreatePrice(price_id=ELSEWHERE, plan_id=OTHER_PLAN, price=flat(9_000)),
    CreatePlan(
        plan_id=ADD_ON_PLAN, product_id=PRODUCT_ID, is_add_on=True, terms=PlanTerms(name="More", interval=MONTH)
    ),
    CreatePrice(price_id=ADD_ON, plan_id=ADD_ON_PLAN, price=flat(1_400)),
)
NEW_VERSION = ChangePlanTerms(plan_id=PLAN_ID, features=(SEATS,))


def new_price(price_id: str = NEWER, amount: int = 5_600, **facts: Any) -> CreatePrice:
    return CreatePrice(price_id=price_id, plan_id=PLAN_ID, price=flat(amount), **facts)


def archived(price_id: str = PRICE_ID) -> ArchivePrice:
    return ArchivePrice(price_id=price_id)


def becomes(price_id: str, other: str | None) -> tuple[PriceReplacement, ...]:
    return (PriceReplacement(price_id=price_id, becomes=other),)


def subscribed(*price_ids: str, **facts: Any) -> Given:
    """Somebody on version 1 of the plan."""
    return given(create_customer(), *CATALOGUE).and_then(subscribe(*price_ids, **facts))


def of(outcome: Given, subscription_id: str = SUBSCRIPTION_ID) -> Subscription:
    return SUBSCRIPTION.of(outcome.books, subscription_id)


def billed(outcome: Given) -> list[list[int]]:
    """Of each invoice the amounts of its lines."""
    events = (each.event for each in outcome.books.log)
    return [[line.amount.amount for line in each.lines] for each in events if isinstance(each, InvoiceFinalized)]


def refused(outcome: Given, code: str, subscription_id: str = SUBSCRIPTION_ID) -> None:
    """It was refused with this code, in a sentence, and is what it was."""
    settled = outcome_of(outcome, subscription_id)
    assert (settled.outcome, settled.code) == ("refused", code)
    assert settled.detail is not None
    assert settled.detail.count(" ") > 5, "a sentence that says what to do"
    assert of(outcome, subscription_id).terms.plan_version == 1


# --- who is moved ------------------------------------------------------------------------------------------------


def test_what_runs_on_an_older_version_is_moved_to_the_newest_with_its_features_and_pays_what_it_paid() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(), at=MID)
    assert counts(run(scene, MID)) == {"total": 1, "moved": 1}
    terms = of(scene).terms
    assert (terms.plan_version, terms.features) == (2, (SEATS,))
    assert [item.price_id for item in terms.items] == [PRICE_ID]
    assert billed(scene) == [[2_800]], "the price is the same, so there is nothing to be billed"
    assert outcome_of(scene, SUBSCRIPTION_ID).effective_at == MID


def test_a_new_price_of_the_same_name_takes_the_place_of_one_that_is_archived_without_a_new_version() -> None:
    scene = subscribed().and_then(new_price(), archived(), migrate(), at=MID)
    assert counts(run(scene, MID)) == {"total": 1, "moved": 1}
    assert [item.price_id for item in of(scene).terms.items] == [NEWER]
    assert billed(scene)[1:] == [[-1_400, 2_800]], "as a change: half of each"


def test_quantities_are_kept() -> None:
    seats = CreatePrice(
        price_id=SEAT, plan_id=PLAN_ID, name="Seats", price=PerUnit(currency=USD, unit_amount=Decimal(100))
    )
    more = CreatePrice(
        price_id=NEWER, plan_id=PLAN_ID, name="Seats", price=PerUnit(currency=USD, unit_amount=Decimal(150))
    )
    items = (RequestedItem(price_id=SEAT, quantity=Decimal(7)),)
    scene = given(create_customer(), *CATALOGUE, seats).and_then(subscribe(items=items), more, archived(SEAT))
    run(scene.and_then(migrate()))
    assert [(item.price_id, item.quantity) for item in of(scene).terms.items] == [(NEWER, Decimal(7))]


def test_a_price_that_was_renamed_is_the_only_one_there_is() -> None:
    scene = given(create_customer(), *plan_on_sale()).and_then(subscribe(), new_price(name="Phone"), archived())
    run(scene.and_then(migrate()))
    assert [item.price_id for item in of(scene).terms.items] == [NEWER]


def test_where_several_prices_could_be_meant_a_person_says_which() -> None:
    scene = subscribed().and_then(new_price(), new_price(NEWEST), archived(), migrate())
    run(scene)
    refused(scene, "successor_ambiguous")
    assert NEWER in str(outcome_of(scene, SUBSCRIPTION_ID).detail)
    scene.and_then(migrate(migration_id=LATER, prices=becomes(PRICE_ID, NEWEST)))
    assert counts(run(scene, NOW, LATER)) == {"total": 1, "moved": 1}
    assert [item.price_id for item in of(scene).terms.items] == [NEWEST]


def test_what_is_said_of_a_price_holds_also_while_it_is_on_sale() -> None:
    scene = subscribed().and_then(new_price(), migrate(prices=becomes(PRICE_ID, NEWER)))
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    assert [item.price_id for item in of(scene).terms.items] == [NEWER]


def test_a_price_that_nothing_follows_is_taken_away_where_that_is_said() -> None:
    scene = subscribed(PRICE_ID, ARREARS_PRICE_ID).and_then(archived(ARREARS_PRICE_ID), migrate())
    run(scene)
    refused(scene, "no_successor")
    scene.and_then(migrate(migration_id=LATER, prices=becomes(ARREARS_PRICE_ID, None)))
    run(scene, NOW, LATER)
    assert [item.price_id for item in of(scene).terms.items] == [PRICE_ID]


def test_the_last_price_of_a_plan_is_not_taken_away() -> None:
    scene = subscribed(PRICE_ID, ADD_ON).and_then(migrate(prices=becomes(PRICE_ID, None)))
    run(scene)
    refused(scene, "only_add_ons")


def test_a_price_that_the_subscription_has_already_takes_no_other_ones_place() -> None:
    scene = subscribed(PRICE_ID, ARREARS_PRICE_ID).and_then(migrate(prices=becomes(PRICE_ID, ARREARS_PRICE_ID)))
    run(scene)
    refused(scene, "duplicate_price")


def test_a_new_price_is_added_once_where_that_is_said_and_never_by_itself() -> None:
    scene = subscribed().and_then(NEW_VERSION, new_price(name="Support"), migrate())
    run(scene)
    assert [item.price_id for item in of(scene).terms.items] == [PRICE_ID]
    scene.and_then(migrate(migration_id=LATER, adds=(NEWER,)))
    assert counts(run(scene, NOW, LATER)) == {"total": 1, "moved": 1}
    assert [item.price_id for item in of(scene).terms.items] == [PRICE_ID, NEWER]
    scene.and_then(migrate(migration_id=id_of("mig_", 3), adds=(NEWER,)))
    assert counts(run(scene, NOW, id_of("mig_", 3))) == {"total": 1, "already_there": 1}


def test_add_ons_stay_as_they_were_sold() -> None:
    scene = subscribed(PRICE_ID, ADD_ON).and_then(
        ChangePlanTerms(plan_id=ADD_ON_PLAN, name="Much more"), archived(ADD_ON), NEW_VERSION, migrate()
    )
    before = of(scene).terms.items[1]
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    assert of(scene).terms.items[1] == before


def test_only_a_version_that_is_named_is_moved() -> None:
    scene = subscribed().and_then(NEW_VERSION, subscribe(subscription_id=SECOND))
    scene.and_then(ChangePlanTerms(plan_id=PLAN_ID, trial_days=7), migrate(from_version=2))
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    assert (of(scene).terms.plan_version, of(scene, SECOND).terms.plan_version) == (1, 3)


def test_who_was_changed_to_another_plan_is_none_of_its_concern_and_who_came_back_is() -> None:
    there = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID, plan_id=OTHER_PLAN, items=(ChangedItem(price_id=ELSEWHERE),)
    )
    scene = subscribed().and_then(there, NEW_VERSION, migrate())
    assert counts(run(scene)) == {}
    back = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, plan_id=PLAN_ID, items=(ChangedItem(price_id=PRICE_ID),))
    scene.and_then(back, ChangePlanTerms(plan_id=PLAN_ID, trial_days=7), migrate(migration_id=LATER))
    assert counts(run(scene, NOW, LATER)) == {"total": 1, "moved": 1}


def test_a_repeat_finds_everything_there() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    run(scene)
    scene.and_then(migrate(migration_id=LATER))
    assert counts(run(scene, NOW, LATER)) == {"total": 1, "already_there": 1}


def test_a_repeat_finds_what_is_scheduled_to_get_there_there() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(proration=Proration.PERIOD_END))
    assert counts(run(scene)) == {"total": 1, "scheduled": 1}
    scene.and_then(migrate(migration_id=LATER))
    assert counts(run(scene, NOW, LATER)) == {"total": 1, "already_there": 1}


# --- when --------------------------------------------------------------------------------------------------------


def test_at_its_periods_end_each_is_moved_with_its_next_period() -> None:
    scene = subscribed().and_then(new_price(), archived(), migrate(proration=Proration.PERIOD_END), at=MID)
    assert counts(run(scene, MID)) == {"total": 1, "scheduled": 1}
    assert outcome_of(scene, SUBSCRIPTION_ID).effective_at == FEBRUARY
    scheduled = of(scene).scheduled
    assert scheduled is not None
    assert scheduled.migration_id == MIGRATION_ID
    scene.and_then(renew(), at=FEBRUARY)
    assert [item.price_id for item in of(scene).terms.items] == [NEWER]
    assert billed(scene) == [[2_800], [5_600]]


def test_on_a_date_each_is_moved_at_that_instant_whenever_the_timers_run() -> None:
    scene = subscribed().and_then(new_price(), archived(), migrate(effective_at=MID))
    assert counts(run(scene)) == {"total": 1, "scheduled": 1}
    scene.and_then(renew(), at=MARCH)
    assert billed(scene) == [[2_800], [-1_400, 2_800], [5_600], [5_600]]


def test_a_plans_other_interval_begins_with_the_next_period_or_a_new_one() -> None:
    yearly = ChangePlanTerms(plan_id=PLAN_ID, interval=Interval(IntervalUnit.YEAR))
    scene = subscribed().and_then(yearly, migrate(), at=MID)
    run(scene, MID)
    refused(scene, "anchor_must_be_reset")
    scene.and_then(migrate(migration_id=LATER, proration=Proration.PERIOD_END), at=MID)
    assert counts(run(scene, MID, LATER)) == {"total": 1, "scheduled": 1}
    scene.and_then(renew(), at=FEBRUARY)
    assert of(scene).period_end == utc("2027-02-28T10:00")


def test_a_plans_other_interval_beside_an_add_ons_own_is_for_a_person() -> None:
    quarterly = ChangePlanTerms(plan_id=PLAN_ID, interval=Interval(IntervalUnit.QUARTER))
    scene = subscribed(PRICE_ID, ADD_ON).and_then(quarterly, migrate(proration=Proration.PERIOD_END))
    run(scene)
    refused(scene, "interval_mixed")


# --- whom something stands in the way of ---------------------------------------------------------------------------

PAUSE = PauseSubscription(subscription_id=SUBSCRIPTION_ID)
SCHEDULE = ChangeSubscription(
    subscription_id=SUBSCRIPTION_ID,
    items=(ChangedItem(price_id=ARREARS_PRICE_ID),),
    proration=Proration.PERIOD_END,
)
END = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=True)


@pytest.mark.parametrize(
    ("what", "code"),
    [(PAUSE, "subscription_paused"), (SCHEDULE, "change_scheduled"), (END, "cancellation_scheduled")],
)
def test_one_that_cannot_be_changed_is_refused_and_holds_up_no_other(what: Command, code: str) -> None:
    scene = subscribed().and_then(subscribe(subscription_id=SECOND), NEW_VERSION, what, migrate())
    migration = run(scene)
    assert counts(migration) == {"total": 2, "moved": 1, "refused": 1}
    assert migration.status is MigrationStatus.COMPLETED
    refused(scene, code)
    assert of(scene, SECOND).terms.plan_version == 2


def test_one_that_has_ended_is_not_looked_at() -> None:
    scene = subscribed().and_then(subscribe(subscription_id=SECOND), NEW_VERSION)
    scene.and_then(CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False), migrate())
    assert counts(run(scene)) == {"total": 1, "moved": 1}


def test_a_trial_goes_on_and_what_begins_after_it_is_the_newest() -> None:
    scene = subscribed(trial_days=14).and_then(new_price(), archived(), migrate())
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    assert billed(scene) == []
    scene.and_then(renew(), at=MID)
    assert billed(scene) == [[5_600]]


def test_one_that_begins_later_begins_with_the_newest() -> None:
    scene = subscribed(starts_at=MID).and_then(new_price(), archived(), migrate())
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    scene.and_then(renew(), at=MID)
    assert billed(scene) == [[5_600]]


def test_one_whose_service_is_withheld_is_moved_as_it_is_billed() -> None:
    scene = subscribed().and_then(SuspendSubscription(subscription_id=SUBSCRIPTION_ID), NEW_VERSION, migrate())
    assert counts(run(scene)) == {"total": 1, "moved": 1}


def test_what_is_due_by_then_comes_first_whether_its_timer_ran_or_not() -> None:
    def moved(*, timer_runs: bool) -> Given:
        scene = subscribed().and_then(new_price(), archived())
        if timer_runs:
            scene.and_then(renew(), at=FEBRUARY)
        scene.and_then(migrate(), at=MARCH)
        run(scene, MARCH)
        return scene

    assert (
        billed(moved(timer_runs=True))
        == billed(moved(timer_runs=False))
        == [[2_800], [2_800], [2_800], [-2_800, 5_600]]
    )


def test_one_that_leaves_the_plan_while_it_runs_is_left_as_it_is() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    found = FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=(SUBSCRIPTION_ID,), is_last=True)
    there = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID, plan_id=OTHER_PLAN, items=(ChangedItem(price_id=ELSEWHERE),)
    )
    scene.and_then(found, there)
    assert counts(run(scene)) == {"total": 1, "refused": 1}
    assert outcome_of(scene, SUBSCRIPTION_ID).code == "subscription_left_plan"
    assert of(scene).terms.plan_id == OTHER_PLAN


def test_one_that_ends_or_gets_there_while_it_runs_is_counted_as_that() -> None:
    scene = subscribed().and_then(subscribe(subscription_id=SECOND), NEW_VERSION, migrate())
    both = (SUBSCRIPTION_ID, SECOND)
    scene.and_then(
        FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=both, is_last=True),
        CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False),
        ChangeSubscription(subscription_id=SECOND, plan_id=PLAN_ID),
    )
    assert counts(run(scene)) == {"total": 2, "already_there": 1, "refused": 1}
    assert outcome_of(scene, SUBSCRIPTION_ID).code == "subscription_canceled"


def test_one_whose_customer_is_deleted_meanwhile_has_ended() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    found = FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=(SUBSCRIPTION_ID,), is_last=True)
    scene.and_then(found, CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False))
    scene.and_then(DeleteCustomer(customer_id=CUSTOMER_ID, leaves_unsettled=True))
    assert counts(run(scene)) == {"total": 1, "refused": 1}


def test_a_version_that_comes_while_it_runs_is_for_another_migration() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(), ChangePlanTerms(plan_id=PLAN_ID, trial_days=7))
    run(scene)
    refused(scene, "plan_has_newer_version")


def test_a_plan_that_is_archived_while_it_runs_is_not_sold_to_the_rest() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(), ArchivePlan(plan_id=PLAN_ID))
    run(scene)
    refused(scene, "plan_archived")


def test_a_price_in_another_currency_alone_takes_no_place() -> None:
    euros = Flat(amount=Money(2_500, currency_code("EUR")))
    scene = given(create_customer(), *plan_on_sale()).and_then(subscribe(), archived())
    scene.and_then(CreatePrice(price_id=NEWER, plan_id=PLAN_ID, price=euros), migrate())
    run(scene)
    refused(scene, "no_successor")
    scene.and_then(new_price(NEWEST), migrate(migration_id=LATER))
    assert counts(run(scene, NOW, LATER)) == {"total": 1, "moved": 1}
    assert [item.price_id for item in of(scene).terms.items] == [NEWEST]


def test_subscriptions_on_test_clocks_are_moved_at_their_own_time_and_a_clock_that_stands_still_holds_up_nothing() -> (
    None
):
    clock_id = id_of("clock_")
    clock = CreateTestClock(clock_id=clock_id, name="c", frozen_at=MARCH, mode=TenantMode.TEST)
    scene = subscribed().and_then(clock, create_customer(customer_id=OTHER_CUSTOMER_ID, test_clock_id=clock_id))
    scene.and_then(subscribe(subscription_id=SECOND, customer_id=OTHER_CUSTOMER_ID), NEW_VERSION)
    scene.and_then(migrate(effective_at=FEBRUARY))
    migration = run(scene)
    assert counts(migration) == {"total": 2, "scheduled": 1, "refused": 1}
    assert migration.status is MigrationStatus.COMPLETED
    refused(scene, "change_not_ahead", SECOND)
    settled = [each for each in scene.books.log if each.stream.name == "plan_migration"]
    assert {each.effective_at for each in settled if each.effective_at is not None} == {NOW}
    assert CompleteTestClockAdvance not in {type(each.event) for each in scene.books.log}


# --- how it ends ---------------------------------------------------------------------------------------------------


def test_once_canceled_no_more_is_moved_and_what_was_stays() -> None:
    scene = subscribed().and_then(subscribe(subscription_id=SECOND), subscribe(subscription_id=THIRD), NEW_VERSION)
    scene.and_then(migrate())
    running = steps(scene.books, NOW)
    while migration_of(scene.books).moved < 1:
        next(running)
    scene.and_then(CANCEL)
    for _ in running:
        pass
    migration = migration_of(scene.books)
    assert (migration.status, counts(migration)) == (MigrationStatus.CANCELED, {"total": 3, "moved": 1, "pending": 2})
    scene.and_then(migrate(migration_id=LATER))
    assert counts(run(scene, NOW, LATER)) == {"total": 3, "moved": 2, "already_there": 1}


def test_what_it_has_scheduled_is_taken_back_also_once_it_is_completed() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(proration=Proration.PERIOD_END))
    assert run(scene).status is MigrationStatus.COMPLETED
    scene.and_then(CANCEL)
    assert migration_of(scene.books).status is MigrationStatus.CANCELING
    migration = run(scene)
    assert (migration.status, counts(migration)) == (MigrationStatus.CANCELED, {"total": 1, "taken_back": 1})
    assert of(scene).scheduled is None
    scene.and_then(renew(), at=FEBRUARY)
    assert of(scene).terms.plan_version == 1


def test_what_has_taken_effect_by_its_time_is_not_taken_back_whether_the_timer_ran_or_not() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(proration=Proration.PERIOD_END))
    run(scene)
    scene.and_then(CANCEL, at=FEBRUARY)
    assert counts(run(scene, FEBRUARY)) == {"total": 1, "scheduled": 1}
    scene.and_then(renew(), at=FEBRUARY)
    assert of(scene).terms.plan_version == 2


def test_what_somebody_else_has_scheduled_meanwhile_is_theirs() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(proration=Proration.PERIOD_END))
    run(scene)
    scene.and_then(UnscheduleChange(subscription_id=SUBSCRIPTION_ID), SCHEDULE, CANCEL)
    assert counts(run(scene)) == {"total": 1, "scheduled": 1}
    assert of(scene).scheduled is not None


def test_what_the_store_refuses_is_counted_and_left_as_it_is() -> None:
    scene = subscribed().and_then(subscribe(subscription_id=SECOND), NEW_VERSION)
    scene.and_then(migrate(proration=Proration.PERIOD_END))
    both = (SUBSCRIPTION_ID, SECOND)
    scene.and_then(
        FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=both, is_last=True),
        RefuseMove(migration_id=MIGRATION_ID, subscription_id=SUBSCRIPTION_ID, code="taken", detail="It is taken."),
    )
    assert counts(run(scene)) == {"total": 2, "scheduled": 1, "refused": 1}
    assert outcome_of(scene, SUBSCRIPTION_ID).code == "taken"
    scene.and_then(CANCEL, TakeBackMove(migration_id=MIGRATION_ID, subscription_id=SECOND, leaves_it=True))
    migration = run(scene)
    assert (migration.status, counts(migration)["scheduled"]) == (MigrationStatus.CANCELED, 1)
    assert of(scene, SECOND).scheduled is not None


def test_what_is_over_is_not_canceled() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    run(scene)
    scene.when(CANCEL).then_refused(PlanMigrationIsOver, status="completed")


def test_nothing_is_moved_by_a_run_that_is_late() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(), CANCEL)
    scene.when(MoveSubscription(migration_id=MIGRATION_ID, subscription_id=SUBSCRIPTION_ID)).then_refused(
        PlanMigrationIsOver, status="canceled"
    )
    assert (WorkKind.PLAN_MIGRATION, MIGRATION_ID) not in scene.books.due


def test_subscriptions_are_found_once_however_often_somebody_looks() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    look = FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=(SUBSCRIPTION_ID,), is_last=True)
    scene.and_then(look)
    scene.when(look).then_nothing()


# --- what does not begin ---------------------------------------------------------------------------------------------


def test_a_plan_has_one_migration_at_a_time() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    scene.when(migrate(migration_id=LATER)).then_refused(PlanMigrationIsRunning)
    scene.and_then(CANCEL, migrate(migration_id=LATER))


def test_nobody_is_moved_to_what_is_not_sold() -> None:
    subscribed().and_then(ArchivePlan(plan_id=PLAN_ID)).when(migrate()).then_refused(PlanIsArchived)
    subscribed().when(migrate(plan_id=ADD_ON_PLAN)).then_refused(PlanIsAddOn)
    subscribed().when(migrate(from_version=2)).then_refused(UnknownPlanVersion, newest=1)


def test_replacements_are_prices_of_the_plan_each_once() -> None:
    twice = becomes(PRICE_ID, None) * 2
    subscribed().when(migrate(prices=twice)).then_refused(ContradictoryReplacement).then_is_about("prices.1.price")
    wrong = becomes(PRICE_ID, ELSEWHERE)
    subscribed().when(migrate(prices=wrong)).then_refused(PriceOfAnotherPlan).then_is_about("prices.0.becomes")
    wrong = becomes(ELSEWHERE, PRICE_ID)
    subscribed().when(migrate(prices=wrong)).then_refused(PriceOfAnotherPlan).then_is_about("prices.0.price")
    subscribed().when(migrate(adds=(ADD_ON,))).then_refused(PriceOfAnotherPlan).then_is_about("add.0")


def test_it_takes_effect_on_a_date_or_with_the_period_and_ahead() -> None:
    both = migrate(proration=Proration.PERIOD_END, effective_at=MID)
    subscribed().when(both).then_refused(ContradictoryChange)
    subscribed().when(migrate(effective_at=NOW, is_live=True)).then_refused(ChangeNotAhead)


# --- transferred meanwhile ------------------------------------------------------------------------------------------


def transferred(scene: Given, **facts: Any) -> None:
    """Its subscription goes on as another customer's."""
    told: dict[str, Any] = {"customer_id": OTHER_CUSTOMER_ID, "to_subscription_id": SECOND, "at_period_end": False}
    scene.and_then(create_customer(customer_id=OTHER_CUSTOMER_ID))
    scene.and_then(TransferSubscription(subscription_id=SUBSCRIPTION_ID, **told | facts))


def test_what_it_has_scheduled_goes_on_with_a_transfer_and_is_taken_back_there() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate(proration=Proration.PERIOD_END))
    run(scene)
    transferred(scene)
    assert of(scene, SECOND).scheduled is not None
    scene.and_then(CANCEL)
    assert counts(run(scene)) == {"total": 1, "taken_back": 1}
    assert of(scene, SECOND).scheduled is None


@pytest.mark.parametrize("proration", [Proration.INVOICE_NOW, Proration.PERIOD_END])
def test_what_is_transferred_while_they_are_found_is_changed_once(proration: Proration) -> None:
    """It is found by both ids: under the second one it is there already."""
    scene = subscribed().and_then(NEW_VERSION, migrate(proration=proration))
    finding = steps(scene.books, NOW, page=1)
    next(finding)
    transferred(scene)
    before = len(scene.books.log)
    for _ in finding:
        pass
    outcome = "moved" if proration is Proration.INVOICE_NOW else "scheduled"
    assert counts(migration_of(scene.books)) == {"total": 2, outcome: 1, "already_there": 1}
    changes = [type(each.event) for each in scene.books.log[before:]]
    assert changes.count(SubscriptionChanged) + changes.count(SubscriptionChangeScheduled) == 1
    if proration is Proration.PERIOD_END:
        scene.and_then(CANCEL)
        assert counts(run(scene)) == {"total": 2, "taken_back": 1, "already_there": 1}
        assert of(scene, SECOND).scheduled is None


def test_what_is_transferred_between_the_look_and_its_decision_is_not_missed() -> None:
    """The candidates were read before, so the one that goes on is not among them."""
    scene = subscribed().and_then(NEW_VERSION, migrate())
    transferred(scene)
    scene.and_then(FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=(SUBSCRIPTION_ID,), is_last=True))
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    assert of(scene, SECOND).terms.plan_version == 2


def test_what_is_transferred_then_is_left_to_the_page_on_which_it_goes_on() -> None:
    scene = subscribed().and_then(NEW_VERSION, migrate())
    transferred(scene)
    looked = FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=(SUBSCRIPTION_ID,), is_last=False)
    scene.and_then(looked)
    assert counts(run(scene)) == {"total": 1, "moved": 1}
    assert outcome_of(scene, SECOND).outcome is MoveOutcome.MOVED


@pytest.mark.parametrize("is_passed", [True, False])
def test_what_was_transferred_since_it_was_found_is_moved_where_it_goes_on(is_passed: bool) -> None:
    """Be its boundary passed by its timer, or only by the move."""
    scene = subscribed()
    transferred(scene, at_period_end=True)
    scene.and_then(NEW_VERSION, migrate())
    scene.and_then(FindSubscriptions(migration_id=MIGRATION_ID, after="", candidates=(SUBSCRIPTION_ID,), is_last=True))
    if is_passed:
        scene.and_then(renew(), at=FEBRUARY)
    assert counts(run(scene, FEBRUARY)) == {"total": 1, "moved": 1}
    assert (of(scene).terms.plan_version, of(scene, SECOND).terms.plan_version) == (1, 2)
