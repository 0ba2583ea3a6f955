"""What a history of billing should come to, kept as naively as possible: plain records, sums over all of them.

The model knows nothing of events, postings or states. It is told which commands are given, says which of them must be
accepted, and keeps what then holds; every figure is added up anew from the records whenever it is asked for.
"""

from calendar import monthrange
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from testing.examples.streams import CLOCK_ID, PLAN_ID

Work = tuple[str, str]

RUNNING = {"processing", "action"}
TRIABLE = {"new", "declined"}


@dataclass
class Person:
    deleted_at: datetime | None = None
    has_default: bool = True
    on_clock: bool = False

    @property
    def deleted(self) -> bool:
        return self.deleted_at is not None


class Costs(NamedTuple):
    """What one price costs in advance and in arrears, for so many periods of its subscription together."""

    advance: int
    arrears: int
    periods: int = 1


@dataclass
class Subscribed:
    """Its periods are `months` long; `index` is -1 before the first. It waits for `starts` where that is still to come,
    and is to end `ends_on` a date, or with its periods.
    """

    customer: str
    anchor: datetime
    months: int
    costs: tuple[Costs, ...]
    automatic: bool
    starts: datetime | None = None
    index: int = -1
    start: datetime | None = None
    end: datetime | None = None
    paused: bool = False
    resumes_at: datetime | None = None
    resumed_at: datetime | None = None
    suspended: bool = False
    ends_on: datetime | None = None
    ends_with_period: bool = False
    canceled: bool = False
    past_due: set[str] = field(default_factory=set)

    @property
    def next_period_at(self) -> datetime:
        return self.end or self.starts or self.anchor

    @property
    def next_boundary(self) -> datetime | None:
        """What comes next by itself, if anything does."""
        ahead = (self.resumes_at if self.paused else self.next_period_at, self.ends_on)
        return min((at for at in ahead if at is not None), default=None)

    def pass_boundary(self) -> tuple[int, int]:
        """What comes next has come, and is not its end: what it bills, in advance and in arrears."""
        if self.paused:
            assert self.resumes_at is not None
            return self.resume(self.resumes_at), 0
        if self.starts not in {None, self.anchor}:
            self.starts = None
            return 0, 0
        self.starts, self.index = None, self.index + 1
        self.start, self.end = self.boundary(self.index), self.boundary(self.index + 1)
        return self.begins(self.index)

    def resume(self, at: datetime) -> int:
        """On its schedule: what is left of the period at `at`, unless that is paid; what it bills, in advance."""
        assert self.end is not None
        before, self.paused, self.resumes_at, self.resumed_at = self.index, False, None, at
        if at < self.end:
            return 0
        while self.boundary(self.index + 1) <= at:
            self.index += 1
        self.start, self.end = at, self.boundary(self.index + 1)
        begun = (costs for costs in self.costs if self.index // costs.periods != before // costs.periods)
        return sum(self._share(costs, costs.advance, at, self.end_of(costs)) for costs in begun)

    def end_of(self, costs: Costs) -> datetime:
        """When the running period of a price ends."""
        return self.boundary(self.index - self.index % costs.periods + costs.periods)

    def _share(self, costs: Costs, amount: int, since: datetime, until: datetime, index: int | None = None) -> int:
        """The days in between of what a whole period costs."""
        first = (index := self.index if index is None else index) - index % costs.periods
        start, end = self.boundary(first).date(), self.boundary(first + costs.periods).date()
        days, of_days = (until.date() - since.date()).days, (end - start).days
        return (2 * amount * days + of_days) // (2 * of_days)

    @property
    def ends(self) -> bool:
        return self.ends_with_period or self.ends_on is not None

    @property
    def status(self) -> str:
        if self.canceled:
            return "canceled"
        if self.paused or self.suspended:
            return "paused" if self.paused else "suspended"
        if self.starts is not None:
            return "incomplete"
        if self.index < 0:
            return "trialing"
        return "past_due" if self.past_due else "active"

    def boundary(self, k: int) -> datetime:
        """When period k begins: so many months after the anchor, on its day or the month's last."""
        year, month = divmod(self.anchor.year * 12 + self.anchor.month - 1 + k * self.months, 12)
        day = min(self.anchor.day, monthrange(year, month + 1)[1])
        return self.anchor.replace(year=year, month=month + 1, day=day)

    def begins(self, k: int) -> tuple[int, int]:
        """What is billed where period k begins: in advance, and in arrears for what ends there."""
        begun = [costs for costs in self.costs if k % costs.periods == 0]
        return sum(costs.advance for costs in begun), self._owed(begun, self.boundary(k), k - 1) if k else 0

    def used(self, until: datetime) -> int:
        """What the running periods owe in arrears for their whole days before `until`."""
        return 0 if self.index < 0 or self.paused else self._owed(self.costs, until, self.index)

    def _owed(self, of: Iterable[Costs], until: datetime, index: int) -> int:
        owed = 0
        for costs in of:
            since = self.boundary(index - index % costs.periods)
            end = self.boundary(index - index % costs.periods + costs.periods)
            if self.resumed_at is not None and since <= self.resumed_at < end:
                since = self.resumed_at
            owed += self._share(costs, costs.arrears, since, min(until, end), index)
        return owed

    def ends_before(self, k: int) -> bool:
        """Whether it is to end where period k would begin: nothing that runs goes on there."""
        return self.ends_with_period and all(k % costs.periods == 0 for costs in self.costs)


@dataclass
class Billed:
    """`advance` and `earned` add up to what is owed; `collecting` while automatic collection has not come to an end.
    `tried` is the payment that the invoice shows; it does not show the collection that its finalization `promised`.
    """

    customer: str
    advance: int
    earned: int
    automatic: bool
    status: str
    subscription: str | None = None
    collecting: bool = False
    tried: str | None = None
    promised: str | None = None

    @property
    def total(self) -> int:
        return self.advance + self.earned


@dataclass
class Paying:
    """`status`: new, processing, action, declined, captured, canceled. `to_return`: an unneeded capture, not yet asked
    back in full; `to_ask_again`: a refund of one failed, and it was not asked back in full since. `giving_up`: why its
    attempt is to be cancelled (requested, replaced, timed_out, invoice_settled), with the payment tried `instead` where
    that is another.
    `pays_invoice`: what it captured paid its invoice.
    """

    customer: str
    invoice: str | None
    amount: int
    status: str = "new"
    attempt: int = 0
    unknown: bool = False
    giving_up: str | None = None
    instead: str | None = None
    to_return: bool = False
    unneeded: bool = False
    to_ask_again: bool = False
    pays_invoice: bool = False

    @property
    def waits(self) -> bool:
        """Whether its attempt is the customer's to go on with."""
        return self.status == "action" and self.giving_up is None


@dataclass
class Returning:
    payment: str
    amount: int
    status: str = "pending"
    unknown: bool = False


@dataclass
class Model:
    people: dict[str, Person] = field(default_factory=dict)
    subscriptions: dict[str, Subscribed] = field(default_factory=dict)
    invoices: dict[str, Billed] = field(default_factory=dict)
    payments: dict[str, Paying] = field(default_factory=dict)
    refunds: dict[str, Returning] = field(default_factory=dict)
    periods: set[str] = field(default_factory=set)
    by_hand: Counter[str] = field(default_factory=Counter)
    capital: int = 0
    numbers: int = 0

    # --- what may be done ----------------------------------------------------------------------------------------

    def is_live(self, invoice_id: str) -> bool:
        """Whether a payment of the invoice runs."""
        return any(paying.invoice == invoice_id and paying.status in RUNNING for paying in self.payments.values())

    def waiting_for(self, invoice_id: str) -> str | None:
        """The payment of an invoice that waits for its customer, if there is one that nobody gives up."""
        for key, paying in self.payments.items():
            if paying.invoice == invoice_id and paying.waits:
                return key
        return None

    def is_open(self, invoice_id: str | None) -> bool:
        return invoice_id is not None and self.invoices[invoice_id].status == "open"

    def may_be_tried(self, payment_id: str) -> bool:
        """Whether the world allows another attempt: what is owed may be paid, and the living may do business."""
        paying = self.payments[payment_id]
        return not self.people[paying.customer].deleted if paying.invoice is None else self.is_open(paying.invoice)

    def left(self, payment_id: str) -> int:
        """What is left of a payment to refund."""
        paying = self.payments[payment_id]
        if paying.status != "captured":
            return 0
        taken = [
            each.amount for each in self.refunds.values() if each.payment == payment_id and each.status != "failed"
        ]
        return paying.amount - sum(taken)

    # --- what happens --------------------------------------------------------------------------------------------

    def bill(self, invoice_id: str, billed: Billed) -> None:
        self.numbers += 1
        billed.status = "open" if billed.total else "paid"
        billed.collecting = billed.automatic and billed.total > 0
        self.invoices[invoice_id] = billed

    def settle(self, invoice_id: str, status: str) -> None:
        billed = self.invoices[invoice_id]
        billed.status, billed.collecting = status, False
        if billed.subscription is not None:
            self.subscriptions[billed.subscription].past_due.discard(invoice_id)
        last = billed.tried or billed.promised
        if last is not None:
            self.not_needed(last)

    def begin(self, payment_id: str, *, promised: bool = False) -> None:
        """An attempt of the payment begins; its invoice shows it, unless it is the collection that was promised."""
        paying = self.payments[payment_id]
        paying.status, paying.attempt = "processing", paying.attempt + 1
        if paying.invoice is not None:
            billed = self.invoices[paying.invoice]
            if billed.tried is not None or not billed.collecting or not promised:
                if billed.tried not in {None, payment_id} and self.payments[billed.tried].status in TRIABLE:
                    self.payments[billed.tried].status = "canceled"
                billed.tried = payment_id
            else:
                billed.promised = payment_id

    def not_needed(self, payment_id: str) -> None:
        """Nobody is charged any more for an invoice that is settled."""
        paying = self.payments[payment_id]
        if paying.invoice is None or self.is_open(paying.invoice):
            return
        if paying.status in RUNNING:
            paying.giving_up = paying.giving_up or "invoice_settled"
        elif paying.status in TRIABLE:
            paying.status = "canceled"

    def ends_at(self, subscribed: Subscribed) -> bool:
        """Whether the subscription ends with its next boundary."""
        deleted_at = self.people[subscribed.customer].deleted_at
        boundary = subscribed.next_boundary
        is_gone = deleted_at is not None and boundary is not None and deleted_at <= boundary
        ends = subscribed.ends_on == subscribed.next_boundary or subscribed.ends_before(subscribed.index + 1)
        return is_gone or ends

    def capture(self, payment_id: str) -> None:
        paying = self.payments[payment_id]
        paying.status, paying.unknown = "captured", False
        if paying.instead is not None and self.payments[paying.instead].status in TRIABLE:
            self.payments[paying.instead].status = "canceled"
        paying.giving_up = paying.instead = None
        if paying.invoice is None:
            return
        if self.is_open(paying.invoice):
            self.invoices[paying.invoice].tried = payment_id
            self.settle(paying.invoice, "paid")
            paying.pays_invoice = True
        else:
            paying.to_return = paying.unneeded = True

    # --- what it adds up to --------------------------------------------------------------------------------------

    def receivable(self, customer_id: str) -> int:
        """What is due on the customer's open invoices."""
        return sum(
            billed.total
            for billed in self.invoices.values()
            if billed.customer == customer_id and billed.status == "open"
        )

    def unapplied(self, customer_id: str) -> int:
        """What was captured and pays no invoice, less what of it is on its way back or was given back."""
        return sum(
            self.left(payment_id)
            for payment_id, paying in self.payments.items()
            if paying.customer == customer_id and not paying.pays_invoice
        )

    def refunds_of(self, customer_id: str, status: str) -> int:
        """The customer's refunds in this state."""
        return sum(
            each.amount
            for each in self.refunds.values()
            if each.status == status and self.payments[each.payment].customer == customer_id
        )

    def refunds_pending(self, customer_id: str) -> int:
        """What is on its way back to the customer."""
        return self.refunds_of(customer_id, "pending")

    def at_gateways(self, customer_id: str) -> int:
        """What was captured of the customer's money, less what was returned."""
        captured = sum(
            paying.amount
            for paying in self.payments.values()
            if paying.customer == customer_id and paying.status == "captured"
        )
        return captured - self.refunds_of(customer_id, "succeeded")

    def balances(self) -> dict[str, int]:
        """Debits less credits of every account that the commands of the model can touch, without zeros."""
        standing = [billed for billed in self.invoices.values() if billed.status in {"open", "paid"}]
        refunds = self.refunds.values()
        sums = {
            "receivable": sum(map(self.receivable, self.people)),
            "customer_balance": -sum(map(self.unapplied, self.people)),
            "allowances": sum(
                each.amount for each in refunds if each.status != "failed" and self.payments[each.payment].pays_invoice
            ),
            "deferred_revenue": -sum(billed.advance for billed in standing),
            "revenue": -sum(billed.earned for billed in standing),
            "gateway_clearing": sum(map(self.at_gateways, self.people)),
            "refunds_payable": -sum(map(self.refunds_pending, self.people)),
            "cash": self.by_hand.total() + self.capital,
            "equity": -self.capital,
        }
        return {account: amount for account, amount in sums.items() if amount}

    def due_work(self) -> set[Work]:
        """Whatever is unfinished, and nothing else."""
        return (
            {("subscription.renewal", key) for key, each in self.subscriptions.items() if not each.canceled}
            | {
                ("payment.gateway_call", f"{key}:{each.attempt}")
                for key, each in self.payments.items()
                if each.status in RUNNING
            }
            | {
                ("refund.gateway_call", f"{each.payment}/{key}")
                for key, each in self.refunds.items()
                if each.status == "pending"
            }
            | {("saga.deadline", f"charge:{key}") for key, each in self.invoices.items() if each.collecting}
            | {("refund.retry", key) for key, each in self.payments.items() if each.to_ask_again}
            | {("saga.deadline", f"refund:{key}") for key, each in self.payments.items() if each.to_return}
        )

    def claims(self) -> set[Work]:
        """Periods that were billed, who runs on the plan, invoices with a payment that runs, refunds, who lives on the
        clock.
        """
        on_clock = {key for key, person in self.people.items() if person.on_clock and not person.deleted}
        return (
            {("subscription.period", period) for period in self.periods}
            | {
                ("subscription.plan", f"{PLAN_ID}/{key}")
                for key, each in self.subscriptions.items()
                if not each.canceled
            }
            | {("invoice.live_payment", key) for key in self.invoices if self.is_live(key)}
            | {("payment.refund", key) for key in self.refunds}
            | {
                ("payment.gateway_refund", f"sandbox/{k}")
                for k, each in self.refunds.items()
                if each.status == "succeeded"
            }
            | {("test_clock.customer", f"{CLOCK_ID}/{key}") for key in on_clock}
        )
