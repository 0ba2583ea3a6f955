"""A tenant in memory, whose every event is followed by the reference, and what must hold of it after every command."""

import asyncio
from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple, cast

from domain.catalogue import STREAMS
from domain.commands import decide
from domain.customers.customer import CUSTOMER
from domain.customers.test_clock import TEST_CLOCK
from domain.discounts.computation import PercentOff
from domain.discounts.discount import DISCOUNT
from domain.invoicing.credit_note import CreditNoteIssued
from domain.invoicing.crediting import left_of
from domain.invoicing.draft import InvoiceDrafted
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.issuing import foreseen_lines
from domain.invoicing.numbering import InvoiceNumberTaken
from domain.invoicing.settlement import InvoiceMarkedUncollectible
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.accounts import CASH, CHART, GATEWAY_CLEARING, TAX_PAYABLE, Entry, Side
from domain.kernel.stream import Change, Command, Decision, State, Stream, WorkKind
from domain.payments import charge_saga, refund_saga
from domain.payments.payment import PAYMENT, PaymentCaptured
from domain.pricing.models import Flat, PerUnit, Price
from domain.subscriptions.billing_date import SubscriptionAnchorChanged
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.cancellation import (
    CancellationReason,
    SubscriptionCanceled,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
)
from domain.subscriptions.change import SubscriptionChanged
from domain.subscriptions.pause import SubscriptionPaused, SubscriptionResumed
from domain.subscriptions.pause_commands import PauseSubscription
from domain.subscriptions.state import NEVER, Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionCreated, SubscriptionPeriodStarted
from domain.subscriptions.transfer import SubscriptionContinued
from domain.subscriptions.transfer_commands import TransferSubscription
from domain.subscriptions.trial import SubscriptionTrialEnded, SubscriptionTrialExtended
from infra.database import Pool
from infra.event_store.port import Recorded
from infra.event_store.snapshots import Snapshots
from processors.invariants.documents import Documents
from processors.invariants.invoices import MONEY, said_by
from schemas.codec import default_codec, encode_entry, encode_event
from testing.examples.streams import CLOCK_ID, id_of
from testing.specification import Books, Done, replayed
from tests.domain.lifecycle.reference import Day, Reference

SNAPSHOTS: Final = Snapshots(every_events=1)


class Billed(NamedTuple):
    """A line, as it was seen last, of which invoice (None: it waits), and whether that is issued."""

    line: InvoiceLine
    customer_id: str
    invoice_id: str | None
    is_final: bool


class Read:
    """The states of the books, and which of them were looked at: on those a decision rests. A `Streams`."""

    def __init__(self, books: Books, read: set[tuple[str, str]]) -> None:
        self._books = books
        self.read = read

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        self.read.add((stream.name, stream_id))
        return self._books.get(stream, stream_id)

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        self.read.add((stream.name, stream_id))
        return self._books.is_new(stream, stream_id)


