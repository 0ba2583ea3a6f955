"""A timer that runs late changes nothing: a command on a subscription first does what is due before its own time."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.customers.customer import DeleteCustomer
from domain.customers.test_clock import AdvanceTestClock, CompleteTestClockAdvance, MoveTestClock
from domain.invoicing.finalization import InvoiceFinalized, VoidInvoice
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.invoicing.state import Invoice
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, WorkKind
from domain.payments.commands import CollectInvoice
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.cancellation import (
    CancellationReason,
    SubscriptionCancellationScheduled,
    SubscriptionIsCanceled,
)
from domain.subscriptions.commands import CreateSubscription, RenewSubscription
from domain.subscriptions.pause_commands import (
    PauseSubscription,
    ReactivateSubscription,
    ResumeSubscription,
    SuspendSubscription,
)
from domain.subscriptions.renewal import MAX_PERIODS_AT_ONCE
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionIsOverdue, SubscriptionPeriodStarted
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_CHARGE,
    BY_HAND,
    CLOCK_ID,
    CUSTOMER_ID,
    IN_ARREARS,
    MONTH,
    OTHER_CUSTOMER_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    frozen_clock,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import (
    APRIL,
    DAY,
    FEBRUARY,
    MARCH,
    RENEWAL,
    cancel_at_period_end,
    cancel_now,
    canceled,
    period_invoice,
    renew,
    timer,
)
from testing.moments import utc
from testing.specification import NOW, Books, Given, Result, given
from tests.lengths import LENGTH

WEEK = Interval(IntervalUnit.WEEK)
TENTH_OF_MARCH = utc("2026-03-10T12:00")


def billed(outcome: Result) -> list[tuple[datetime, int]]:
    """When and how much: every invoice so far."""
    return [
        (change.event.finalized_at, change.event.total.amount)
        for change in outcome.books.log
        if isinstance(change.event, InvoiceFinalized)
    ]


def subscribed(interval: Interval = MONTH, at: datetime = NOW, **prices: Any) -> Given:
    price_id = ARREARS_PRICE_ID if "in_arrears" in prices else PRICE_ID
    return given(create_customer(), *plan_on_sale(interval, **prices)).and_then(subscribe(price_id), at=at)


# --- what was billed too little ----------------------------------------------------------------------------------


def test_cancelling_before_an_overdue_renewal_bills_the_period_in_arrears_and_the_days_after_it() -> None:
    outcome = subscribed(in_arrears=flat(3_000)).when(cancel_now(), at=TENTH_OF_MARCH)
    assert billed(outcome) == [(FEBRUARY, 3_000), (TENTH_OF_MARCH, 968)]  # 10 of 31 days
    outcome.then_at(TENTH_OF_MARCH).then_shows(
        SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED, canceled_at=TENTH_OF_MARCH
    )


def test_cancelling_before_an_overdue_renewal_bills_the_period_that_began() -> None:
    january = utc("2026-01-01T00:00")
    outcome = subscribed(at=january, in_advance=flat(3_100)).when(cancel_now(), at=utc("2026-02-15T00:00"))
    assert billed(outcome) == [(january, 3_100), (utc("2026-02-01T00:00"), 3_100)]


def test_cancelling_before_three_overdue_renewals_bills_all_four_weeks() -> None:
    monday = utc("2026-03-02T00:00")
    outcome = subscribed(WEEK, monday, in_advance=flat(700)).when(cancel_now(), at=utc("2026-03-26T00:00"))
    assert billed(outcome) == [(monday + timedelta(weeks=week), 700) for week in range(4)]


def test_renewals_that_were_missed_are_each_billed_at_their_own_time() -> None:
    late = utc("2026-04-02T00:00")
    outcome = subscribed().when(renew(FEBRUARY), at=late).then_schedules(timer(APRIL))
    assert billed(outcome) == [(NOW, 1_000), (FEBRUARY, 1_000), (MARCH, 1_000)]
    assert [change.effective_at for change in outcome.done.changes] == [FEBRUARY] * 3 + [MARCH] * 3
    invoice: Invoice = outcome.books.states["invoice", period_invoice(1)]
    assert invoice.due_at == FEBRUARY + timedelta(days=30)


# --- how it ends -------------------------------------------------------------------------------------------------


def test_an_end_with_the_period_is_never_scheduled_for_the_past() -> None:
    scheduled = SubscriptionCancellationScheduled(subscription_id=SUBSCRIPTION_ID, cancel_at=MARCH, with_period=True)
    outcome = subscribed().when(cancel_at_period_end(), at=TENTH_OF_MARCH).then_schedules(timer(MARCH))
    assert outcome.done.events[-1] == scheduled
    assert billed(outcome) == [(NOW, 1_000), (FEBRUARY, 1_000)]


def test_a_subscription_that_should_have_ended_with_its_period_is_not_cancelled_again() -> None:
    ending = subscribed().and_then(cancel_at_period_end())
    ending.when(cancel_now(), at=TENTH_OF_MARCH).then_refused(SubscriptionIsCanceled)
    ending.when(renew(FEBRUARY), at=TENTH_OF_MARCH).then(canceled(FEBRUARY, CancellationReason.PERIOD_END))


def test_a_customer_who_was_deleted_after_a_boundary_was_there_at_it() -> None:
    outcome = (
        subscribed()
        .and_then(DeleteCustomer(customer_id=CUSTOMER_ID), at=TENTH_OF_MARCH)
        .when(renew(FEBRUARY), at=TENTH_OF_MARCH)
        .then_schedules(timer(MARCH))
    )
    assert billed(outcome) == [(NOW, 1_000), (FEBRUARY, 1_000)]
    outcome.when(renew(MARCH), at=MARCH).then(canceled(MARCH, CancellationReason.CUSTOMER_DELETED))


def test_an_invoice_that_cannot_be_collected_makes_no_subscription_past_due_that_should_have_ended() -> None:
    outcome = (
        given(create_customer(), *plan_on_sale(), subscribe(collection=BY_CHARGE), cancel_at_period_end())
        .when(CollectInvoice(invoice_id=period_invoice(0), payment_id=id_of("pay_")), at=TENTH_OF_MARCH)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED, past_due_invoice_ids=())
    )
    assert outcome.done.events[1:] == [canceled(FEBRUARY, CancellationReason.PERIOD_END)]


# --- bounds ------------------------------------------------------------------------------------------------------


def test_years_are_caught_up_with_in_bounded_batches() -> None:
    late = NOW + timedelta(days=2 * MAX_PERIODS_AT_ONCE + 5, hours=1)
    history: Given = subscribed(DAY)
    for left in (MAX_PERIODS_AT_ONCE + 5, 5):
        history.when(cancel_now(), at=late).then_refused(SubscriptionIsOverdue, most=MAX_PERIODS_AT_ONCE)
        outcome = history.when(renew(), at=late)
        started = [event for event in outcome.done.events if isinstance(event, SubscriptionPeriodStarted)]
        assert len(started) == MAX_PERIODS_AT_ONCE
        (waiting,) = outcome.done.scheduled
        assert waiting.due_at == late - timedelta(days=left - 1, hours=1), "due again at once"
        history = outcome
    outcome = history.when(cancel_now(), at=late)
    assert len(billed(outcome)) == 2 * MAX_PERIODS_AT_ONCE + 6


# --- late or not, all the same -----------------------------------------------------------------------------------


INSTANT = timedelta(microseconds=1)
"""With every step, so that no two commands of a history have the same time of day, and boundaries keep theirs."""


class Step(NamedTuple):
    """What somebody does, so many hours after the last thing; `timers`: whether the late timers run before it."""

    hours: int
    what: str
    n: int
    timers: bool


PLANS = (MONTH, WEEK, Interval(IntervalUnit.DAY, 10))
ZONES = ("UTC", "America/New_York", "Asia/Tokyo")
BY_NAME: dict[str, type[ResumeSubscription | SuspendSubscription | ReactivateSubscription]] = {
    "resume": ResumeSubscription,
    "suspend": SuspendSubscription,
    "reactivate": ReactivateSubscription,
}
OF_SUBSCRIPTIONS = {
    *BY_NAME,
    "pause",
    "pause until",
    "extend",
    "end trial",
    "undo",
    "renew",
    "cancel now",
    "cancel at period end",
    "cancel on a date",
}
CUSTOMERS = (CUSTOMER_ID, OTHER_CUSTOMER_ID)
WHAT = [
    *["subscribe"] * 3,
    *[
        "cancel now",
        "cancel at period end",
        "cancel on a date",
        "undo",
        "extend",
        "end trial",
        "renew",
        "pay",
        "void",
        "collect",
        "collect",
    ],
    *["advance the clock"] * 3,
    "delete",
]


def plan(n: int) -> tuple[Command, ...]:
    """A plan with a price in advance and one in arrears."""
    plan_id = id_of("plan_", 10 + n)
    terms = PlanTerms(name="Phone", interval=PLANS[n], trial_days=7 if n == 1 else 0)
    return (
        CreatePlan(plan_id=plan_id, product_id=PRODUCT_ID, terms=terms),
        CreatePrice(price_id=id_of("price_", 20 + n), plan_id=plan_id, price=flat(1_000 + n)),
        CreatePrice(price_id=id_of("price_", 30 + n), plan_id=plan_id, price=flat(301), timing=IN_ARREARS),
    )


class World:
    """A tenant with one customer in real time and one on a test clock. Its timers run at once, or when they may.

    No command comes at the very instant at which something is due: there it matters who comes first.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.books = Books()
        self.now = self.clock_now = NOW
        self.advances = 0
        commands: list[Command] = [
            frozen_clock(),
            create_customer(),
            create_customer(customer_id=OTHER_CUSTOMER_ID, test_clock_id=CLOCK_ID),
            *plan_on_sale(),
            *(command for n in range(len(PLANS)) for command in plan(n)),
        ]
        for command in commands:
            self.books.do(command, self.now)

    def timers(self, *, until: datetime, clock_id: str | None = None) -> None:
        """Run what is due on a clock, in order; where timers run at once, each when it is due."""
        while True:
            due = sorted(
                (work.due_at, work.subject)
                for work in self.books.due.values()
                if work.kind is WorkKind.SUBSCRIPTION_RENEWAL
                and work.clock_id == clock_id
                and work.due_at is not None
                and work.due_at <= until
            )
            if not due:
                return
            due_at, subject = due[0]
            if clock_id is not None and self.at_once:
                self.books.do(MoveTestClock(clock_id=clock_id, advance=self.advances, to=due_at), self.now)
            now = due_at if self.at_once else self.now
            self.books.do(RenewSubscription(subscription_id=subject, due_at=due_at), now)

    def time_passes(self, hours: int, *, timers: bool) -> None:
        self.now += timedelta(hours=hours) + INSTANT
        if self.at_once or timers:
            self.timers(until=self.now)
        if timers and not self.at_once:
            self.timers(until=self.clock_now, clock_id=CLOCK_ID)

    def advance_the_clock(self, hours: int) -> None:
        self.clock_now += timedelta(hours=hours) + INSTANT
        self.advances += 1
        self.books.do(AdvanceTestClock(clock_id=CLOCK_ID, to=self.clock_now), self.now)
        if self.at_once:
            self.timers(until=self.clock_now, clock_id=CLOCK_ID)
        self.books.do(CompleteTestClockAdvance(clock_id=CLOCK_ID, advance=self.advances), self.now)

    def answer(self, command: Command) -> str:
        """Accepted, or the code of the refusal."""
        try:
            self.books.do(command, self.now)
        except Refusal as refusal:
            return refusal.code
        return "accepted"

    def known(self, stream: str) -> list[str]:
        return [stream_id for name, stream_id in self.books.states if name == stream]

    def outcome(self) -> Any:
        """What it all came to, but for the order in which invoices were numbered."""
        states = {
            key: replace(state, number=None) if isinstance(state, Invoice) else state
            for key, state in self.books.states.items()
        }
        return states, self.books.claims, {key: work for key, work in self.books.due.items() if key[0] is RENEWAL}


