"""Random lives of several customers, of all commands there are about what they are billed, two at once among them.

After every command: each day of each thing sold is billed exactly once, in lines that are their share of a price
rounded once; debits equal credits; what the log posted about each invoice is what the invoice says (I8); nothing due is
below zero, no credit above its line, numbers have no gap, and the timer of a subscription is at what comes next. At the
end the audit's own check goes over the whole log, and a replay comes to the same states. `Books` checks on the way that
deciding and evolving are pure and that every event survives the wire.

What of `../test_histories.py` is about payments and refunds says which commands must be accepted; this one says what
they come to.
"""

from datetime import datetime, timedelta
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from domain.customers.test_clock import TEST_CLOCK, AdvanceTestClock, CompleteTestClockAdvance
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.invoice import INVOICE
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Decision, WorkKind
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import CLOCK_ID, attach_card, create_customer, frozen_clock
from testing.examples.taxes import BERLIN, PARIS, taxed_in_germany
from testing.moments import utc
from tests.domain.lifecycle.customer_wishes import OF_CUSTOMERS
from tests.domain.lifecycle.invoice_wishes import OF_INVOICES
from tests.domain.lifecycle.payment_wishes import OF_PAYMENTS
from tests.domain.lifecycle.shop import CATALOGUE
from tests.domain.lifecycle.subscription_wishes import OF_SUBSCRIPTIONS
from tests.domain.lifecycle.tenant import Tenant
from tests.domain.lifecycle.wish import Granting, Wish, card_of
from tests.lengths import LENGTH

BEGINNINGS: Final = tuple(
    map(
        utc,
        (
            "2026-01-31T10:00",
            "2026-03-28T01:30",  # a day before Europe's clocks go forward, at the hour that is left out
            "2026-10-24T00:45",  # a day before they go back, and Lord Howe's forward
            "2026-12-31T23:30",
            "2028-02-29T12:00",
        ),
    )
)
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Auckland")
HOUR, DAY = 3_600, 86_400

number = st.integers(0, 2**16)
GRANTED: Final[Granting] = {**OF_CUSTOMERS, **OF_SUBSCRIPTIONS, **OF_INVOICES, **OF_PAYMENTS}


def wishes(kinds: Granting) -> st.SearchStrategy[Wish]:
    """Of any of these kinds."""
    return st.builds(Wish, st.sampled_from(list(kinds)), number, number, number)


anything = wishes(GRANTED) | wishes(OF_SUBSCRIPTIONS)


