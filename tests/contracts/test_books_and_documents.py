"""Invariant I8 over whole histories: what control accounts hold is what documents say, and a difference is named."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.discounts.computation import CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon
from domain.invoicing.credit_note import IssueCreditNote, VoidCreditNote
from domain.kernel.accounts import (
    BAD_DEBT,
    CASH,
    CHART,
    CONTROL_ACCOUNTS,
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    EQUITY,
    GATEWAY_CLEARING,
    RECEIVABLE,
    REFUNDS_PAYABLE,
    REVENUE,
    credit,
    debit,
    entry,
)
from domain.kernel.money import Money
from domain.ledger.journal_entry import PostJournalEntry
from domain.payments.commands import CreatePayment, RecordPaymentCaptured
from domain.payments.decline import DeclineCode
from domain.payments.refund_commands import RecordRefundFailed, RecordRefundSucceeded, RequestRefund
from domain.subscriptions.commands import CreateSubscription, RenewSubscription, RequestedCoupon
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from infra.event_store.port import Recorded
from processors.invariants.documents import Book, Documents
from processors.invariants.findings import Checked
from schemas.codec import default_codec, encode_entry
from testing.histories import USD, History
from testing.random_histories import scramble
from tests.lengths import LENGTH

TENANT = "acme"
CODEC = default_codec()


async def checked(events: Iterable[Recorded]) -> Checked:
    documents = Documents(CODEC)
    for event in events:
        documents.take(event, None if event.postings is None else CODEC.decode_entry(event.postings))
    return await documents.checked(None)  # type: ignore[arg-type]


class Returns(History):
    """A paid invoice and a payment of the customer's own, each with a refund that succeeded, failed and is pending."""

    def __init__(self) -> None:
        super().__init__()
        _, plan_id, price_id = self.catalogue(TENANT)
        self.customer_id = self.customer(TENANT)
        subscription_id = self.subscribe(TENANT, self.customer_id, plan_id, price_id)
        self.applied = self.collect(TENANT, self.state(TENANT, SUBSCRIPTION, subscription_id).latest_invoice_id)
        self.alone = self.new_id("pay_")
        self.do(
            TENANT,
            CreatePayment(payment_id=self.alone, customer_id=self.customer_id, amount=Money(5_000, USD), confirm=True),
        )
        self.do(TENANT, RecordPaymentCaptured(payment_id=self.alone, attempt=1, gateway_payment_id="gw_1"))
        for payment_id in (self.applied, self.alone):
            done, failed, _pending = (self.refund(payment_id, amount) for amount in (100, 20, 3))
            self.do(TENANT, RecordRefundSucceeded(refund_id=done, payment_id=payment_id, gateway_refund_id=done))
            self.do(
                TENANT,
                RecordRefundFailed(refund_id=failed, payment_id=payment_id, failure_code=DeclineCode.ACCOUNT_CLOSED),
            )
        assert not self.refused

    def refund(self, payment_id: str, amount: int) -> str:
        refund_id = self.new_id("re_")
        self.do(TENANT, RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=Money(amount, USD)))
        return refund_id


async def test_what_is_pending_held_and_at_the_gateway_is_what_was_posted() -> None:
    history = Returns()
    documents = Documents(CODEC)
    for event in history.events:
        documents.take(event, None)
    captured = 7_035 + 5_000
    assert documents.shown() == {
        Book(REFUNDS_PAYABLE.code, TENANT, history.customer_id, "USD"): 3 + 3,
        Book(CUSTOMER_BALANCE.code, TENANT, history.customer_id, "USD"): 5_000 - 100 - 3,
        Book(GATEWAY_CLEARING.code, TENANT, history.customer_id, "USD"): captured - 100 - 100,
    }
    found = await checked(history.events)
    assert found.holds, found.named


@pytest.mark.parametrize(
    ("lost", "differing"),
    [
        ("invoice.finalized", {RECEIVABLE.code, "receivable of an invoice", "deferred_revenue of an invoice"}),
        (
            "payment.captured",
            {
                GATEWAY_CLEARING.code,
                RECEIVABLE.code,
                CUSTOMER_BALANCE.code,
                "receivable of an invoice",
                "money of an invoice",
            },
        ),
        ("refund.requested", {REFUNDS_PAYABLE.code, CUSTOMER_BALANCE.code, "allowances of a payment"}),
        ("refund.succeeded", {REFUNDS_PAYABLE.code, GATEWAY_CLEARING.code}),
        ("refund.failed", {REFUNDS_PAYABLE.code, CUSTOMER_BALANCE.code, "allowances of a payment"}),
    ],
)
async def test_what_lost_its_postings_is_named_by_the_accounts(lost: str, differing: set[str]) -> None:
    events = Returns().events
    without = [replace(event, postings=None) if event.event_type == lost else event for event in events]
    assert {each.kind for each in (await checked(without)).named} == differing


@pytest.mark.parametrize("code", sorted(CONTROL_ACCOUNTS))
async def test_what_was_posted_to_a_control_account_past_its_documents_is_named(code: str) -> None:
    history = Returns()
    paid_in = debit(CASH, Money(5, USD)), credit(EQUITY, Money(5, USD))
    history.do(TENANT, PostJournalEntry(entry_id=history.new_id("je_"), postings=paid_in, memo="capital"))
    balanced = entry((debit(CHART[code], Money(5, USD)), credit(EQUITY, Money(5, USD))))
    assert balanced is not None
    events = [*history.events[:-1], replace(history.events[-1], postings=encode_entry(balanced))]
    (found,) = (await checked(events)).named
    assert found.kind == code
    assert CONTROL_ACCOUNTS[code] in found.detail


