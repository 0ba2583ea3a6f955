"""What is checked after every command of a random history, against the naive model."""

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from datetime import datetime

from hypothesis.stateful import RuleBasedStateMachine, invariant

from domain.invoicing.finalization import InvoiceFinalized
from domain.kernel.accounts import Posting, Side
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from domain.payments import charge_saga, refund_saga
from domain.payments.cancel_commands import ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.commands import (
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT, PaymentCaptured, PaymentStatus
from domain.payments.refund_commands import (
    RecordRefundFailed,
    RecordRefundOutcomeUnknown,
    RecordRefundSucceeded,
)
from domain.subscriptions.state import NEVER
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPeriodStarted
from testing.examples.streams import (
    id_of,
    usd,
)
from testing.specification import NOW, Books, Done, replayed
from tests.domain.history_model import TRIABLE, Billed, Model, Subscribed


class CheckedHistory(RuleBasedStateMachine):
    """A tenant's books beside the model. Its subclass gives the commands."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.model = Model()
        self.now = NOW
        self.clock_now = NOW
        self.advances = 0
        self.ids = itertools.count(10)
        self.event_ids = itertools.count(1)
        self.saga_steps: list[Command] = []
        self.balances: dict[tuple[str, str | None], int] = {}
        self.drafts: dict[str, tuple[str, int, int, bool]] = {}
        self.started: deque[SubscriptionPeriodStarted] = deque()
        self.issued: deque[InvoiceFinalized] = deque()

    def new(self, prefix: str) -> str:
        return id_of(prefix, next(self.ids))

    def time_of(self, customer_id: str) -> datetime:
        return self.clock_now if self.model.people[customer_id].on_clock else self.now

    def do(self, command: Command, *, accepted: bool = True) -> Done | None:
        """Give a command that must be accepted, or must be refused."""
        assert not self.started, "every period that started is accounted for"
        assert not self.issued, "every invoice is accounted for"
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
                self.issued.append(change.event)
            elif isinstance(change.event, SubscriptionPeriodStarted):
                self.started.append(change.event)
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

    def _is_due(self, subscribed: Subscribed, *, ends_now: bool = False) -> bool:
        """Whether a boundary is to be passed; one at the very instant at which it is to end is not."""
        now = self.time_of(subscribed.customer)
        boundary = subscribed.next_boundary
        if subscribed.canceled or boundary is None:
            return False
        return boundary < now or (boundary == now and not ends_now)

    def _catch_up(self, subscription_id: str, *, ends_now: bool = False) -> None:
        """Whatever is due by now happens at its own time, and whoever is late changes nothing of it."""
        subscribed = self.model.subscriptions[subscription_id]
        while self._is_due(subscribed, ends_now=ends_now):
            at = subscribed.next_boundary
            assert at is not None
            if self.model.ends_at(subscribed):
                self._end(subscription_id, subscribed, at)
            else:
                self._passes(subscription_id, subscribed, at, subscribed.pass_boundary)

    def _ahead(self, subscription_id: str, *, ends_now: bool = False) -> Subscribed:
        """The subscription as it is once what is due has happened."""
        ahead = copy(self.model.subscriptions[subscription_id])
        while self._is_due(ahead, ends_now=ends_now):
            if self.model.ends_at(ahead):
                ahead.canceled = True
            else:
                ahead.pass_boundary()
        return ahead

    def _has_ended(self, subscription_id: str, *, ends_now: bool) -> bool:
        """Whether the subscription is cancelled, or is once what is due has happened."""
        return self._ahead(subscription_id, ends_now=ends_now).canceled

    def _passes(
        self, subscription_id: str, subscribed: Subscribed, at: datetime, boundary: Callable[[], tuple[int, int]]
    ) -> None:
        """A boundary, with the period that begins at it, if one does."""
        advance, earned = self._begun(subscription_id, subscribed, boundary)
        self._billed(subscription_id, subscribed, advance, earned, at)

    def _begun(
        self, subscription_id: str, subscribed: Subscribed, boundary: Callable[[], tuple[int, int]]
    ) -> tuple[int, int]:
        before = subscribed.index
        billed = boundary()
        if subscribed.index == before:
            return billed
        started = self.started.popleft()
        assert (started.index, started.period_start, started.period_end) == (
            subscribed.index,
            subscribed.start,
            subscribed.end,
        )
        period = f"{subscription_id}:{subscribed.index}"
        assert period not in self.model.periods, "a period is billed once"
        self.model.periods.add(period)
        return billed

    def _elapsed(self, subscription_id: str, subscribed: Subscribed, now: datetime) -> None:
        """What has begun by now of what is created: all of it on one invoice."""
        billed = []
        while subscribed.next_period_at <= now:
            billed.append(self._begun(subscription_id, subscribed, subscribed.pass_boundary))
        advance, earned = (sum(each[n] for each in billed) for n in (0, 1))
        self._billed(subscription_id, subscribed, advance, earned, now)

    def _billed(self, subscription_id: str, subscribed: Subscribed, advance: int, earned: int, at: datetime) -> None:
        if advance or earned:
            self._issued(
                Billed(subscribed.customer, advance, earned, subscribed.automatic, "open", subscription_id), at
            )

    def _issued(self, billed: Billed, at: datetime) -> None:
        invoice = self.issued.popleft()
        assert invoice.number == f"INV-{self.model.numbers + 1:06d}", "numbers have no gap"
        assert (invoice.total, invoice.finalized_at) == (usd(billed.total), at)
        self.model.bill(invoice.invoice_id, billed)

    def _end(self, subscription_id: str, subscribed: Subscribed, at: datetime) -> None:
        subscribed.canceled = True
        self._billed(subscription_id, subscribed, 0, subscribed.used(at), at)

    def _fail(self, invoice_id: str | None, payment_id: str | None) -> None:
        """Collecting came to nothing, if it was a collection of ours and there is still something to collect."""
        if invoice_id is None or not self.model.is_open(invoice_id):
            return
        billed = self.model.invoices[invoice_id]
        if not billed.automatic:
            return
        billed.collecting, billed.tried = False, payment_id or billed.tried
        if billed.subscription is None:
            return
        subscribed = self.model.subscriptions[billed.subscription]
        if invoice_id in subscribed.past_due:
            return
        self._catch_up(billed.subscription)
        if not subscribed.canceled:
            subscribed.past_due.add(invoice_id)

    def _give_up(self, payment_id: str) -> None:
        """The attempt ended without money: what was to come next comes, where it still may."""
        paying = self.model.payments[payment_id]
        why, instead = paying.giving_up, paying.instead
        paying.giving_up = paying.instead = None
        paying.unknown = False
        settled = paying.invoice is not None and not self.model.is_open(paying.invoice)
        wanted_no_more = settled or why in {"requested", "invoice_settled"} or instead is not None
        paying.status = "canceled" if wanted_no_more else "declined"
        if why != "replaced":
            self._fail(paying.invoice, payment_id)
            return
        following = self.model.payments[instead or payment_id]
        if following.status in TRIABLE and self.model.may_be_tried(instead or payment_id):
            self.model.begin(instead or payment_id)
        elif instead is not None:
            following.status = "canceled"

    # --- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_what_the_model_adds_up(self) -> None:
        balances: dict[str, int] = {}
        for (account, _), amount in self.balances.items():
            balances[account] = balances.get(account, 0) + amount
        assert {account: amount for account, amount in balances.items() if amount} == self.model.balances()
        for customer_id in self.model.people:
            assert self.balances.get(("receivable", customer_id), 0) == self.model.receivable(customer_id)
            assert -self.balances.get(("customer_balance", customer_id), 0) == self.model.unapplied(customer_id)
            assert -self.balances.get(("refunds_payable", customer_id), 0) == self.model.refunds_pending(customer_id)
            assert self.balances.get(("gateway_clearing", customer_id), 0) == self.model.at_gateways(customer_id)

    @invariant()
    def refunds_never_exceed_captures(self) -> None:
        for payment_id in self.model.payments:
            payment = self.books.get(PAYMENT, payment_id)
            assert payment is not None
            assert payment.refundable.amount == self.model.left(payment_id) >= 0

    @invariant()
    def payments_are_in_the_state_that_the_model_says(self) -> None:
        for payment_id, paying in self.model.payments.items():
            payment = self.books.get(PAYMENT, payment_id)
            assert payment is not None
            wanted = None if payment.cancellation is None else payment.cancellation.reason
            assert (payment.status in STATUSES[paying.status], wanted) == (True, paying.giving_up)

    @invariant()
    def of_an_invoice_at_most_one_payment_may_be_tried_and_none_once_it_is_settled(self) -> None:
        for invoice_id in self.model.invoices:
            keys = [key for key, paying in self.model.payments.items() if paying.invoice == invoice_id]
            payments = [payment for payment in (self.books.get(PAYMENT, key) for key in keys) if payment is not None]
            may_be_tried = [payment.payment_id for payment in payments if payment.can_be_tried]
            assert len(may_be_tried) <= (1 if self.model.is_open(invoice_id) else 0)
            assert self.model.is_open(invoice_id) or not any(payment.waits_for_customer for payment in payments)

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
                assert work.due_at == (self.model.subscriptions[subject].next_boundary or NEVER)

    def teardown(self) -> None:
        assert not self.started
        assert not self.issued
        assert replayed(self.books.log) == self.books.states, "a replay from the first event comes to the same states"


STATUSES: Mapping[str, set[PaymentStatus]] = {
    "new": {PaymentStatus.REQUIRES_PAYMENT_METHOD, PaymentStatus.REQUIRES_CONFIRMATION},
    "processing": {PaymentStatus.PROCESSING},
    "action": {PaymentStatus.REQUIRES_ACTION},
    "declined": {PaymentStatus.REQUIRES_PAYMENT_METHOD},
    "captured": {PaymentStatus.SUCCEEDED},
    "canceled": {PaymentStatus.CANCELED},
}


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
                payment_id=payment_id, attempt=attempt, decline_code=DeclineCode.DO_NOT_HONOR, retryable=True
            )
        case "given_up":
            return RecordPaymentCanceled(payment_id=payment_id, attempt=attempt)
        case "expire":
            return ExpirePaymentAttempt(payment_id=payment_id, attempt=attempt)
        case "action":
            return RecordPaymentActionRequired(payment_id=payment_id, attempt=attempt, gateway_payment_id="gw_1")
        case _:
            return RecordPaymentOutcomeUnknown(payment_id=payment_id, attempt=attempt, why="time-out")


def refund_answered(refund_id: str, payment_id: str, answer: str) -> Command:
    match answer:
        case "succeeded":
            return RecordRefundSucceeded(refund_id=refund_id, payment_id=payment_id, gateway_refund_id=refund_id)
        case "failed":
            return RecordRefundFailed(
                refund_id=refund_id, payment_id=payment_id, failure_code=DeclineCode.ACCOUNT_CLOSED
            )
        case _:
            return RecordRefundOutcomeUnknown(refund_id=refund_id, payment_id=payment_id, why="time-out")
