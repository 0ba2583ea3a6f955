"""A migration of a plan against a simple model: whatever happens to its subscriptions while it runs, dies and begins
again, each is counted exactly once, as what the model says of it at that moment.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import given as for_all

from domain.catalog.plan import ChangePlanTerms
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.migration import MigrationStatus, PlanMigrationIsOver, PlanMigrationSubscriptionsFound
from domain.subscriptions.migration_commands import CancelPlanMigration
from domain.subscriptions.migration_move import MoveOutcome, PlanMigrationSubscriptionSettled
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    PLAN_ID,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.specification import NOW, Books, given
from tests.domain.subscriptions.plan_migration_run import MIGRATION_ID, Keys, counts, migrate, migration_of, steps

MADE_MAX: Final = 8
_MADE: Final[dict[str, Callable[[str], Command]]] = {
    "pause": lambda of: PauseSubscription(subscription_id=of),
    "resume": lambda of: ResumeSubscription(subscription_id=of),
    "schedule": lambda of: ChangeSubscription(
        subscription_id=of, items=(ChangedItem(price_id=ARREARS_PRICE_ID),), proration=Proration.PERIOD_END
    ),
    "unschedule": lambda of: UnscheduleChange(subscription_id=of),
    "end": lambda of: CancelSubscription(subscription_id=of, at_period_end=False),
    "end_later": lambda of: CancelSubscription(subscription_id=of, at_period_end=True),
    "move": lambda of: ChangeSubscription(subscription_id=of, plan_id=PLAN_ID),
}
"""What happens to a subscription besides."""
_HOLDS_UP: Final = {"pause": "pause", "schedule": "change", "end_later": "end"}
_LETS_GO: Final = {"resume": "pause", "unschedule": "change"}


@dataclass(slots=True)
class Known:
    """What the model knows of one subscription."""

    is_newest: bool = False
    is_over: bool = False
    held_up: set[str] = field(default_factory=set)

    def outcome(self, proration: Proration) -> MoveOutcome:
        """What is to become of it when it is moved now."""
        if self.is_over:
            return MoveOutcome.REFUSED
        if self.is_newest:
            return MoveOutcome.ALREADY_THERE
        if self.held_up:
            return MoveOutcome.REFUSED
        return MoveOutcome.SCHEDULED if proration is Proration.PERIOD_END else MoveOutcome.MOVED


class Model:
    """A tenant in memory, and what the model knows of it."""

    def __init__(self, subscriptions: int) -> None:
        self.books = given(create_customer(), *plan_on_sale(in_advance=flat(2_800), in_arrears=flat(5_600))).books
        self.known: dict[str, Known] = {}
        for _ in range(subscriptions):
            self.subscribe(is_newest=False)
        self.books.do(ChangePlanTerms(plan_id=PLAN_ID, name="Phone, better"), NOW)
        self.seen = len(self.books.log)

    def subscribe(self, *, is_newest: bool = True) -> None:
        """Somebody subscribes to the plan as it is."""
        subscription_id = id_of("sub_", len(self.known) + 1)
        self.books.do(subscribe(subscription_id=subscription_id), NOW)
        self.known[subscription_id] = Known(is_newest=is_newest)

    def happens(self, what: str, nth: int) -> None:
        """To one of them, unless that is refused."""
        subscription_id = sorted(self.known)[nth % len(self.known)]
        try:
            self.books.do(_MADE[what](subscription_id), NOW)
        except Refusal:
            return
        known = self.known[subscription_id]
        if what in _HOLDS_UP:
            known.held_up.add(_HOLDS_UP[what])
        elif what in _LETS_GO:
            known.held_up.discard(_LETS_GO[what])
        elif what == "end":
            known.is_over = True
        else:
            known.is_newest = True

    def settled(self, proration: Proration) -> None:
        """What the migration has done since is what the model says."""
        for change in self.books.log[self.seen :]:
            event: Any = change.event
            if isinstance(event, PlanMigrationSubscriptionSettled):
                known = self.known[event.subscription_id]
                assert event.outcome is known.outcome(proration), (event, known)
                if event.outcome is MoveOutcome.MOVED:
                    known.is_newest = True
                if event.outcome is MoveOutcome.SCHEDULED:
                    known.held_up.add("change")
            elif isinstance(event, PlanMigrationSubscriptionsFound):
                assert not any(
                    self.known[each].is_newest or self.known[each].is_over for each in event.subscription_ids
                )
        self.seen = len(self.books.log)


WHAT: Final = st.sampled_from(["subscribe", "dies", "nothing", "nothing", "cancel", *_MADE])
HAPPENINGS: Final = st.lists(st.tuples(WHAT, st.integers(min_value=0, max_value=MADE_MAX)), max_size=40)


@for_all(
    st.integers(min_value=1, max_value=MADE_MAX),
    HAPPENINGS,
    HAPPENINGS,
    st.sampled_from([Proration.NEXT_INVOICE, Proration.INVOICE_NOW, Proration.PERIOD_END]),
)
def test_each_subscription_is_counted_exactly_once(
    subscriptions: int, before: list[tuple[str, int]], meanwhile: list[tuple[str, int]], proration: Proration
) -> None:
    model = Model(subscriptions)
    for what, nth in before:
        if what in _MADE:
            model.happens(what, nth)
    model.books.do(migrate(proration=proration), NOW)
    done: Keys = set()
    running = steps(model.books, NOW, done=done)
    for what, nth in meanwhile:
        if next(running, "over") == "over":
            break
        model.settled(proration)
        _happens(model, what, nth)
        if what == "dies":
            running = steps(model.books, NOW, done=done)
        counts(migration_of(model.books))
    for _ in running:
        model.settled(proration)
    model.settled(proration)
    _ended(model.books)


def _happens(model: Model, what: str, nth: int) -> None:
    if what == "subscribe":
        model.subscribe()
    elif what == "cancel":
        with suppress(PlanMigrationIsOver):
            model.books.do(CancelPlanMigration(migration_id=MIGRATION_ID), NOW)
    elif what in _MADE:
        model.happens(what, nth)


def _ended(books: Books) -> None:
    """It is over, nobody is forgotten or counted twice, and what was moved is on the newest version."""
    migration = migration_of(books)
    found = counts(migration)
    events: list[Any] = [change.event for change in books.log]
    settled = [each.subscription_id for each in events if isinstance(each, PlanMigrationSubscriptionSettled)]
    looked = [
        each
        for event in events
        if isinstance(event, PlanMigrationSubscriptionsFound)
        for each in event.subscription_ids
    ]
    assert len(set(settled)) == len(settled)
    assert len(set(looked)) == len(looked)
    assert set(settled) <= set(looked)
    if migration.status is MigrationStatus.COMPLETED:
        assert set(settled) == set(looked)
        assert "pending" not in found
    else:
        assert migration.status is MigrationStatus.CANCELED
        assert found.get("pending", 0) == len(set(looked) - set(settled))
    for each in events:
        if isinstance(each, PlanMigrationSubscriptionSettled) and each.outcome is MoveOutcome.MOVED:
            assert SUBSCRIPTION.of(books, each.subscription_id).terms.plan_version == migration.to_version