@dataclass
class Tenant:
    """`steps` are what sagas are to do next. `now` is everybody's time but for who lives on the test clock."""

    now: datetime
    books: Books = field(default_factory=Books)
    reference: Reference = field(default_factory=Reference)
    recorded: list[tuple[Change, Entry | None]] = field(default_factory=list)
    billed: dict[str, Billed] = field(default_factory=dict)
    booked: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    returned: Counter[str] = field(default_factory=Counter)
    steps: list[Command] = field(default_factory=list)
    trial_balance: int = 0
    is_sound: bool = True
    ids: int = 100

    def copy(self) -> "Tenant":
        other = copy(self)
        books = self.books
        other.books = Books(
            dict(books.states), list(books.log), list(books.entries), dict(books.claims), dict(books.due)
        )
        other.reference = self.reference.copy()
        other.recorded, other.billed, other.steps = list(self.recorded), dict(self.billed), list(self.steps)
        other.booked = {invoice_id: booked.copy() for invoice_id, booked in self.booked.items()}
        other.numbers, other.noted, other.returned = self.numbers.copy(), self.noted.copy(), self.returned.copy()
        return other

    def new(self, prefix: str) -> str:
        self.ids += 1
        return id_of(prefix, self.ids)

    def all(self, stream: Stream[State]) -> list[State]:
        return [cast("State", state) for (name, _), state in self.books.states.items() if name == stream.name]

    def time_of(self, customer_id: str) -> datetime:
        clock_id = CUSTOMER.of(self.books, customer_id).test_clock_id
        return self.now if clock_id is None else TEST_CLOCK.of(self.books, CLOCK_ID).frozen_at

    # --- commands --------------------------------------------------------------------------------------------------

    def do(self, command: Command) -> Done:
        """Raises the refusal, which leaves no trace."""
        return self.land(command, self.decided(command, set()))

    def decided(self, command: Command, read: set[tuple[str, str]]) -> Decision:
        """What the command comes to by now; `read` is told on which streams that rests, be it a refusal."""
        decision = decide(command, Read(self.books, read), self.now)
        assert decide(command, self.books, self.now) == decision, "the same command on the same states decides the same"
        return decision

    def land(self, command: Command, decision: Decision) -> Done:
        """Let it happen, whole or not at all, and look at all that it touched."""
        done = self.books._land(decision)
        self.is_sound, touched = False, set[str]()
        for change, entry in zip(done.changes, done.entries, strict=True):
            self.recorded.append((change, entry))
            self._post(change, entry, touched)
            self._follow(command, change.event)
            if change.stream.name == INVOICE.name:
                touched.add(change.stream_id)
        for invoice_id in touched:
            invoice = INVOICE.of(self.books, invoice_id)
            if invoice.status is InvoiceStatus.DRAFT:
                self._foresee(foreseen_lines(self.books, invoice))
            self._check_invoice(invoice)
        self._check_all(done)
        self.is_sound = True
        return done

    def _post(self, change: Change, entry: Entry | None, touched: set[str]) -> None:
        if entry is None:
            return
        for posting in entry.postings:
            amount = posting.amount.amount
            self.trial_balance += amount if posting.side is Side.DEBIT else -amount
        assert self.trial_balance == 0, "debits equal credits after every event"
        invoice_id = change.stream_id if change.stream.name == INVOICE.name else None
        if isinstance(change.event, PaymentCaptured):
            payment = PAYMENT.of(self.books, change.stream_id)
            invoice_id = payment.invoice_id if payment.is_applied else None
        if invoice_id is not None:
            touched.add(invoice_id)
            self.booked.setdefault(invoice_id, Counter()).update(booked_by(entry))

    def _follow(self, command: Command, event: Any) -> None:
        reference = self.reference
        match event:
            case SubscriptionCreated():
                reference.created(event)
            case SubscriptionTrialExtended() | SubscriptionTrialEnded():
                reference.trial_moved(event)
            case SubscriptionAnchorChanged():
                reference.anchor_moved(event)
            case SubscriptionPeriodStarted():
                reference.period_started(event)
            case SubscriptionPaused():
                reference.paused(event, gives_back=isinstance(command, PauseSubscription) and command.gives_back)
            case SubscriptionResumed():
                reference.resumed(event)
            case SubscriptionChanged():
                reference.changed(event)
                self._wait(event)
            case SubscriptionCancellationScheduled():
                reference.end_scheduled(event)
            case SubscriptionCancellationUndone():
                reference.end_undone(event)
            case SubscriptionContinued():
                is_billed = isinstance(command, TransferSubscription) and command.gives_back
                reference.continued(event, is_billed=is_billed)
            case SubscriptionCanceled():
                reference.canceled(event, gives_back=self._is_to_give_back(command, event))
            case InvoiceDrafted():
                self._bill(event.customer_id, event.invoice_id, event.lines, is_final=False)
            case InvoiceFinalized():
                self._check_discounts(event)
                self._bill(event.customer_id, event.invoice_id, event.lines, is_final=True)
                self.steps += [step for _, step in charge_saga.react(self.new("evt_"), event)]
            case InvoiceVoided() | InvoiceMarkedUncollectible():
                for line in INVOICE.of(self.books, event.invoice_id).lines:
                    self._is_unclear(line)
                    if isinstance(event, InvoiceVoided):
                        self._take_again(line)
            case CreditNoteIssued():
                for credit in event.credited.lines:
                    self.noted[credit.line_id] += 1
                    self._is_unclear(self.billed[credit.line_id].line)
            case PaymentCaptured():
                self.steps += [step for _, step in refund_saga.react(self.new("evt_"), event)]
            case InvoiceNumberTaken():
                self.numbers[event.counter] += 1
                assert event.number == self.numbers[event.counter], "numbers have no gap"

    def _is_to_give_back(self, command: Command, event: SubscriptionCanceled) -> bool:
        """As it is asked for, or was when it was scheduled."""
        if event.reason is CancellationReason.TRANSFERRED:
            return isinstance(command, TransferSubscription) and command.gives_back
        if event.reason is CancellationReason.REQUESTED:
            return isinstance(command, CancelSubscription) and command.gives_back
        scheduled = {CancellationReason.PERIOD_END, CancellationReason.ON_DATE}
        return event.reason in scheduled and self.reference.subscriptions[event.subscription_id].end_gives_back

    # --- lines -----------------------------------------------------------------------------------------------------

    def _wait(self, event: SubscriptionChanged) -> None:
        """Lines of a change: they wait, or are on the invoice that comes with it; some that waited do so no more."""
        customer_id = SUBSCRIPTION.of(self.books, event.subscription_id).customer_id
        for line_id in event.withdrawn:
            known = self.billed.pop(line_id)
            self._count(customer_id, known.line, sign=-1)
            self._take_again(known.line)
        for line in event.lines:
            self._see(line, customer_id)
            self.billed[line.line_id] = Billed(line, customer_id, None, is_final=False)

    def _bill(self, customer_id: str, invoice_id: str, lines: tuple[InvoiceLine, ...], *, is_final: bool) -> None:
        for line in lines:
            known = self.billed.get(line.line_id)
            if known is None:
                self._see(line, customer_id)
            else:
                assert known.invoice_id in {None, invoice_id}, "a line is billed once"
                assert known.line.amount == line.amount
            self.billed[line.line_id] = Billed(line, customer_id, invoice_id, is_final=is_final)
        if is_final:
            self._foresee(lines)

    def _foresee(self, lines: tuple[InvoiceLine, ...]) -> None:
        """Where discounts leave next to nothing of a line, a credit for it may come to nothing."""
        for line in lines:
            if line.kind is not InvoiceLineKind.CREDIT and line.pricing is not None:
                first, end = self._days(line)
                if line.discounted.amount < 2 * (end - first).days:
                    self._is_unclear(line)

    def _see(self, line: InvoiceLine, customer_id: str) -> None:
        if line.price_id is None or line.pricing is None:
            return
        self._count(customer_id, line, sign=1)
        if line.gives_back is None:
            self._check_charge(customer_id, line)
        else:
            self._check_credit(line)

    def _take_again(self, line: InvoiceLine) -> None:
        """A credit that is billed no more gives nothing back."""
        if line.gives_back is not None:
            self.returned[line.gives_back.line_id] += line.amount.amount

    def _count(self, customer_id: str, line: InvoiceLine, *, sign: int) -> None:
        first, end = self._days_of(customer_id, line)
        quantity = int(line.quantity) if line.gives_back is None else -int(line.quantity)
        self.reference.bills(customer_id, str(line.price_id), first, end, sign * quantity)

    def _days_of(self, customer_id: str, line: InvoiceLine) -> tuple[date, date]:
        assert line.period_start is not None
        assert line.period_end is not None
        return self.reference.days_of(customer_id, line.period_start, line.period_end)

    def _days(self, line: InvoiceLine) -> tuple[date, date]:
        return self._days_of(self.billed[line.line_id].customer_id, line)

    def _is_unclear(self, line: InvoiceLine) -> None:
        if line.price_id is not None and line.pricing is not None:
            self.reference.is_unclear(self.billed[line.line_id].customer_id, line.price_id, *self._days(line))

    def _check_charge(self, customer_id: str, line: InvoiceLine) -> None:
        """It is its days' share of the whole period's price, rounded once."""
        assert line.pricing is not None
        first, end = self._days_of(customer_id, line)
        of_days = self.reference.of_days.get(Day(customer_id, str(line.price_id), first), set())
        shares = {Fraction((end - first).days, whole) for whole in of_days}
        assert line.pricing.share in shares, f"{line.pricing.share} is none of {shares}: {line}"
        price = price_of(line.pricing.price, int(line.quantity))
        if price is not None:
            assert line.amount.amount == half_up(price * line.pricing.share)

    def _check_credit(self, line: InvoiceLine) -> None:
        """It gives back its days' share of what was paid of a line, and no more than that has left."""
        assert line.gives_back is not None
        assert line.pricing is not None
        of = self.billed[line.gives_back.line_id]
        first, end = self._days_of(of.customer_id, line)
        of_first, of_end = self._days_of(of.customer_id, of.line)
        assert of.line.pricing is not None
        share = of.line.pricing.share * (end - first).days / (of_end - of_first).days
        assert line.pricing.share == share, f"{line.pricing.share} of {share}: {line}"
        returned = self.returned[of.line.line_id]
        self.returned[of.line.line_id] -= line.amount.amount
        price = price_of(line.pricing.price, int(line.quantity))
        if price is not None and not self.noted[of.line.line_id] and (of.is_final or of.invoice_id is None):
            paid = Fraction(of.line.discounted.amount, of.line.amount.amount)
            wanted = min(half_up(price * share * paid), of.line.discounted.amount - returned)
            assert -line.amount.amount == wanted, f"a credit of {wanted}: {line}"

    def _check_discounts(self, event: InvoiceFinalized) -> None:
        """A percentage is of what is paid of the lines, all together, one after the other; each is rounded once."""
        given_back = Counter[str]()
        for line in event.lines:
            if line.gives_back is not None:
                given_back[line.gives_back.line_id] -= line.amount.amount
        recurring = [line.price_id for line in event.lines if line.kind is InvoiceLineKind.RECURRING]
        if event.further_subscription_ids or len(recurring) != len(set(recurring)):
            return  # each subscription, or each late period, is discounted by itself
        left = {line.line_id: line.amount.amount - given_back[line.line_id] for line in event.lines}
        for each in event.discounts:
            is_own = DISCOUNT.of(self.books, each.discount_id).subscription_id is not None
            touched = [
                line
                for line in event.lines
                if left[line.line_id] > 0 and not (is_own and line.kind is InvoiceLineKind.ONE_OFF)
            ]
            base = sum(left[line.line_id] for line in touched)
            off = each.terms.off
            wanted = (
                half_up(base * Fraction(off.percent) / 100)
                if isinstance(off, PercentOff)
                else min(off.amount.amount, base)
            )
            assert each.amount.amount == wanted, f"{each} of {base}"
            for line in event.lines:
                taken = sum(one.amount.amount for one in line.discounts if one.discount_id == each.discount_id)
                left[line.line_id] -= taken
                assert taken == 0 or left[line.line_id] >= 0, "no line is discounted below zero"

    # --- what always holds -----------------------------------------------------------------------------------------

    def _check_invoice(self, invoice: Invoice) -> None:
        booked = self.booked.get(invoice.invoice_id, Counter())
        said = said_by(invoice)
        differing = {
            key: (booked[key], said.get(key, 0))
            for key in booked.keys() | said.keys()
            if booked[key] != said.get(key, 0)
        }
        assert not differing, f"I8: the log posted, the invoice says: {differing}"
        due = invoice.amount_due.amount
        assert due >= 0 or invoice.status is InvoiceStatus.DRAFT, "what is due is never below zero"
        if invoice.status in {InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE}:
            assert due > 0, "of what is open something is due"
        if invoice.status is InvoiceStatus.PAID:
            assert due == 0, "of what is paid nothing is due"
        credited = Counter[str]()
        for note in invoice.credit_notes:
            for each in note.credited.lines if note.is_in_force else ():
                credited[each.line_id] += each.net.amount
        if invoice.status is InvoiceStatus.VOID:
            return
        for line in invoice.lines:
            given = self.returned[line.line_id] + credited[line.line_id]
            assert abs(given) <= abs(line.net.amount), f"credits are never above a line: {given} of {line}"
        if invoice.finalized_at is not None:
            left = sum(line.left.amount for line in left_of(invoice).values())
            assert left <= invoice.total.amount - invoice.amount_credited.amount

    def _check_all(self, done: Done) -> None:
        differences = self.reference.differences()
        assert not differences, f"days billed other than once: {differences}"
        for change in done.changes:
            state = self.books.states[change.stream.name, change.stream_id]
            if isinstance(state, Subscription):
                self._check_state(state)
                self._check_timer(state)
            elif isinstance(state, Invoice):
                waits = state.status is InvoiceStatus.DRAFT and state.terms is not None and state.terms.finalizes_at
                key = WorkKind.INVOICE_FINALIZATION, state.invoice_id
                assert (key in self.books.due) == bool(waits), "a draft that is finalized by itself has a timer"
            elif change.stream is CUSTOMER:
                assert state.balance.amount >= 0, "a balance is never below zero"
            elif change.stream is PAYMENT:
                assert state.refundable.amount >= 0, "refunds are never above a payment"

    def _check_state(self, subscription: Subscription) -> None:
        of = self.reference.subscriptions[subscription.subscription_id]
        assert (subscription.period_index, subscription.period_end) == (of.index, of.end)
        assert {item.price_id: item.quantity for item in subscription.terms.items} == {
            price_id: item.quantity for price_id, item in of.items.items()
        }
        assert (subscription.status is SubscriptionStatus.CANCELED) == of.has_ended
        if not of.has_ended:
            assert (subscription.status is SubscriptionStatus.PAUSED) == of.is_paused

    def _check_timer(self, subscription: Subscription) -> None:
        timer = self.books.due.get((WorkKind.SUBSCRIPTION_RENEWAL, subscription.subscription_id))
        if subscription.status is SubscriptionStatus.CANCELED:
            assert timer is None, "of what has ended nothing is due"
        else:
            assert timer is not None
            assert timer.due_at == (subscription.next_boundary or NEVER), "the timer is at what comes next"

    def audit(self) -> None:
        """The audit's own check of the whole log, the log replayed from its first event, and each state kept."""
        assert replayed(self.books.log) == self.books.states, "a replay from the first event comes to the same states"
        for (name, stream_id), state in self.books.states.items():
            kept = SNAPSHOTS.encode(STREAMS[name], state)
            assert kept is not None, f"the state of {stream_id} can be kept"
            assert SNAPSHOTS.decode(STREAMS[name], kept) == state, "a snapshot is the state"
        documents = Documents(default_codec())
        versions = Counter[tuple[str, str]]()
        for position, (change, entry) in enumerate(self.recorded, start=1):
            versions[change.stream.name, change.stream_id] += 1
            documents.take(self._as_recorded(position, change, entry, versions), entry)
        checked = asyncio.run(documents.checked(cast("Pool", None)))
        assert checked.holds, [str(each) for each in checked.named]

    def _as_recorded(
        self, position: int, change: Change, entry: Entry | None, versions: Counter[tuple[str, str]]
    ) -> Recorded:
        stream, stream_id = change.stream, change.stream_id
        event_type, schema_id, payload = encode_event(change.event)
        of = stream.customer_of(self.books.states[stream.name, stream_id]) or stream_id
        return Recorded(
            position=position,
            event_id=f"evt_{position}",
            tenant_id="t",
            stream_type=stream.name,
            stream_id=stream_id,
            stream_version=versions[stream.name, stream_id],
            event_type=event_type,
            schema_id=schema_id,
            payload=payload,
            postings=None if entry is None else encode_entry(entry),
            partition_key=f"t:{of}",
            effective_at=self.now,
            recorded_at=self.now,
            correlation_id="c",
            causation_id=None,
            actor="test",
            decision=None,
        )


def booked_by(entry: Entry) -> Counter[str]:
    """What an entry adds to each account, on the account's own side; money is one account wherever it came."""
    booked = Counter[str]()
    for posting in entry.postings:
        account = MONEY if posting.account in {CASH.code, GATEWAY_CLEARING.code} else posting.account
        if posting.jurisdiction is not None:
            account = f"{TAX_PAYABLE.code} of {posting.jurisdiction}"
        amount = posting.amount.amount
        booked[account] += amount if posting.side is CHART[posting.account].own_side else -amount
    return booked


def price_of(price: Price, quantity: int) -> Fraction | None:
    """What so many of it cost for a whole period, where that is plain."""
    match price:
        case Flat():
            return Fraction(price.amount.amount)
        case PerUnit() if not price.free_units:
            return Fraction(price.unit_amount) * quantity
        case _:
            return None


def half_up(amount: Fraction) -> int:
    """Half a minor unit is rounded up; of what is above zero alone."""
    return int((2 * amount + 1) // 2)