async def test_what_was_posted_about_another_invoice_than_it_is_about_is_named_by_both() -> None:
    """The customer's accounts come to the same, the trial balance is zero: only the invoices tell."""
    history = Returns()
    events = [event for event in history.events if event.event_type == "invoice.finalized"]
    _, plan_id, price_id = history.catalogue(TENANT)
    history.subscribe(TENANT, history.customer_id, plan_id, price_id)
    first, second = (event for event in history.events if event.event_type == "invoice.finalized")
    assert events == [first]
    more, less = (
        entry((debit(RECEIVABLE, billed, history.customer_id), credit(DEFERRED_REVENUE, billed, history.customer_id)))
        for billed in (Money(7_035 + 5, USD), Money(7_035 - 5, USD))
    )
    assert more is not None
    assert less is not None
    planted = {first.event_id: encode_entry(more), second.event_id: encode_entry(less)}
    found = await checked(
        replace(event, postings=planted.get(event.event_id, event.postings)) for event in history.events
    )
    assert {(each.kind, each.subject, each.detail) for each in found.named} == {
        (f"{account} of an invoice", f"{TENANT}/{event.stream_id}", f"the log posted {posted}, the invoice says {said}")
        for account, event, posted, said in (
            ("receivable", first, 5, 0),
            ("receivable", second, 7_030, 7_035),
            ("deferred_revenue", first, 7_040, 7_035),
            ("deferred_revenue", second, 7_030, 7_035),
        )
    }


async def test_what_is_posted_about_a_settled_invoice_is_named() -> None:
    history = Returns()
    paid = next(event for event in history.events if event.event_type == "invoice.paid")
    written_off = entry(
        (debit(BAD_DEBT, Money(5, USD), history.customer_id), credit(REVENUE, Money(5, USD), history.customer_id))
    )
    assert written_off is not None
    later = replace(paid, stream_version=paid.stream_version + 1, postings=encode_entry(written_off))
    found = await checked([*history.events, later])
    assert {each.kind for each in found.named} == {"bad_debt of an invoice", "revenue of an invoice"}


@pytest.mark.parametrize("lost", ["credit_note.issued", "credit_note.voided"])
async def test_a_credit_note_of_a_paid_invoice_posts_what_it_says(lost: str) -> None:
    history = Returns()
    invoice_id = next(event.stream_id for event in history.events if event.event_type == "invoice.paid")
    note_id = history.new_id("cn_")
    history.do(TENANT, IssueCreditNote(credit_note_id=note_id, invoice_id=invoice_id, amount=Money(7, USD)))
    history.do(TENANT, VoidCreditNote(credit_note_id=note_id, invoice_id=invoice_id))
    assert not history.refused
    found = await checked(history.events)
    assert found.holds, found.named
    without = [replace(event, postings=None) if event.event_type == lost else event for event in history.events]
    accounts = {CUSTOMER_BALANCE.code, "customer_balance of an invoice", "deferred_revenue of an invoice"}
    assert {each.kind for each in (await checked(without)).named} == accounts


@pytest.mark.parametrize("seed", range(LENGTH.scaled(4)))
async def test_random_histories_tell_one_story(seed: int) -> None:
    history = scramble(History(seed), (TENANT, "globex"), steps=400)
    found = await checked(history.events)
    assert found.holds, found.named
    assert found.counts["accounts of customers"] > 10


def discounted() -> History:
    """A subscription that begins with a coupon for two periods, and uses them up."""
    history = History()
    _, plan_id, price_id = history.catalogue(TENANT)
    customer_id, coupon_id = history.customer(TENANT), history.new_id("coup_")
    terms = CouponTerms(name="Ten", off=PercentOff(percent=Decimal(10)), duration=CouponDuration.REPEATING, periods=2)
    history.do(TENANT, CreateCoupon(coupon_id=coupon_id, terms=terms, max_redemptions=1))
    coupon = RequestedCoupon(coupon_id=coupon_id, discount_id=history.new_id("disc_"))
    subscription_id = history.new_id("sub_")
    history.do(
        TENANT,
        CreateSubscription(
            subscription_id=subscription_id,
            customer_id=customer_id,
            plan_id=plan_id,
            items=(RequestedItem(price_id=price_id),),
            coupons=(coupon,),
        ),
    )
    history.now += timedelta(days=31)
    history.do(TENANT, RenewSubscription(subscription_id=subscription_id))
    assert not history.refused
    return history


@pytest.mark.parametrize(
    ("event_type", "twice", "found"),
    [
        ("discount.applied", True, "amount off"),
        ("discount.applied", True, "periods of a discount"),
        ("discount.applied", False, "periods used by"),
        ("discount.ended", True, "periods of a discount"),
        ("coupon.redeemed", True, "redemptions of a coupon"),
        ("coupon.redeemed", False, "redemptions of a coupon"),
    ],
)
async def test_what_is_used_of_a_discount_is_held_against_what_invoices_say(
    event_type: str, twice: bool, found: str
) -> None:
    events = discounted().events
    assert (await checked(events)).holds
    times = 2 if twice else 0
    changed = [each for each in events for _ in range(times if each.event_type == event_type else 1)]
    assert found in str((await checked(changed)).named)