def command_of(step: Step, number: int, late: World) -> Command | None:
    """What a client who sees only what has happened where timers are late may ask for."""
    match step.what:
        case "subscribe":
            n = step.n % len(PLANS)
            price_ids = [id_of("price_", tens + n) for tens in (20, 30)]
            return CreateSubscription(
                subscription_id=id_of("sub_", 100 + number),
                customer_id=CUSTOMERS[step.n % 2],
                plan_id=id_of("plan_", 10 + n),
                items=tuple(RequestedItem(price_id=price_id, quantity=Decimal(1)) for price_id in price_ids),
                collection=BY_CHARGE if step.n % 3 else BY_HAND,
                starts_at=late.now + timedelta(hours=step.n - 500) if step.n % 5 < 2 else None,
                time_zone=ZONES[step.n % len(ZONES)],
            )
        case "delete":
            return DeleteCustomer(customer_id=CUSTOMERS[step.n % 2])
        case what if what in OF_SUBSCRIPTIONS:
            known = late.known("subscription")
            if not known:
                return None
            subscription_id = known[step.n % len(known)]
            if step.what == "renew":
                return RenewSubscription(subscription_id=subscription_id)
            if step.what in {"resume", "suspend", "reactivate"}:
                return BY_NAME[step.what](subscription_id=subscription_id)
            if step.what in {"pause", "pause until"}:
                resumes_at = late.now + timedelta(hours=step.n) if step.what == "pause until" else None
                return PauseSubscription(subscription_id=subscription_id, resumes_at=resumes_at)
            if step.what == "extend":
                return ExtendTrial(subscription_id=subscription_id, trial_end=late.now + timedelta(hours=step.n))
            if step.what == "end trial":
                return EndTrial(subscription_id=subscription_id)
            if step.what == "undo":
                return UndoCancellation(subscription_id=subscription_id)
            return CancelSubscription(
                subscription_id=subscription_id,
                at_period_end=step.what == "cancel at period end",
                cancel_at=late.now + timedelta(hours=step.n) if step.what == "cancel on a date" else None,
            )
    known = late.known("invoice")
    if not known:
        return None
    invoice_id = known[step.n % len(known)]
    match step.what:
        case "pay":
            return PayInvoiceOutOfBand(invoice_id=invoice_id)
        case "void":
            return VoidInvoice(invoice_id=invoice_id)
        case _:
            return CollectInvoice(invoice_id=invoice_id, payment_id=id_of("pay_", 100 + number))


steps = st.lists(
    st.builds(Step, st.integers(0, 1_000), st.sampled_from(WHAT), st.integers(0, 2**10), st.booleans()), max_size=14
)


@settings(max_examples=LENGTH.scaled(100))
@examples(steps)
def test_timers_that_run_late_come_to_the_same_as_timers_that_run_at_once(history: list[Step]) -> None:
    at_once, late = World(at_once=True), World(at_once=False)
    for number, step in enumerate(history):
        if step.what == "advance the clock":
            if step.hours:
                at_once.advance_the_clock(step.hours)
                late.advance_the_clock(step.hours)
            continue
        at_once.time_passes(step.hours, timers=True)
        late.time_passes(step.hours, timers=step.timers)
        command = command_of(step, number, late)
        if command is not None:
            answers = at_once.answer(command), late.answer(command)
            if step.what != "renew":  # by hand: there is something to do only where the timer is late
                assert answers[0] == answers[1]
    for world in (at_once, late):
        world.time_passes(0, timers=True)
    assert late.outcome() == at_once.outcome()
