"""Random sequences of everything that settles invoices, against a small model of what they owe.

After each step: every invoice's figures and the customer's balance are the model's, no amount due is below zero, debits
equal credits, and I8 holds, invoice by invoice.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import GiveBack, IssueCreditNote, VoidCreditNote
from domain.invoicing.crediting import left_of
from domain.invoicing.draft import DraftInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.settlement import (
    ApplyCustomerBalance,
    MarkInvoiceUncollectible,
    PayInvoiceOutOfBand,
    ReversePaymentOutOfBand,
)
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import Side
from domain.kernel.identifiers import REFUND, derived_id
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.payments.cancel_commands import RecordPaymentCanceled
from domain.payments.commands import PayInvoice, RecordPaymentCaptured, RecordPaymentDeclined
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundTreatment
from domain.payments.refund_commands import RecordRefundFailed, RecordRefundSucceeded, RequestRefund
from processors.invariants.documents import Documents
from schemas.codec import decode_entry, default_codec
from testing.histories import USD, History
from tests.lengths import LENGTH

TENANT = "acme"
STORIES = (
    ("bill",),
    ("bill", "bill"),
    ("part",),
    ("over",),
    ("all",),
    ("void",),
    ("charge", "capture"),
    ("charge", "decline"),
    ("charge", "part", "capture", "refund"),
    ("charge", "part", "capture", "refund", "not_refunded"),
    ("charge", "part", "capture", "bill", "refund"),
    ("charge", "part", "all", "capture", "refund"),
    ("charge", "write_off", "capture"),
    ("charge", "write_off", "decline", "charge"),
    ("write_off", "part", "over"),
    ("write_off", "charge", "part", "capture"),
    ("write_off", "void"),
    ("over", "bill", "void"),
    ("over", "bill", "reverse"),
    ("bill", "over", "apply", "void"),
    ("over", "reverse_part", "reverse"),
    ("all", "reverse", "write_off", "apply"),
    ("write_off", "over", "reverse", "void"),
    ("charge", "part", "capture", "reverse", "apply"),
    ("refund", "refunded"),
    ("refund", "not_refunded"),
    ("credit",),
    ("credit", "credit_all"),
    ("part", "credit", "void_credit"),
    ("credit", "void_credit", "void"),
    ("all", "credit", "bill", "void_credit"),
    ("write_off", "credit", "over"),
    ("write_off", "credit", "void_credit", "credit_all"),
    ("charge", "credit", "capture", "credit_all"),
    ("charge", "capture", "return", "refunded"),
    ("charge", "capture", "return", "not_refunded", "void_credit"),
    ("charge", "capture", "return", "not_refunded", "refund", "refunded"),
    ("charge", "part", "capture", "return", "refund", "not_refunded"),
    ("charge", "capture", "refund", "credit_all", "return"),
    ("charge", "capture", "credit", "refund", "return"),
    ("charge", "capture", "over", "pay_out", "refunded"),
    ("charge", "part", "capture", "pay_out", "not_refunded", "refund"),
    ("charge", "capture", "reopen", "refunded", "charge", "capture"),
    ("charge", "capture", "reopen", "charge", "capture", "not_refunded", "refund"),
    ("charge", "capture", "reopen", "over", "not_refunded", "reverse"),
    ("charge", "capture", "reopen", "credit", "not_refunded", "void_credit"),
    ("charge", "capture", "credit", "reopen", "credit_all", "return", "refunded"),
    ("charge", "part", "capture", "reopen", "refunded", "part", "reopen"),
    ("write_off", "charge", "capture", "reopen", "not_refunded"),
    ("charge", "capture", "reopen", "write_off", "not_refunded", "reopen", "refunded", "apply"),
)
"""What may happen one after the other, between whatever else does."""

stories = st.tuples(st.sampled_from(STORIES), st.integers(0, 2**16), st.integers(1, 2_000))
"""A story, which of the things that it may happen to, and an amount."""


@dataclass
class Owed:
    """An invoice."""

    total: int
    applied: int
    status: str = "open"
    paid: int = 0
    over: int = 0
    reopened: int = 0
    paid_by: list[str] = field(default_factory=list)
    credited: int = 0
    given_back: int = 0
    to_balance: int = 0
    by_hand: int = 0
    over_by_hand: int = 0
    written_off: bool = False
    notes: dict[str, "Note"] = field(default_factory=dict)

    @property
    def is_payable(self) -> bool:
        return self.status in {"open", "uncollectible"}

    @property
    def due(self) -> int:
        if self.status == "void":
            return 0
        return self.total - self.applied - self.paid - self.credited + self.given_back + self.reopened


@dataclass
class Note:
    """A credit note in force: what it took off what was due, and what it gave back, to the balance and by a refund."""

    off: int
    to_balance: int
    refunded: int
    refund: str | None


@dataclass
class Charge:
    """A payment of an invoice: `left` is what can be refunded of it, `over` what it took above what was due, `surplus`
    what of that may be balance (below zero: refunds took of what credit notes gave there), `allowed` what was refunded
    without a credit note of what pays the invoice."""

    invoice: str
    amount: int
    status: str = "running"
    applied: bool = False
    left: int = 0
    over: int = 0
    surplus: int = 0
    allowed: int = 0
    refunds: dict[str, "Returned"] = field(default_factory=dict)


class Returned(NamedTuple):
    """A refund under way: what of it the balance bore, what of it is due again, and the note that it is of."""

    amount: int
    from_balance: int = 0
    reopened: int = 0
    note: Note | None = None


class Model:
    """What is owed, in figures alone."""

    def __init__(self) -> None:
        self.invoices: dict[str, Owed] = {}
        self.charges: dict[str, Charge] = {}
        self.balance = 0

    def bill(self, key: str, total: int) -> None:
        applied = min(total, self.balance)
        self.balance -= applied
        self.invoices[key] = Owed(total, applied, "open" if total > applied else "paid")

    def receive(self, owed: Owed, amount: int) -> int:
        """Money that came: what it pays, and the surplus, which it answers."""
        surplus = max(amount - owed.due, 0)
        owed.paid, owed.over, self.balance = owed.paid + amount - surplus, owed.over + surplus, self.balance + surplus
        owed.status = owed.status if owed.due else "paid"
        return surplus

    def reverse(self, owed: Owed, amount: int) -> None:
        surplus = min(amount, owed.over_by_hand)
        owed.over, owed.over_by_hand = owed.over - surplus, owed.over_by_hand - surplus
        owed.paid, owed.by_hand = owed.paid - (amount - surplus), owed.by_hand - (amount - surplus)
        self.balance -= surplus
        if amount > surplus:
            owed.status = "uncollectible" if owed.written_off else "open"

    def apply(self, owed: Owed) -> None:
        pays = min(owed.due, self.balance)
        owed.applied, self.balance = owed.applied + pays, self.balance - pays
        owed.status = owed.status if owed.due else "paid"

    def void(self, owed: Owed) -> None:
        owed.status, self.balance = "void", self.balance + owed.applied

    def in_balance(self, charge: Charge) -> int:
        """What of it lies in the balance: what it took too much, and what credit notes gave there that no other payment
        of the invoice has returned."""
        if not charge.applied:
            return max(charge.surplus, 0)
        owed = self.invoices[charge.invoice]
        others = sum(max(-self.charges[key].surplus, 0) for key in owed.paid_by if self.charges[key] is not charge)
        return max(charge.surplus + max(owed.to_balance - others, 0), 0)

    def refund(self, charge: Charge, key: str, amount: int, *, kind: str) -> None:
        from_balance = self.borne_by_balance(charge, amount, kind)
        reopened = amount - from_balance if kind == "reopen" else 0
        charge.refunds[key] = Returned(amount, from_balance, reopened)
        self.move(charge, amount, from_balance, reopened)
        if reopened:
            owed = self.invoices[charge.invoice]
            owed.reopened, owed.status = owed.reopened + reopened, "uncollectible" if owed.written_off else "open"

    def borne_by_balance(self, charge: Charge, amount: int, kind: str) -> int:
        return min(amount, amount if kind == "pay_out" else self.in_balance(charge), self.balance)

    def move(self, charge: Charge, amount: int, from_balance: int, reopened: int = 0) -> None:
        charge.left, charge.surplus = charge.left - amount, charge.surplus - from_balance
        charge.allowed += amount - from_balance - reopened if charge.applied else 0
        self.balance -= from_balance

    def not_refunded(self, charge: Charge, refund: Returned) -> None:
        """It pays what is due again, and what is left of it is balance."""
        self.move(charge, -refund.amount, -refund.from_balance, -refund.reopened)
        owed = self.invoices[charge.invoice]
        surplus = max(refund.reopened - owed.due, 0)
        owed.reopened, owed.paid, owed.over = owed.reopened - refund.reopened, owed.paid - surplus, owed.over + surplus
        charge.surplus, charge.over, self.balance = (
            charge.surplus + surplus,
            charge.over + surplus,
            self.balance + surplus,
        )
        if refund.reopened and owed.is_payable and not owed.due:
            owed.status = "paid"

    def left_to_give(self, owed: Owed) -> int:
        """What was paid of it and did not come back yet."""
        allowed = sum(self.charges[key].allowed for key in owed.paid_by)
        return owed.paid + owed.applied - owed.given_back - owed.reopened - allowed

    def returns_most(self, owed: Owed) -> Charge | None:
        """The payment that can return most of what it paid of the invoice."""
        return max((self.charges[key] for key in owed.paid_by), key=self.left_to_return, default=None)

    def left_to_return(self, charge: Charge) -> int:
        return min(charge.left, charge.amount - charge.over)

    def left_to_refund(self, owed: Owed) -> int:
        charge = self.returns_most(owed)
        return 0 if charge is None else self.left_to_return(charge)

    def credit(self, owed: Owed, key: str, amount: int, *, refunds: bool, refund_id: str) -> None:
        off = min(amount, owed.due)
        refunded = min(amount - off, self.left_to_refund(owed)) if refunds else 0
        note = Note(off, amount - off - refunded, refunded, refund_id if refunded else None)
        owed.notes[key] = note
        self.count(owed, note, 1)
        payment = self.returns_most(owed)
        if refunded and payment is not None:
            payment.refunds[refund_id] = Returned(refunded, note=note)
            payment.left -= refunded
        owed.status = owed.status if owed.due else "paid"

    def count(self, owed: Owed, note: Note, sign: int) -> None:
        owed.credited += sign * (note.off + note.to_balance + note.refunded)
        owed.given_back += sign * (note.to_balance + note.refunded)
        owed.to_balance += sign * note.to_balance
        self.balance += sign * note.to_balance


class Settlements:
    """One customer, whose invoices are paid in every way."""

    def __init__(self) -> None:
        self.history, self.model = History(), Model()
        self.customer = self.history.customer(TENANT)

    def do(self, command: Command, *, accepted: bool = True) -> None:
        assert bool(self.history.do(TENANT, command)) == accepted, command

    def step(self, kind: str, n: int, amount: int) -> None:
        """One step; nothing, where there is nothing for it to happen to."""
        match kind:
            case "bill":
                self.bill(amount)
            case "capture" | "decline":
                self.answer(n, captured=kind == "capture")
            case "refund" | "pay_out" | "reopen":
                self.refund(n, amount, kind=kind)
            case "refunded" | "not_refunded":
                self.answer_refund(n, succeeded=kind == "refunded")
            case _ if self.model.invoices:
                key, owed = self.pick(n)
                match kind:
                    case "charge":
                        self.charge(key, owed)
                    case "void":
                        self.void(key, owed)
                    case "write_off":
                        self.write_off(key, owed)
                    case "all":
                        self.pay_by_hand(key, owed, None)
                    case "credit" | "credit_all" | "return":
                        self.credit(key, owed, amount, kind)
                    case "apply":
                        self.apply(key, owed)
                    case "reverse" | "reverse_part":
                        self.reverse(n, amount, in_part=kind == "reverse_part")
                    case "void_credit":
                        self.void_credit(key, owed, n)
                    case _:
                        self.pay_by_hand(key, owed, amount if kind == "over" else 1 + amount % max(owed.due, 1))

    def pick(self, n: int) -> tuple[str, Owed]:
        """Mostly one that may still be paid."""
        known = list(self.model.invoices.items())
        payable = [each for each in known if each[1].is_payable]
        chosen = payable if payable and n % 8 else known
        return chosen[n % len(chosen)]

    def bill(self, total: int) -> None:
        key = self.history.new_id("in_")
        line = InvoiceLine(
            line_id=self.history.new_id("il_"),
            description="Set-up",
            amount=Money(total, USD),
            quantity=Decimal(1),
            timing=BillingTiming.IN_ARREARS,
        )
        by_hand = CollectionMethod.SEND_INVOICE
        self.do(
            DraftInvoice(
                invoice_id=key, customer_id=self.customer, collection=by_hand, currency=USD, lines=(line,), metadata=()
            )
        )
        self.do(FinalizeInvoice(invoice_id=key))
        self.model.bill(key, total)

    def pay_by_hand(self, key: str, owed: Owed, amount: int | None) -> None:
        payable, came = owed.is_payable, owed.due if amount is None else amount
        money = None if amount is None else Money(amount, USD)
        self.do(PayInvoiceOutOfBand(invoice_id=key, amount=money), accepted=payable)
        if payable:
            surplus = self.model.receive(owed, came)
            owed.by_hand, owed.over_by_hand = owed.by_hand + came - surplus, owed.over_by_hand + surplus

    def apply(self, key: str, owed: Owed) -> None:
        possible = owed.is_payable and self.model.balance > 0
        self.do(ApplyCustomerBalance(invoice_id=key), accepted=possible)
        if possible:
            self.model.apply(owed)

    def reverse(self, n: int, amount: int, *, in_part: bool) -> None:
        """Mostly what came by hand for some invoice."""
        known = list(self.model.invoices.items())
        by_hand = [each for each in known if each[1].by_hand + each[1].over_by_hand]
        chosen = by_hand if by_hand and n % 8 else known
        key, owed = chosen[n % len(chosen)]
        recorded = owed.by_hand + owed.over_by_hand
        part = 1 + amount % (recorded + 1) if in_part else recorded
        surplus = min(part, owed.over_by_hand)
        possible = 0 < part <= recorded and surplus <= self.model.balance and (part == surplus or not owed.given_back)
        money = Money(part, USD) if in_part else None
        self.do(ReversePaymentOutOfBand(invoice_id=key, amount=money), accepted=possible)
        if possible:
            self.model.reverse(owed, part)

    def charge(self, key: str, owed: Owed) -> None:
        # At most one payment of an invoice is live; the claim that sees to it is the store's.
        if any(each.invoice == key and each.status == "running" for each in self.model.charges.values()):
            return
        payable, payment_id = owed.is_payable, self.history.new_id("pay_")
        self.do(PayInvoice(invoice_id=key, payment_id=payment_id), accepted=payable)
        if payable:
            self.model.charges[payment_id] = Charge(key, owed.due)

    def answer(self, n: int, *, captured: bool) -> None:
        running = [each for each in self.model.charges.items() if each[1].status == "running"]
        if not running:
            return
        payment_id, charge = running[n % len(running)]
        owed = self.model.invoices[charge.invoice]
        if captured:
            self.do(RecordPaymentCaptured(payment_id=payment_id, attempt=1, gateway_payment_id=payment_id))
            charge.status, charge.left = "captured", charge.amount
            charge.applied = owed.is_payable
            if charge.applied:
                charge.surplus = charge.over = self.model.receive(owed, charge.amount)
                owed.paid_by.append(payment_id)
            return
        charge.status = "ended"
        if self.history.state(TENANT, PAYMENT, payment_id).cancellation is not None:
            self.do(RecordPaymentCanceled(payment_id=payment_id, attempt=1))
        else:
            code = DeclineCode.INSUFFICIENT_FUNDS
            self.do(RecordPaymentDeclined(payment_id=payment_id, attempt=1, decline_code=code, retryable=True))

    def void(self, key: str, owed: Owed) -> None:
        allowed = owed.is_payable and not owed.paid and not owed.credited
        self.do(VoidInvoice(invoice_id=key), accepted=allowed)
        if allowed:
            self.model.void(owed)

    def write_off(self, key: str, owed: Owed) -> None:
        self.do(MarkInvoiceUncollectible(invoice_id=key), accepted=owed.status == "open")
        if owed.status == "open":
            owed.status, owed.written_off = "uncollectible", True

    def refund(self, n: int, amount: int, *, kind: str) -> None:
        """Mostly of what was overpaid; or of whatever the balance holds; or so that the invoice is due again."""
        captured = [each for each in self.model.charges.items() if each[1].left]
        overpaid = [each for each in captured if each[1].surplus]
        chosen = overpaid if overpaid and n % 8 else captured
        if not chosen:
            return
        payment_id, charge = chosen[n % len(chosen)]
        refund_id, part = self.history.new_id("re_"), 1 + amount % charge.left
        pays_out, reopens = kind == "pay_out", kind == "reopen"
        possible = not pays_out or (charge.applied and part <= self.model.balance)
        if reopens:
            reopened = part - self.model.borne_by_balance(charge, part, kind)
            kept = self.model.left_to_give(self.model.invoices[charge.invoice])
            possible = charge.applied and (not reopened or reopened <= kept)
        asked = RequestRefund(
            refund_id=refund_id,
            payment_id=payment_id,
            amount=Money(part, USD),
            from_balance=pays_out,
            treatment=RefundTreatment.REOPEN if reopens else RefundTreatment.ALLOWANCE,
        )
        self.do(asked, accepted=possible)
        if possible:
            self.model.refund(charge, refund_id, part, kind=kind)

    def answer_refund(self, n: int, *, succeeded: bool) -> None:
        pending = [(key, charge, each) for key, charge in self.model.charges.items() for each in charge.refunds]
        if not pending:
            return
        payment_id, charge, refund_id = pending[n % len(pending)]
        refund = charge.refunds.pop(refund_id)
        amount, note = refund.amount, refund.note
        if note is not None and not succeeded:
            owed = self.model.invoices[charge.invoice]
            self.model.count(owed, note, -1)
            note.to_balance, note.refunded, note.refund = note.to_balance + amount, 0, None
            self.model.count(owed, note, 1)
            charge.left += amount
        if succeeded:
            self.do(RecordRefundSucceeded(refund_id=refund_id, payment_id=payment_id, gateway_refund_id=refund_id))
            return
        code = DeclineCode.ACCOUNT_CLOSED
        self.do(RecordRefundFailed(refund_id=refund_id, payment_id=payment_id, failure_code=code))
        if note is None:
            self.model.not_refunded(charge, refund)

    def credit(self, key: str, owed: Owed, amount: int, kind: str) -> None:
        """A part of the invoice, or all that is left of it; to the balance, or by a refund of what a payment paid."""
        left = owed.total - owed.credited
        part = left if kind == "credit_all" or not left else 1 + amount % left
        gives_back = part - min(part, owed.due)
        refunds = kind == "return"
        possible = owed.status != "void" and left > 0 and gives_back <= max(self.model.left_to_give(owed), 0)
        if refunds and gives_back and not self.model.left_to_refund(owed):
            possible = False
        note_id = self.history.new_id("cn_")
        asked = IssueCreditNote(
            credit_note_id=note_id,
            invoice_id=key,
            amount=None if kind == "credit_all" else Money(part or 1, USD),
            give_back=GiveBack.REFUND if refunds else GiveBack.CUSTOMER_BALANCE,
        )
        self.do(asked, accepted=possible)
        if possible:
            refund_id = derived_id(REFUND, note_id, "refund")
            self.model.credit(owed, note_id, part, refunds=refunds, refund_id=refund_id)

    def void_credit(self, key: str, owed: Owed, n: int) -> None:
        if not owed.notes:
            return
        note_id, note = list(owed.notes.items())[n % len(owed.notes)]
        possible = not note.refunded and note.to_balance <= self.model.balance and (not note.off or owed.is_payable)
        self.do(VoidCreditNote(credit_note_id=note_id, invoice_id=key), accepted=possible)
        if possible:
            self.model.count(owed, owed.notes.pop(note_id), -1)

    def check_figures(self) -> None:
        """They are the model's."""
        for key, owed in self.model.invoices.items():
            invoice = self.history.state(TENANT, INVOICE, key)
            assert invoice.amount_due.amount >= 0
            assert (
                invoice.status,
                invoice.amount_applied.amount,
                invoice.amount_paid.amount,
                invoice.amount_overpaid.amount,
                invoice.amount_credited.amount,
                invoice.amount_given_back.amount,
                invoice.amount_reopened.amount,
                invoice.amount_due.amount,
            ) == (
                InvoiceStatus(owed.status),
                owed.applied,
                owed.paid,
                owed.over,
                owed.credited,
                owed.given_back,
                owed.reopened,
                owed.due,
            )
            assert all(0 <= abs(left.left.amount) <= owed.total for left in left_of(invoice).values())
            assert sum(left.left.amount for left in left_of(invoice).values()) == owed.total - owed.credited
        assert self.history.state(TENANT, CUSTOMER, self.customer).balance.amount == self.model.balance >= 0

    def check_books(self) -> None:
        """They balance and tell the documents' story."""
        documents, sides = Documents(default_codec()), Counter[Side]()
        for event in self.history.events:
            entry = None if event.postings is None else decode_entry(event.postings)
            documents.take(event, entry)
            for posting in () if entry is None else entry.postings:
                sides[posting.side] += posting.amount.amount
        assert sides[Side.DEBIT] == sides[Side.CREDIT]
        found = asyncio.run(documents.checked(None))  # type: ignore[arg-type]
        assert found.holds, found.named


@settings(max_examples=LENGTH.scaled(60), deadline=None)
@given(said=st.lists(stories, min_size=3, max_size=10))
def test_whatever_settles_invoices_they_owe_what_the_model_says_and_the_books_say_so(
    said: list[tuple[tuple[str, ...], int, int]],
) -> None:
    settlements = Settlements()
    settlements.step("bill", 0, 1_000)
    for story, n, amount in said:
        for kind in story:
            settlements.step(kind, n, amount)
            settlements.check_figures()
            settlements.check_books()
