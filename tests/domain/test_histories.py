"""Random histories of several customers against a naive model: what is accepted, what is owed, what is left to do.

After every command: debits equal credits, each account and each customer's receivable is what the model adds up,
refunds never exceed captures, numbers have no gap, no period is billed twice, due work and claims are exactly what is
unfinished. At the end a replay from the first event comes to the same states. `Books` checks on the way that deciding
and evolving are pure and that every event survives the wire.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.customers.customer import DeleteCustomer, SetDefaultPaymentMethod
from domain.customers.test_clock import AdvanceTestClock, CompleteTestClockAdvance
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.kernel.accounts import CASH, EQUITY, credit, debit
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.money import Money
from domain.ledger.journal_entry import PostJournalEntry, ReverseJournalEntry
from domain.payments.cancel_commands import CancelPayment
from domain.payments.commands import (
    CollectInvoice,
    ConfirmPayment,
    CreatePayment,
    PayInvoice,
)
from domain.payments.refund_commands import (
    RequestRefund,
)
from domain.pricing.models import BoundedPrice, Flat, PerUnit
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.pause_commands import (
    PauseSubscription,
    ReactivateSubscription,
    ResumeSubscription,
    SuspendSubscription,
)
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial
from testing.examples.pricing import JPY, graduated, package, volume
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_CHARGE,
    BY_HAND,
    CLOCK_ID,
    IN_ADVANCE,
    IN_ARREARS,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    USD,
    attach_card,
    create_customer,
    draft,
    flat,
    frozen_clock,
    id_of,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from tests.domain.history_checks import CheckedHistory, answered, card_of, pick, refund_answered
from tests.domain.history_model import RUNNING, Billed, Costs, Paying, Person, Returning, Subscribed
from tests.lengths import LENGTH

SEATS_PRICE_ID = id_of("price_", 3)
TIERED_PRICE_ID, VOLUME_PRICE_ID, PACKAGE_PRICE_ID = (id_of("price_", n) for n in (4, 5, 6))
QUARTER_PRICE_ID, YEAR_PRICE_ID = (id_of("price_", n) for n in (7, 8))
ADD_ON = CreatePlan(
    plan_id=id_of("plan_", 2),
    product_id=PRODUCT_ID,
    terms=PlanTerms(name="Support", interval=Interval(IntervalUnit.YEAR)),
    is_add_on=True,
)
PRICES = (
    CreatePrice(price_id=YEAR_PRICE_ID, plan_id=ADD_ON.plan_id, price=flat(7_000)),
    CreatePrice(price_id=SEATS_PRICE_ID, plan_id=PLAN_ID, price=PerUnit(currency=USD, unit_amount=Decimal("12.5"))),
    CreatePrice(
        price_id=TIERED_PRICE_ID,
        plan_id=PLAN_ID,
        price=graduated((5, "10.5", 100), (None, 5, 50), free_units=2),
        currency_options=(Flat(amount=Money(7, JPY)),),
    ),
    CreatePrice(
        price_id=VOLUME_PRICE_ID,
        plan_id=PLAN_ID,
        price=BoundedPrice(model=volume((5, 100, 0), (None, 60, 50)), maximum=usd(401)),
        timing=IN_ARREARS,
    ),
    CreatePrice(
        price_id=PACKAGE_PRICE_ID,
        plan_id=PLAN_ID,
        price=BoundedPrice(model=package(100, 10, free_units=5), minimum=usd(151)),
        timing=IN_ARREARS,
    ),
    CreatePrice(
        price_id=QUARTER_PRICE_ID,
        plan_id=PLAN_ID,
        price=flat(500),
        interval=Interval(IntervalUnit.QUARTER),
        timing=IN_ARREARS,
    ),
)
QUANTITIES = {SEATS_PRICE_ID: 3, TIERED_PRICE_ID: 10, VOLUME_PRICE_ID: 7, PACKAGE_PRICE_ID: 12}
# What one period of each price costs: in advance, in arrears, and how many months it is. Three seats at 12.5 are 37.5;
# ten tiered units, two of them free, are 100 + 5 × 10.5 + 50 + 3 × 5 = 217.5; both are rounded half up. Seven units at
# 60, and 50 once, are 470, cut to 401; twelve units, five of them free, are one package of 100, raised to 151.
COSTS = {
    PRICE_ID: Costs(1_000, 0),
    SEATS_PRICE_ID: Costs(38, 0),
    TIERED_PRICE_ID: Costs(218, 0),
    ARREARS_PRICE_ID: Costs(0, 301),
    VOLUME_PRICE_ID: Costs(0, 401),
    PACKAGE_PRICE_ID: Costs(0, 151),
    QUARTER_PRICE_ID: Costs(0, 500, 3),
    YEAR_PRICE_ID: Costs(7_000, 0, 12),
}

any_one = st.integers(0, 2**16)
amounts = st.integers(1, 2_000)
ANSWERS = ["capture", "capture", "capture", "decline", "action", "action", "unknown", "given_up", "given_up", "expire"]
gateway_answers = st.lists(st.tuples(any_one, st.sampled_from(ANSWERS)), max_size=5)
refund_answers = st.lists(st.tuples(any_one, st.sampled_from(["succeeded", "failed", "unknown"])), max_size=3)


class Histories(CheckedHistory):
    # --- customers and the clock ---------------------------------------------------------------------------------

    @initialize()
    def open_for_business(self) -> None:
        for command in (
            frozen_clock(),
            *plan_on_sale(in_advance=flat(1_000), in_arrears=flat(301)),
            ADD_ON,
            *PRICES,
        ):
            self.do(command)
        for n in range(3):
            self.add_customer(on_clock=n == 1)
            self.subscribe(n, {PRICE_ID, ARREARS_PRICE_ID}, automatic=n != 2, trial_days=0)
            self.draft_an_invoice(n, 300, 200, automatic=n != 0)
            self.finalize_a_draft(0)

    @rule(n=any_one, kind=st.sampled_from(["join", "leave", "default", "default", "none", "none", "journal"]))
    def housekeeping(self, n: int, kind: str) -> None:
        match kind:
            case "join":
                self.add_customer(on_clock=n % 2 == 0)
            case "leave":
                self.delete_customer(n)
            case "journal":
                self.post_by_hand(1 + n, reverse=n % 2 == 0)
            case _:
                self.set_default_card(n, default=kind == "default")

    def add_customer(self, *, on_clock: bool) -> None:
        customer_id = self.new("cus_")
        self.do(create_customer(customer_id=customer_id, test_clock_id=CLOCK_ID if on_clock else None))
        self.do(attach_card(payment_method_id=card_of(customer_id), customer_id=customer_id, make_default=True))
        self.model.people[customer_id] = Person(on_clock=on_clock)

    def delete_customer(self, n: int) -> None:
        customer_id = pick(self.model.people, n)
        self.do(DeleteCustomer(customer_id=customer_id))
        person = self.model.people[customer_id]
        person.deleted_at = person.deleted_at or self.time_of(customer_id)

    def set_default_card(self, n: int, *, default: bool) -> None:
        customer_id = pick(self.model.people, n)
        person = self.model.people[customer_id]
        method_id = card_of(customer_id) if default else None
        self.do(
            SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=method_id), accepted=not person.deleted
        )
        if not person.deleted:
            person.has_default = default

    def post_by_hand(self, amount: int, *, reverse: bool) -> None:
        entry_id = self.new("je_")
        postings = (debit(CASH, usd(amount)), credit(EQUITY, usd(amount)))
        self.do(PostJournalEntry(entry_id=entry_id, postings=postings, memo=""))
        self.model.capital += amount
        if reverse:
            self.do(ReverseJournalEntry(entry_id=entry_id, memo=""))
            self.model.capital -= amount
            self.do(ReverseJournalEntry(entry_id=entry_id, memo=""), accepted=False)

    @rule(
        hours=st.integers(1, 800), clock_hours=st.integers(0, 800), renewals=st.lists(any_one, min_size=2, max_size=8)
    )
    def time_passes(self, hours: int, clock_hours: int, renewals: list[int]) -> None:
        """For everybody, and on the test clock; then some timers run."""
        self.now += timedelta(hours=hours)
        if clock_hours:
            self.advance_the_clock(self.clock_now + timedelta(hours=clock_hours))
        for n in renewals:
            self.renew(n, by_timer=True)

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one)
    def time_comes_to_a_boundary(self, n: int) -> None:
        """To the very instant, before any timer has run."""
        subscribed = self.model.subscriptions[pick(self.model.subscriptions, n)]
        boundary = subscribed.next_boundary
        if subscribed.canceled or boundary is None or boundary <= self.time_of(subscribed.customer):
            return
        if self.model.people[subscribed.customer].on_clock:
            self.advance_the_clock(boundary)
        else:
            self.now = boundary

    def advance_the_clock(self, to: datetime) -> None:
        self.clock_now = to
        self.advances += 1
        self.do(AdvanceTestClock(clock_id=CLOCK_ID, to=to))
        self.do(CompleteTestClockAdvance(clock_id=CLOCK_ID, advance=self.advances))

    # --- subscriptions -------------------------------------------------------------------------------------------

    @rule(
        n=any_one,
        prices=st.sets(st.sampled_from(sorted(COSTS)), min_size=1),
        automatic=st.booleans(),
        trial_days=st.sampled_from([0, 0, 10]),
        starts_in=st.sampled_from([None, None, None, -100, -5, 12]),
    )
    def subscribe(
        self, n: int, prices: set[str], automatic: bool, trial_days: int, starts_in: int | None = None
    ) -> None:
        customer_id, subscription_id = pick(self.model.people, n), self.new("sub_")
        items = tuple(
            RequestedItem(price_id=price_id, quantity=Decimal(QUANTITIES.get(price_id, 1)))
            for price_id in sorted(prices)
        )
        now = self.time_of(customer_id)
        starts = now + timedelta(days=starts_in or 0)
        done = self.do(
            subscribe(
                subscription_id=subscription_id,
                customer_id=customer_id,
                items=items,
                collection=BY_CHARGE if automatic else BY_HAND,
                trial_days=trial_days,
                starts_at=None if starts_in is None else now + timedelta(days=starts_in),
            ),
            accepted=not self.model.people[customer_id].deleted and prices != {YEAR_PRICE_ID},
        )
        if done is None:
            return
        chosen = [COSTS[price_id] for price_id in prices]
        months = min(costs.periods for costs in chosen)
        subscribed = self.model.subscriptions[subscription_id] = Subscribed(
            customer=customer_id,
            anchor=starts + timedelta(days=trial_days),
            starts=starts if starts > now else None,
            months=months,
            costs=tuple(costs._replace(periods=costs.periods // months) for costs in chosen),
            automatic=automatic,
        )
        self._elapsed(subscription_id, subscribed, now)

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one, by_timer=st.booleans())
    def renew(self, n: int, by_timer: bool) -> None:
        due = [key for key, each in self.model.subscriptions.items() if self._is_due(each)]
        subscription_id = due[n % len(due)] if due and n % 8 else pick(self.model.subscriptions, n)
        subscribed = self.model.subscriptions[subscription_id]
        boundary = subscribed.next_boundary
        if by_timer and not self._is_due(subscribed):
            return
        done = self.do(
            RenewSubscription(subscription_id=subscription_id, due_at=boundary if by_timer else None),
            accepted=self._is_due(subscribed),
        )
        if done is not None:
            self._catch_up(subscription_id)

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one, days=st.sampled_from([0, 0, None, None, -1, 3, 20, 75]))
    def cancel(self, n: int, days: int | None) -> None:
        """Now, with the period (None), or on a day ahead; an end in the past is refused."""
        subscription_id = pick(self.model.subscriptions, n)
        subscribed = self.model.subscriptions[subscription_id]
        now, ends_now = self.time_of(subscribed.customer), days == 0
        cancel_at = now + timedelta(days=days) if days else None
        command = CancelSubscription(subscription_id=subscription_id, at_period_end=days is None, cancel_at=cancel_at)
        ahead = cancel_at is None or cancel_at > now
        if self.do(command, accepted=ahead and not self._has_ended(subscription_id, ends_now=ends_now)) is None:
            return
        self._catch_up(subscription_id, ends_now=ends_now)
        paid_until = max(map(subscribed.end_of, subscribed.costs)) if subscribed.paused else None
        if ends_now or (days is None and paid_until is not None and paid_until <= now):
            self._end(subscription_id, subscribed, now)
        else:
            subscribed.ends_on = cancel_at or paid_until
            subscribed.ends_with_period = subscribed.ends_on is None

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one)
    def undo_a_cancellation(self, n: int) -> None:
        ending = [key for key, each in self.model.subscriptions.items() if each.ends and not each.canceled]
        subscription_id = ending[n % len(ending)] if ending and n % 4 else pick(self.model.subscriptions, n)
        subscribed = self.model.subscriptions[subscription_id]
        possible = subscribed.ends and not self._has_ended(subscription_id, ends_now=False)
        if self.do(UndoCancellation(subscription_id=subscription_id), accepted=possible) is not None:
            self._catch_up(subscription_id)
            subscribed.ends_on, subscribed.ends_with_period = None, False

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one, days=st.sampled_from([0, 0, 1, 5, 30]))
    def change_a_trial(self, n: int, days: int) -> None:
        """End it now (0), or let it end so many days from now."""
        in_trial = [key for key, each in self.model.subscriptions.items() if each.status == "trialing"]
        subscription_id = in_trial[n % len(in_trial)] if in_trial and n % 4 else pick(self.model.subscriptions, n)
        subscribed = self.model.subscriptions[subscription_id]
        now = self.time_of(subscribed.customer)
        trial_end = now + timedelta(days=days)
        possible = (
            subscribed.status == "trialing"
            and now < subscribed.anchor
            and not subscribed.ends
            and not self.model.people[subscribed.customer].deleted
        )
        if days:
            command = ExtendTrial(subscription_id=subscription_id, trial_end=trial_end)
            if self.do(command, accepted=possible and trial_end > subscribed.anchor) is not None:
                subscribed.anchor = trial_end
        elif self.do(EndTrial(subscription_id=subscription_id), accepted=possible) is not None:
            subscribed.anchor = now
            self._passes(subscription_id, subscribed, now, subscribed.pass_boundary)

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one, days=st.sampled_from([None, None, -1, 0, 2, 12, 45]))
    def pause(self, n: int, days: int | None) -> None:
        """Until further notice (None), or for so many days."""
        subscription_id = pick(self.model.subscriptions, n)
        subscribed = self.model.subscriptions[subscription_id]
        now = self.time_of(subscribed.customer)
        ahead = self._ahead(subscription_id)
        possible = ahead.status in {"active", "past_due"} and not ahead.ends and (days is None or days > 0)
        resumes_at = None if days is None else now + timedelta(days=days)
        command = PauseSubscription(subscription_id=subscription_id, resumes_at=resumes_at)
        if self.do(command, accepted=possible) is None:
            return
        self._catch_up(subscription_id)
        self._billed(subscription_id, subscribed, 0, subscribed.used(now), now)
        subscribed.paused, subscribed.resumes_at = True, resumes_at

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one)
    def resume(self, n: int) -> None:
        paused = [key for key, each in self.model.subscriptions.items() if each.paused and not each.canceled]
        subscription_id = paused[n % len(paused)] if paused and n % 4 else pick(self.model.subscriptions, n)
        subscribed = self.model.subscriptions[subscription_id]
        now = self.time_of(subscribed.customer)
        possible = (
            self._ahead(subscription_id).status == "paused" and not self.model.people[subscribed.customer].deleted
        )
        if self.do(ResumeSubscription(subscription_id=subscription_id), accepted=possible) is not None:
            self._catch_up(subscription_id)
            self._passes(subscription_id, subscribed, now, lambda: (subscribed.resume(now), 0))

    @precondition(lambda self: self.model.subscriptions)
    @rule(n=any_one, back=st.booleans())
    def suspend_or_reactivate(self, n: int, back: bool) -> None:
        subscription_id = pick(self.model.subscriptions, n)
        allowed = {"suspended"} if back else {"active", "past_due"}
        command = (ReactivateSubscription if back else SuspendSubscription)(subscription_id=subscription_id)
        if self.do(command, accepted=self._ahead(subscription_id).status in allowed) is not None:
            self._catch_up(subscription_id)
            self.model.subscriptions[subscription_id].suspended = not back

    # --- invoices ------------------------------------------------------------------------------------------------

    @rule(n=any_one, advance=st.integers(-50, 900), earned=st.integers(-50, 900), automatic=st.booleans())
    def draft_an_invoice(self, n: int, advance: int, earned: int, automatic: bool) -> None:
        customer_id, invoice_id = pick(self.model.people, n), self.new("in_")
        possible = advance + earned >= 0 and not self.model.people[customer_id].deleted
        command = draft(
            line(advance, IN_ADVANCE),
            line(earned, IN_ARREARS),
            invoice_id=invoice_id,
            customer_id=customer_id,
            collection=BY_CHARGE if automatic else BY_HAND,
        )
        if self.do(command, accepted=possible) is not None:
            self.drafts[invoice_id] = customer_id, advance, earned, automatic

    @precondition(lambda self: self.drafts)
    @rule(n=any_one)
    def finalize_a_draft(self, n: int) -> None:
        invoice_id = pick(self.drafts, n)
        customer_id, advance, earned, automatic = self.drafts.pop(invoice_id)
        is_business = not self.model.people[customer_id].deleted
        if self.do(FinalizeInvoice(invoice_id=invoice_id), accepted=is_business) is None:
            self.do(VoidInvoice(invoice_id=invoice_id))
            return
        self._issued(Billed(customer_id, advance, earned, automatic, "open"), self.time_of(customer_id))
        self.do(FinalizeInvoice(invoice_id=invoice_id), accepted=False)

    @precondition(lambda self: self.model.invoices)
    @rule(n=any_one, by_hand=st.booleans())
    def settle_an_invoice(self, n: int, by_hand: bool) -> None:
        """Mostly one that is still open, be a payment of it under way or not."""
        still_open = [key for key in self.model.invoices if self.model.is_open(key)]
        invoice_id = still_open[n % len(still_open)] if still_open and n % 8 else pick(self.model.invoices, n)
        command = (PayInvoiceOutOfBand if by_hand else VoidInvoice)(invoice_id=invoice_id)
        if self.do(command, accepted=self.model.is_open(invoice_id)) is not None:
            billed = self.model.invoices[invoice_id]
            self.model.settle(invoice_id, "paid" if by_hand else "void")
            self.model.by_hand[billed.customer] += billed.total if by_hand else 0

    # --- payments ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.saga_steps)
    @rule(steps=st.lists(any_one, min_size=1, max_size=6), answers=gateway_answers)
    def sagas_go_on(self, steps: list[int], answers: list[tuple[int, str]]) -> None:
        """In any order; a step in four is delivered once more, later."""
        for n in steps:
            if self.saga_steps:
                command = self.saga_steps[n % len(self.saga_steps)]
                if n % 4:
                    self.saga_steps.remove(command)
                if isinstance(command, CollectInvoice):
                    self._charge(command.invoice_id, command)
                elif isinstance(command, RequestRefund):
                    self._refund(command)
        self.the_gateway_answers(answers)

    @precondition(lambda self: self.model.invoices)
    @rule(n=any_one)
    def pay_an_invoice(self, n: int) -> None:
        still_open = [key for key in self.model.invoices if self.model.is_open(key)]
        invoice_id = still_open[n % len(still_open)] if still_open and n % 8 else pick(self.model.invoices, n)
        self._charge(invoice_id, PayInvoice(invoice_id=invoice_id, payment_id=self.new("pay_")))

    def _charge(self, invoice_id: str, command: PayInvoice | CollectInvoice) -> None:
        model = self.model
        billed = model.invoices[invoice_id]
        has_default = model.people[billed.customer].has_default
        fresh = command.payment_id not in model.payments and model.is_open(invoice_id)
        if isinstance(command, CollectInvoice) and not has_default:
            if self.do(command, accepted=fresh) is not None:
                self._fail(invoice_id, None)
            return
        waiting = model.waiting_for(invoice_id) if isinstance(command, PayInvoice) else None
        possible = fresh and has_default and (waiting is not None or not model.is_live(invoice_id))
        if self.do(command, accepted=possible) is None:
            return
        model.payments[command.payment_id] = Paying(billed.customer, invoice_id, billed.total)
        if waiting is None:
            model.begin(command.payment_id, promised=isinstance(command, CollectInvoice))
        else:
            billed.tried = command.payment_id
            model.payments[waiting].giving_up, model.payments[waiting].instead = "replaced", command.payment_id

    @rule(n=any_one, amount=st.integers(-1, 5_000), confirm=st.booleans())
    def make_an_intent(self, n: int, amount: int, confirm: bool) -> None:
        customer_id, payment_id = pick(self.model.people, n), self.new("pay_")
        person = self.model.people[customer_id]
        command = CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=usd(amount), confirm=confirm)
        possible = amount > 0 and not person.deleted and (person.has_default or not confirm)
        if self.do(command, accepted=possible) is not None:
            status, attempt = ("processing", 1) if confirm else ("new", 0)
            self.model.payments[payment_id] = Paying(customer_id, None, amount, status=status, attempt=attempt)

    @precondition(lambda self: self.model.payments)
    @rule(n=any_one)
    def try_a_payment_again(self, n: int) -> None:
        payment_id = pick(self.model.payments, n)
        paying = self.model.payments[payment_id]
        taken = paying.invoice is not None and self.model.is_live(paying.invoice)
        possible = self.model.may_be_tried(payment_id) and (
            paying.waits or (paying.status in {"new", "declined"} and not taken)
        )
        command = ConfirmPayment(payment_id=payment_id, payment_method_id=card_of(paying.customer))
        if self.do(command, accepted=possible) is not None:
            if paying.waits:
                paying.giving_up = "replaced"
            else:
                self.model.begin(payment_id)

    @precondition(lambda self: self.model.payments)
    @rule(n=any_one)
    def cancel_a_payment(self, n: int) -> None:
        payment_id = pick(self.model.payments, n)
        paying = self.model.payments[payment_id]
        if self.do(CancelPayment(payment_id=payment_id), accepted=paying.status != "captured") is None:
            return
        if paying.status in RUNNING:
            is_over = paying.instead is not None or paying.giving_up == "invoice_settled"
            paying.giving_up = paying.giving_up if is_over else "requested"
        else:
            paying.status = "canceled"

    @rule(answers=gateway_answers)
    def the_gateway_answers(self, answers: list[tuple[int, str]]) -> None:
        for n, answer in answers:
            if self.model.payments:
                self._answer_payment(n, answer)

    def _answer_payment(self, n: int, answer: str) -> None:
        running = [key for key, paying in self.model.payments.items() if paying.status in RUNNING]
        payment_id = running[n % len(running)] if running and n % 8 else pick(self.model.payments, n)
        paying = self.model.payments[payment_id]
        said_already = (answer == "unknown" and paying.unknown) or (
            answer == "action" and paying.status == "action" and not paying.unknown
        )
        attempt = paying.attempt if n % 5 else paying.attempt + 1
        unwanted = (answer == "given_up" and paying.giving_up is None) or (answer == "expire" and not paying.waits)
        possible = paying.status in RUNNING and not said_already and not unwanted and attempt == paying.attempt
        if self.do(answered(payment_id, attempt, answer), accepted=possible) is None:
            return
        match answer:
            case "capture":
                self.model.capture(payment_id)
            case "unknown":
                paying.unknown = True
            case "expire":
                paying.giving_up = "timed_out"
            case "given_up":
                self._give_up(payment_id)
            case "decline":
                self._fail(paying.invoice, payment_id)
                self._give_up(payment_id)
            case _:
                paying.status, paying.unknown = "action", False
                self._fail(paying.invoice, payment_id)

    # --- refunds -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.payments)
    @rule(n=any_one, amount=st.none() | amounts, answers=refund_answers)
    def ask_for_a_refund(self, n: int, amount: int | None, answers: list[tuple[int, str]]) -> None:
        captured = [key for key, paying in self.model.payments.items() if paying.status == "captured"]
        payment_id = captured[n % len(captured)] if captured and n % 8 else pick(self.model.payments, n)
        asked = None if amount is None else usd(amount)
        self._refund(RequestRefund(refund_id=self.new("re_"), payment_id=payment_id, amount=asked))
        for n_refund, answer in answers:
            if self.model.refunds:
                self._answer_refund(n_refund, answer)

    def _refund(self, command: RequestRefund) -> None:
        left = self.model.left(command.payment_id)
        amount = left if command.amount is None else command.amount.amount
        possible = 0 < amount <= left and command.refund_id not in self.model.refunds
        if self.do(command, accepted=possible) is not None:
            self.model.refunds[command.refund_id] = Returning(command.payment_id, amount)
            if not self.model.left(command.payment_id):
                paying = self.model.payments[command.payment_id]
                paying.to_return = paying.to_ask_again = False

    def _answer_refund(self, n: int, answer: str) -> None:
        pending = [key for key, each in self.model.refunds.items() if each.status == "pending"]
        refund_id = pending[n % len(pending)] if pending and n % 8 else pick(self.model.refunds, n)
        returning = self.model.refunds[refund_id]
        possible = returning.status == "pending" and not (answer == "unknown" and returning.unknown)
        if self.do(refund_answered(refund_id, returning.payment, answer), accepted=possible) is None:
            return
        if answer == "unknown":
            returning.unknown = True
        else:
            returning.status = answer
            paying = self.model.payments[returning.payment]
            paying.to_ask_again |= paying.unneeded and answer == "failed"


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=LENGTH.histories, stateful_step_count=50)
