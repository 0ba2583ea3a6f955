"""What is checked after every command of a random history, against the naive model."""

import itertools
from collections.abc import Mapping
from datetime import datetime

from hypothesis.stateful import RuleBasedStateMachine, invariant

from domain.invoicing.invoice import InvoiceFinalized
from domain.kernel.accounts import Posting, Side
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from domain.payments import charge_saga, refund_saga
from domain.payments.commands import (
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.payments.payment import PAYMENT, PaymentCaptured
from domain.payments.refund_commands import (
    RecordRefundFailed,
    RecordRefundOutcomeUnknown,
    RecordRefundSucceeded,
)
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPeriodStarted
from testing.examples.streams import (
    id_of,
    usd,
)
from testing.specification import NOW, Books, Done, replayed
from tests.domain.history_model import Billed, Model, Subscribed


class CheckedHistory(RuleBasedStateMachine):
    """A tenant's books beside the model. Its subclass gives the commands."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.model = Model()
        self.now = NOW
        self.clock_now = NOW
        self.ids = itertools.count(10)
        self.event_ids = itertools.count(1)
        self.saga_steps: list[Command] = []
        self.balances: dict[tuple[str, str | None], int] = {}
        self.drafts: dict[str, tuple[str, int, int, bool]] = {}

    def new(self, prefix: str) -> str:
        return id_of(prefix, next(self.ids))

    def time_of(self, customer_id: str) -> datetime:
        return self.clock_now if self.model.people[customer_id].on_clock else self.now

    def do(self, command: Command, *, accepted: bool = True) -> Done | None:
        """Give a command that must be accepted, or must be refused."""
        done = self._answer(command)
        if isinstance(done, Refusal):
            assert not accepted, f"refused: {done.describe()} {command}"
            return None
        assert accepted, f"accepted: {command}"
        for entry in done.entries:
            self._post(entry.postings if entry is not None else ())
        for change in done.changes:
            event_id = id_of("evt_", next(self.event_ids))
            if isinstance(change.event, InvoiceFinalized):
                self.saga_steps += [step for _, step in charge_saga.react(event_id, change.event)]
            elif isinstance(change.event, PaymentCaptured):
                self.saga_steps += [step for _, step in refund_saga.react(event_id, change.event)]
        return done

    def _answer(self, command: Command) -> Done | Refusal:
        try:
            return self.books.do(command, self.now)
        except Refusal as refusal:
            return refusal

    def _post(self, postings: tuple[Posting, ...]) -> None:
        sides = {Side.DEBIT: 0, Side.CREDIT: 0}
        for posting in postings:
            sides[posting.side] += posting.amount.amount
            signed = posting.amount.amount if posting.side is Side.DEBIT else -posting.amount.amount
            key = posting.account, posting.customer_id
            self.balances[key] = self.balances.get(key, 0) + signed
        assert sides[Side.DEBIT] == sides[Side.CREDIT], "debits equal credits after every event"

    def _next_period(self, subscription_id: str, subscribed: Subscribed, done: Done) -> None:
        earned = subscribed.arrears if subscribed.index >= 0 else 0
        subscribed.index += 1
        subscribed.start, subscribed.end = (subscribed.boundary(subscribed.index + k) for k in (0, 1))
        (started,) = (event for event in done.events if isinstance(event, SubscriptionPeriodStarted))
        assert (started.index, started.period_start, started.period_end) == (
            subscribed.index,
            subscribed.start,
            subscribed.end,
        )
        period = f"{subscription_id}:{subscribed.index}"
        assert period not in self.model.periods, "a period is billed once"
        self.model.periods.add(period)
        self._billed(subscription_id, subscribed, done, subscribed.advance, earned)

    def _billed(self, subscription_id: str, subscribed: Subscribed, done: Done, advance: int, earned: int) -> None:
        invoices = [event for event in done.events if isinstance(event, InvoiceFinalized)]
        if not advance and not earned:
            assert invoices == []
            return
        (invoice,) = invoices
        billed = Billed(subscribed.customer, advance, earned, subscribed.automatic, "open", subscription_id)
        self._issued(invoice, billed)

    def _issued(self, invoice: InvoiceFinalized, billed: Billed) -> None:
        assert invoice.number == f"INV-{self.model.numbers + 1:06d}", "numbers have no gap"
        assert invoice.total == usd(billed.total)
        self.model.bill(invoice.invoice_id, billed)

    def _end(self, subscription_id: str, subscribed: Subscribed, done: Done, at: datetime) -> None:
        subscribed.canceled = True
        self._billed(subscription_id, subscribed, done, 0, subscribed.used(at))

    # --- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_what_the_model_adds_up(self) -> None:
        balances: dict[str, int] = {}
        for (account, _), amount in self.balances.items():
            balances[account] = balances.get(account, 0) + amount
        assert {account: amount for account, amount in balances.items() if amount} == self.model.balances()
        for customer_id in self.model.people:
            assert self.balances.get(("receivable", customer_id), 0) == self.model.receivable(customer_id)

    @invariant()
    def refunds_never_exceed_captures(self) -> None:
        for payment_id in self.model.payments:
            payment = self.books.get(PAYMENT, payment_id)
            assert payment is not None
            assert payment.refundable.amount == self.model.left(payment_id) >= 0

    @invariant()
    def subscriptions_are_in_the_state_that_the_model_says(self) -> None:
        for subscription_id, subscribed in self.model.subscriptions.items():
            subscription = self.books.get(SUBSCRIPTION, subscription_id)
            assert subscription is not None
            assert (subscription.status, set(subscription.past_due_invoice_ids)) == (
                subscribed.status,
                subscribed.past_due,
            )

    @invariant()
    def due_work_and_claims_are_exactly_what_is_unfinished(self) -> None:
        assert {(kind.value, subject) for kind, subject in self.books.due} == self.model.due_work()
        assert set(self.books.claims) == self.model.claims()
        for (kind, subject), work in self.books.due.items():
            if kind.value == "subscription.renewal":
                assert work.due_at == self.model.subscriptions[subject].next_boundary

    def teardown(self) -> None:
        assert replayed(self.books.log) == self.books.states, "a replay from the first event comes to the same states"


def pick(known: Mapping[str, object], n: int) -> str:
    """One of the ids known, the same for the same number."""
    return list(known)[n % len(known)]


def card_of(customer_id: str) -> str:
    return "pm_" + customer_id.removeprefix("cus_")


def answered(payment_id: str, attempt: int, answer: str) -> Command:
    match answer:
        case "capture":
            return RecordPaymentCaptured(payment_id=payment_id, attempt=attempt, gateway_payment_id="gw_1")
        case "decline":
            return RecordPaymentDeclined(
                payment_id=payment_id, attempt=attempt, decline_code="do_not_honor", retryable=True
            )
        case "action":
            return RecordPaymentActionRequired(payment_id=payment_id, attempt=attempt, gateway_payment_id="gw_1")
        case _:
            return RecordPaymentOutcomeUnknown(payment_id=payment_id, attempt=attempt, why="time-out")


def refund_answered(refund_id: str, payment_id: str, answer: str) -> Command:
    match answer:
        case "succeeded":
            return RecordRefundSucceeded(refund_id=refund_id, payment_id=payment_id, gateway_refund_id="gr_1")
        case "failed":
            return RecordRefundFailed(refund_id=refund_id, payment_id=payment_id, failure_code="account_closed")
        case _:
            return RecordRefundOutcomeUnknown(refund_id=refund_id, payment_id=payment_id, why="time-out")