class Lifecycles(RuleBasedStateMachine):
    tenant: Tenant

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        zones=st.lists(st.sampled_from(ZONES), min_size=3, max_size=3),
        grace_s=st.sampled_from([0, 0, HOUR, 3 * DAY]),
        is_taxed=st.booleans(),
        wishes=st.lists(number, min_size=9, max_size=9),
    )
    def open_for_business(
        self, beginning: datetime, zones: list[str], grace_s: int, is_taxed: bool, wishes: list[int]
    ) -> None:
        self.tenant = Tenant(now=beginning)
        for command in (
            frozen_clock(beginning),
            *CATALOGUE,
            *(taxed_in_germany() if is_taxed else ()),
            ChangeBillingSettings(grace_s=grace_s),
        ):
            self.tenant.do(command)
        for nth, (zone, place) in enumerate(zip(zones, (BERLIN, PARIS, None), strict=True)):
            customer_id = self.tenant.new("cus_")
            clock_id = CLOCK_ID if nth == 1 else None
            self.tenant.do(
                create_customer(customer_id=customer_id, time_zone=zone, tax_location=place, test_clock_id=clock_id)
            )
            self.tenant.do(
                attach_card(payment_method_id=card_of(customer_id), customer_id=customer_id, make_default=True)
            )
            self.ask(Wish("subscribe", *wishes[3 * nth : 3 * nth + 3]))

    # --- one by one ------------------------------------------------------------------------------------------------

    @rule(wish=wishes(OF_CUSTOMERS))
    def of_a_customer(self, wish: Wish) -> None:
        self.ask(wish)

    @rule(wish=wishes(OF_SUBSCRIPTIONS))
    def of_a_subscription(self, wish: Wish) -> None:
        self.ask(wish)

    @rule(wish=wishes(OF_SUBSCRIPTIONS))
    def of_a_subscription_again(self, wish: Wish) -> None:
        """Twice as often as of anything else: there is most to become of one."""
        self.ask(wish)

    @rule(wish=wishes(OF_INVOICES))
    def of_an_invoice(self, wish: Wish) -> None:
        self.ask(wish)

    @rule(wish=wishes(OF_PAYMENTS))
    def of_a_payment(self, wish: Wish) -> None:
        self.ask(wish)

    def ask(self, wish: Wish) -> None:
        command = GRANTED[wish.kind](self.tenant, wish)
        if command is not None:
            self.give(command)

    def give(self, command: Command) -> None:
        try:
            self.tenant.do(command)
        except Refusal:
            return

    @precondition(lambda self: self.tenant.steps)
    @rule(steps=st.lists(number, min_size=1, max_size=6))
    def sagas_go_on(self, steps: list[int]) -> None:
        """In any order; a step in four is delivered once more, later."""
        for n in steps:
            if self.tenant.steps:
                command = self.tenant.steps[n % len(self.tenant.steps)]
                if n % 4:
                    self.tenant.steps.remove(command)
                self.give(command)

    # --- two at once -----------------------------------------------------------------------------------------------

    @rule(one=anything, other=anything, is_same=st.booleans())
    def two_ask_at_once(self, one: Wish, other: Wish, is_same: bool) -> None:
        """Both are decided on the same states, whichever is recorded first; about the same thing, where `is_same`."""
        if is_same:
            other = other._replace(a=one.a)
        first, second = GRANTED[one.kind](self.tenant, one), GRANTED[other.kind](self.tenant, other)
        if first is None or second is None:
            return
        other_way = self.tenant.copy()
        _at_once(other_way, second, first)
        other_way.audit()
        _at_once(self.tenant, first, second)

    # --- time ------------------------------------------------------------------------------------------------------

    @rule(hours=st.integers(0, 900), clock_hours=st.integers(0, 900), timers=st.lists(number, max_size=8))
    def time_passes(self, hours: int, clock_hours: int, timers: list[int]) -> None:
        """For everybody, and on the test clock; then some of what is due by then is done, and some is late."""
        self.tenant.now += timedelta(hours=hours)
        self._advance_the_clock(timedelta(hours=clock_hours))
        self._run(timers)

    @rule(n=number, timers=st.lists(number, max_size=2))
    def time_comes_to_a_boundary(self, n: int, timers: list[int]) -> None:
        """To the very instant at which something becomes of a subscription."""
        living = [each for each in self.tenant.all(SUBSCRIPTION) if each.next_boundary is not None]
        if not living:
            return
        subscription = living[n % len(living)]
        boundary, now = subscription.next_boundary, self.tenant.time_of(subscription.customer_id)
        if boundary is None or boundary <= now:
            return
        if subscription.test_clock_id is None:
            self.tenant.now = boundary
        else:
            self._advance_the_clock(boundary - now)
        self._run(timers)

    def _advance_the_clock(self, by: timedelta) -> None:
        clock = TEST_CLOCK.of(self.tenant.books, CLOCK_ID)
        if by:
            self.tenant.do(AdvanceTestClock(clock_id=CLOCK_ID, to=clock.frozen_at + by))
            self.tenant.do(CompleteTestClockAdvance(clock_id=CLOCK_ID, advance=clock.advances + 1))

    def _run(self, timers: list[int]) -> None:
        """What a timer asks for when it is due is never refused."""
        for n in timers:
            due = self._due()
            if due:
                self.tenant.do(due[n % len(due)])

    def _due(self) -> list[Command]:
        found: list[Command] = []
        for (kind, subject), work in self.tenant.books.due.items():
            if kind is WorkKind.SUBSCRIPTION_RENEWAL:
                customer_id = SUBSCRIPTION.of(self.tenant.books, subject).customer_id
                command: Command = RenewSubscription(subscription_id=subject, due_at=work.due_at)
            elif kind is WorkKind.INVOICE_FINALIZATION:
                customer_id = INVOICE.of(self.tenant.books, subject).customer_id
                command = FinalizeInvoice(invoice_id=subject, due_at=work.due_at)
            else:
                continue
            if work.due_at is not None and work.due_at <= self.tenant.time_of(customer_id):
                found.append(command)
        return found

    def teardown(self) -> None:
        """Whatever is late is done; then the whole log is looked at."""
        if not (hasattr(self, "tenant") and self.tenant.is_sound):
            return
        for _ in range(200):
            due = self._due()
            if not due:
                break
            self.tenant.do(due[0])
        self.tenant.audit()


def _at_once(tenant: Tenant, first: Command, second: Command) -> None:
    """Both were decided before either was recorded. What rests on what the first one changed is decided again, and a
    refusal does, too; anything else is recorded as it was decided.
    """
    decided = [_decided(tenant, command) for command in (first, second)]
    changed: set[tuple[str, str]] = set()
    for command, (decision, read) in zip((first, second), decided, strict=True):
        if read & changed:
            decision, _ = _decided(tenant, command)
        if decision is None:
            continue
        try:
            done = tenant.land(command, decision)
        except Refusal:
            continue  # somebody else holds what it claims
        changed |= {(change.stream.name, change.stream_id) for change in done.changes}


def _decided(tenant: Tenant, command: Command) -> tuple[Decision | None, set[tuple[str, str]]]:
    read: set[tuple[str, str]] = set()
    try:
        return tenant.decided(command, read), read
    except Refusal:
        return None, read


TestLifecycles = Lifecycles.TestCase
TestLifecycles.settings = settings(max_examples=LENGTH.lifecycles, stateful_step_count=LENGTH.lifecycle_steps)
