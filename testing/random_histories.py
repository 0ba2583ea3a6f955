"""Random histories: commands of every kind, many of them refused, for what must hold of any history."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from domain.approvals.approval import (
    ExpireApproval,
    GrantApproval,
    RefundAskedFor,
    RejectApproval,
    RequestApproval,
    WantedEntry,
    WithdrawApproval,
)
from domain.catalog.plan import ArchivePlan, ChangePlanTerms, CreatePlan, DeletePlan, PlanTerms
from domain.catalog.price import ArchivePrice, BillingTiming, CreatePrice, DeletePrice
from domain.catalog.product import ArchiveProduct, ChangeProduct, CreateProduct, DeleteProduct
from domain.commands import ChangeMetadata
from domain.customers.customer import (
    DeleteCustomer,
    EraseCustomer,
    SetDefaultPaymentMethod,
    UpdateCustomer,
)
from domain.customers.payment_method import (
    AttachPaymentMethod,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethodKind,
    RecordPaymentMethodForgotten,
)
from domain.customers.test_clock import (
    AdvanceTestClock,
    CancelTestClockAdvance,
    CompleteTestClockAdvance,
    CompleteTestClockDeletion,
    CreateTestClock,
    DeleteTestClock,
    MoveTestClock,
)
from domain.discounts.commands import ApplyCouponToCustomer
from domain.discounts.computation import AmountOff, CouponDuration, PercentOff
from domain.discounts.coupon import ArchiveCoupon, CouponTerms, CreateCoupon, DeleteCoupon
from domain.invoicing.billing_settings import ChangeBillingSettings, Seller
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import ChangeCreditNoteMetadata, GiveBack, IssueCreditNote, VoidCreditNote
from domain.invoicing.draft import DraftInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.settlement import (
    ApplyCustomerBalance,
    MarkInvoiceUncollectible,
    PayInvoiceOutOfBand,
    ReversePaymentOutOfBand,
)
from domain.kernel.accounts import CASH, EQUITY, credit, debit
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.identifiers import REFUND, derived_id
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.kernel.tenant_mode import TenantMode
from domain.ledger.journal_entry import PostJournalEntry, ReverseJournalEntry
from domain.payments.cancel_commands import CancelPayment, ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.commands import (
    CollectInvoice,
    ConfirmPayment,
    CreatePayment,
    PayInvoice,
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundTreatment
from domain.payments.refund_commands import (
    ChangeRefundMetadata,
    RecordRefundFailed,
    RecordRefundOutcomeUnknown,
    RecordRefundSucceeded,
    RequestRefund,
)
from domain.pricing.models import BoundedPrice, Flat, Graduated, Package, PerUnit, Price, Tier, Volume
from domain.subscriptions.alignment import PeriodAlignment, StubPeriod
from domain.subscriptions.billing_date_commands import ChangeBillingDate
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.commands import CreateSubscription, RenewSubscription, RequestedCoupon
from domain.subscriptions.discount_commands import ApplyCouponToSubscription, RemoveDiscount
from domain.subscriptions.pause_commands import (
    PauseSubscription,
    ReactivateSubscription,
    ResumeSubscription,
    SuspendSubscription,
)
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import TrialEnd
from domain.subscriptions.transfer_commands import TransferSubscription
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial
from domain.tax.computation import TaxRate
from domain.tax.remote import TaxCalculator
from domain.tax.settings import (
    ArchiveTaxRate,
    ChangeTaxSettings,
    CreateTaxRate,
    CreateTaxRegistration,
    EndTaxRegistration,
)
from testing.histories import MONTH, START, USD, WITH_METADATA, History
from testing.random_alerts import alerted
from testing.random_drafts import changes_of_draft, drafted, sharing, waiting_for_tax
from testing.random_imports import imported
from testing.random_meters import metered
from testing.random_migrations import migrated
from testing.random_usage import used

ADA, BOB = "user:ada", "user:bob"
TIERS = (
    Tier(up_to=Decimal(2), unit_amount=Decimal("12.5"), flat_amount=100),
    Tier(above=Decimal(2), up_to=None, unit_amount=Decimal("7.25")),
)
TIERED = Graduated(currency=USD, tiers=TIERS, free_units=Decimal("0.5"))
PRICES: tuple[Price, ...] = (
    PerUnit(currency=USD, unit_amount=Decimal("12.5")),
    TIERED,
    Volume(currency=USD, tiers=TIERS),
    Package(currency=USD, package_size=Decimal(3), package_amount=900, free_units=Decimal(1)),
    BoundedPrice(model=TIERED, minimum=Money(115, USD), maximum=Money(140, USD)),
)
QUARTER = Interval(IntervalUnit.QUARTER)
IN_YEN = Flat(amount=Money(700, CurrencyCode("JPY")))


def scramble(history: History, tenants: tuple[str, ...], steps: int) -> History:
    """Random commands of every kind, many of them refused, by several tenants."""
    known: dict[str, dict[str, list[str]]] = {tenant: {} for tenant in tenants}
    for tenant in tenants:
        product_id, plan_id, price_id = history.catalogue(tenant)
        known[tenant] = {"product": [product_id], "plan": [plan_id], "price": [price_id]}
        known[tenant]["customer"] = [history.customer(tenant)]
    for _ in range(steps):
        history.now += timedelta(hours=history.random.randrange(200))
        tenant = history.random.choice(tenants)
        for command in _random_commands(history, tenant, known[tenant]):
            for event in history.do(tenant, command):
                ids = known[tenant].setdefault(event.stream_type, [])
                if event.stream_version == 1:
                    ids.append(event.stream_id)
    return history


def _random_commands(history: History, tenant: str, known: dict[str, list[str]]) -> Iterator[Command]:
    draw = history.random
    new = history.new_id

    def some(kind: str) -> str:
        ids = known.get(kind)
        return draw.choice(ids[-12:]) if ids else f"{kind}_unknown"

    customer_id = some("customer")
    usd = Money(draw.randrange(1, 90_000), USD)
    match draw.randrange(19):
        case 0:
            known["customer"].append(history.customer(tenant))
        case 1:
            seller = Seller(name=f"Seller {usd.amount}", address=("1 Main Street",))
            grace_s = 0 if usd.amount % 3 else 3_600
            yield ChangeBillingSettings(seller=seller, days_until_due=usd.amount % 60, grace_s=grace_s)
            yield UpdateCustomer(customer_id=customer_id, time_zone=draw.choice(("UTC", "Asia/Tokyo")))
            yield SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=some("payment_method"))
        case 2:
            yield draw.choice((DeleteCustomer, EraseCustomer))(customer_id=customer_id)
        case 3:
            yield ChangeProduct(product_id=some("product"), name=f"Name {usd.amount}")
            days = draw.choice((0, 0, 14))
            yield ChangePlanTerms(plan_id=some("plan"), name=f"Plan {usd.amount}", interval=MONTH, trial_days=days)
            yield CreatePrice(
                price_id=new("price_"),
                plan_id=some("plan"),
                external_id=f"price-{usd.amount}",
                price=PRICES[usd.amount % len(PRICES)],
                currency_options=(IN_YEN,) * (usd.amount % 2),
                interval=None if usd.amount % 5 else QUARTER,
                timing=draw.choice(tuple(BillingTiming)),
            )
            yield from _random_taxes(known, usd.amount)
            yield from _random_coupons(known, new, usd.amount)
            yield from metered(known, new, history.now, usd.amount)
            yield from alerted(known, new, customer_id, history.now, usd.amount)
            latest = tuple(known.get("subscription", ())[-6:])
            yield from migrated(history, tenant, new("mig_"), some("plan"), latest, usd.amount)
            if draw.random() < 0.05:
                yield ArchivePlan(plan_id=some("plan"))
            elif draw.random() < 0.1:
                yield from _made_by_mistake(new)
        case 4 | 5 | 6:
            yield CreateSubscription(
                subscription_id=new("sub_"),
                customer_id=customer_id,
                plan_id=some("plan"),
                items=(RequestedItem(price_id=some("price"), quantity=Decimal(draw.choice(("1", "2.5", "7")))),),
                collection=draw.choice(tuple(CollectionMethod)),
                starts_at=None if usd.amount % 4 else history.now + timedelta(days=usd.amount % 90 - 45),
                **_counted(history.now, usd.amount),
                coupons=_of_those(known.get("coupon", []), new, usd.amount),
            )
            yield from sharing(history, customer_id, some("plan"), some("price"), usd)
            if usd.amount % 4 == 1:
                yield from used(history, tenant, customer_id, some("plan"), usd)
        case 7 | 8:
            subscription = history.state(tenant, SUBSCRIPTION, some("subscription"))
            if subscription is not None and subscription.next_boundary is not None:
                history.now = max(history.now, subscription.next_boundary)
                yield RenewSubscription(subscription_id=subscription.subscription_id)
                yield from drafted(history, tenant, subscription.subscription_id, usd)
                if usd.amount % 4 == 0:
                    yield from _declined(history, tenant, subscription.subscription_id)
        case 9:
            yield ApplyCouponToCustomer(
                discount_id=new("disc_"), coupon_id=some("coupon"), customer_id=customer_id, metadata=(("order", "1"),)
            )
            yield ApplyCouponToSubscription(
                discount_id=new("disc_"), coupon_id=some("coupon"), subscription_id=some("subscription")
            )
            if usd.amount % 3 == 0:
                yield RemoveDiscount(discount_id=some("discount"))
            at_end = draw.random() < 0.5
            yield CancelSubscription(
                subscription_id=some("subscription"), at_period_end=at_end, gives_back=usd.amount % 2 == 0
            )
            yield TransferSubscription(
                subscription_id=some("subscription"),
                customer_id=some("customer"),
                to_subscription_id=new("sub_"),
                at_period_end=at_end,
                gives_back=not at_end and usd.amount % 2 == 0,
            )
            yield from _other_items(history, some("subscription"), some("plan"), some("price"), usd.amount)
            yield from _changes_of_mind(history, some("subscription"), usd.amount)
            tried = CreateSubscription(
                subscription_id=new("sub_"),
                customer_id=customer_id,
                plan_id=some("plan"),
                items=(RequestedItem(price_id=some("price")),),
                starts_at=history.now + timedelta(days=3),
                trial_days=5,
                **_counted(history.now, usd.amount + 1),
                trial_end=tuple(TrialEnd)[usd.amount % 3],
            )
            yield tried
            yield from _trial(history, tenant, tried.subscription_id)
        case 10:
            invoice_id = new("in_")
            line = InvoiceLine(
                line_id=new("il_"),
                description="Set-up",
                amount=usd,
                quantity=Decimal(1),
                timing=draw.choice(tuple(BillingTiming)),
            )
            yield DraftInvoice(
                invoice_id=invoice_id,
                customer_id=customer_id,
                collection=draw.choice(tuple(CollectionMethod)),
                currency=USD,
                lines=(line,),
                metadata=(("order", str(usd.amount)),),
                with_waiting_items=usd.amount % 3 == 0,
            )
            yield from changes_of_draft(history, customer_id, invoice_id, usd)
            if draw.random() < 0.7:
                yield FinalizeInvoice(invoice_id=invoice_id)
                yield from waiting_for_tax(history, tenant, invoice_id, usd)
            yield from imported(history.now, customer_id, line, new("in_"))
        case 11:
            invoice_id = some("invoice")
            ends = draw.choice((VoidInvoice, VoidInvoice, PayInvoiceOutOfBand, MarkInvoiceUncollectible))
            if ends is not VoidInvoice:
                part = Money(1 + usd.amount // 9, USD)  # or more than is due
                yield PayInvoiceOutOfBand(invoice_id=invoice_id, amount=part)
            yield ends(invoice_id=invoice_id)
            yield from _credited(history, some("invoice"), usd.amount)
            if ends is PayInvoiceOutOfBand and usd.amount % 2:
                yield ApplyCustomerBalance(invoice_id=some("invoice"))
                yield ReversePaymentOutOfBand(invoice_id=invoice_id)
        case 12 | 13:
            payment_id = new("pay_")
            yield draw.choice((CollectInvoice, PayInvoice))(invoice_id=some("invoice"), payment_id=payment_id)
            yield from _random_outcome(history, tenant, payment_id)
            yield from _returned(history, tenant, payment_id, usd.amount)
        case 14:
            payment_id = new("pay_")
            yield CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=usd, confirm=draw.random() < 0.5)
            yield ConfirmPayment(payment_id=payment_id, payment_method_id=some("payment_method"))
            yield from _random_outcome(history, tenant, payment_id)
            yield DetachPaymentMethod(payment_method_id=some("payment_method"))
        case 15:
            payment_id, refund_id = some("payment"), new("re_")
            if usd.amount % 3 == 0:
                yield from _random_approval(new("apr_"), payment_id, refund_id, usd.amount)
            pays_out = usd.amount % 4 == 0
            yield RequestRefund(
                refund_id=refund_id,
                payment_id=payment_id,
                reason="asked",
                from_balance=pays_out,
                treatment=RefundTreatment.REOPEN if usd.amount % 2 else RefundTreatment.ALLOWANCE,
            )
            yield RecordRefundOutcomeUnknown(refund_id=refund_id, payment_id=payment_id, why="time-out")
            outcome = draw.random()
            if outcome < 0.4:
                yield RecordRefundSucceeded(refund_id=refund_id, payment_id=payment_id, gateway_refund_id=refund_id)
            elif outcome < 0.8:
                yield RecordRefundFailed(
                    refund_id=refund_id, payment_id=payment_id, failure_code=DeclineCode.ACCOUNT_CLOSED
                )
        case 16:
            method_id = new("pm_")
            yield AttachPaymentMethod(
                payment_method_id=method_id,
                customer_id=customer_id,
                kind=draw.choice(tuple(PaymentMethodKind)),
                gateway="sandbox",
                token_reference="tok_visa",
                make_default=draw.random() < 0.5,
            )
            yield ChangePaymentMethod(payment_method_id=some("payment_method"), token_reference=f"tok_{usd.amount}")
            if draw.random() < 0.3:
                method_id = some("payment_method")
                yield DetachPaymentMethod(payment_method_id=method_id)
                yield RecordPaymentMethodForgotten(payment_method_id=method_id)
            yield CancelPayment(payment_id=some("payment"))
            rare = draw.random()
            if rare < 0.05:
                yield ArchiveProduct(product_id=some("product"))
            elif rare < 0.15:
                yield ArchivePrice(price_id=known["price"][-1])
        case 17:
            subscriptions = (
                history.state(tenant, SUBSCRIPTION, key) for key in reversed(known.get("subscription", []))
            )
            owing = next((each for each in subscriptions if each is not None and each.past_due_invoice_ids), None)
            if owing is not None:
                yield PayInvoiceOutOfBand(invoice_id=owing.past_due_invoice_ids[0])
            change = {"order": str(usd.amount), "note": draw.choice(("", "kept", None))}
            for stream in WITH_METADATA:
                yield ChangeMetadata(stream=stream, stream_id=some(stream.name), change=draw.choice((change, None)))
            payment = history.state(tenant, PAYMENT, some("payment"))
            for refund in payment.refunds if payment is not None else ():
                yield ChangeRefundMetadata(
                    refund_id=refund.refund_id, payment_id=payment.payment_id, change=draw.choice((change, None))
                )
        case _:
            entry_id, clock_id = new("je_"), new("clock_")
            postings = (debit(CASH, usd), credit(EQUITY, usd))
            if usd.amount % 3 == 0:
                entry = WantedEntry(entry_id=entry_id, postings=postings, memo="capital", metadata=())
                approval_id = new("apr_")
                yield RequestApproval(approval_id=approval_id, journal_entry=entry, note=None, by=ADA)
                yield GrantApproval(approval_id=approval_id, by=BOB)
                for nth in (1, 2, 3):
                    other = new("apr_")
                    unwanted = WantedEntry(entry_id=new("je_"), postings=postings, memo="capital", metadata=())
                    yield RequestApproval(approval_id=other, journal_entry=unwanted, note=None, by=ADA)
                    yield _end_of_approval(other, nth)
            yield PostJournalEntry(entry_id=entry_id, postings=postings, memo="capital")
            is_taken_back = draw.random() < 0.3
            if is_taken_back:
                yield ReverseJournalEntry(entry_id=entry_id, memo="wrong")
            yield CreateTestClock(clock_id=clock_id, name="clock", frozen_at=START, mode=TenantMode.TEST)
            yield AdvanceTestClock(clock_id=clock_id, to=START + timedelta(days=40))
            yield MoveTestClock(clock_id=clock_id, advance=1, to=START + timedelta(days=9))
            if is_taken_back:
                yield CancelTestClockAdvance(clock_id=clock_id)
            yield CompleteTestClockAdvance(clock_id=clock_id, advance=1)
            if is_taken_back:
                yield DeleteTestClock(clock_id=clock_id)
                yield CompleteTestClockDeletion(clock_id=clock_id)


def _counted(now: datetime, n: int) -> dict[str, Any]:
    """From where its periods are counted, and what a stub costs."""
    alignment = tuple(PeriodAlignment)[n % 3]
    is_anchored = alignment is PeriodAlignment.ANCHOR
    return {
        "alignment": alignment,
        "anchor_at": now + timedelta(days=n % 80 - 40) if is_anchored else None,
        "stub": StubPeriod.FREE if n % 5 == 0 else StubPeriod.PRORATED,
    }


def _made_by_mistake(new: Callable[[str], str]) -> Iterator[Command]:
    """What nothing uses is archived, and deleted once what names it is."""
    product_id, plan_id, price_id = new("prod_"), new("plan_"), new("price_")
    yield CreateProduct(product_id=product_id, name="Mistaken")
    yield CreatePlan(plan_id=plan_id, product_id=product_id, terms=PlanTerms(name="Mistaken", interval=MONTH))
    yield CreatePrice(price_id=price_id, plan_id=plan_id, price=Flat(amount=Money(1, USD)))
    yield from (ArchivePrice(price_id=price_id), ArchivePlan(plan_id=plan_id), ArchiveProduct(product_id=product_id))
    yield from (DeletePrice(price_id=price_id), DeletePlan(plan_id=plan_id), DeleteProduct(product_id=product_id))


def _changes_of_mind(history: History, subscription_id: str, n: int) -> Iterator[Command]:
    """It is paused, suspended, to end on a date, and none of it lasts; most of it is refused."""
    ahead = history.now + timedelta(days=1 + n % 50)
    yield SuspendSubscription(subscription_id=subscription_id)
    yield ReactivateSubscription(subscription_id=subscription_id)
    yield PauseSubscription(subscription_id=subscription_id, resumes_at=ahead if n % 2 else None, gives_back=n % 3 == 0)
    history.now += timedelta(days=n % 60)
    yield ResumeSubscription(subscription_id=subscription_id)
    yield CancelSubscription(subscription_id=subscription_id, at_period_end=False, cancel_at=history.now + timedelta(9))
    yield UndoCancellation(subscription_id=subscription_id)


def _other_items(history: History, subscription_id: str, plan_id: str, price_id: str, n: int) -> Iterator[Command]:
    """Another quantity or plan, now or later, once more at that very moment, and taken back; much is refused."""
    wanted = ChangedItem(price_id=price_id, quantity=Decimal(1 + n % 4))
    change = ChangeSubscription(
        subscription_id=subscription_id,
        items=(wanted,),
        plan_id=plan_id if n % 3 == 0 else None,
        proration=tuple(Proration)[n % 4],
        resets_anchor=n % 5 == 0,
        effective_at=history.now + timedelta(days=n % 40) if n % 7 == 0 else None,
    )
    yield change
    yield replace(change, items=(replace(wanted, quantity=Decimal(1 + n % 3)),), effective_at=None)
    if n % 2:
        yield replace(change, plan_id=None, resets_anchor=False, effective_at=history.now + timedelta(days=3))
        yield UnscheduleChange(subscription_id=subscription_id)
    yield ChangeBillingDate(subscription_id=subscription_id, anchor_at=history.now + timedelta(days=n % 50 - 10))


def _trial(history: History, tenant: str, subscription_id: str) -> Iterator[Command]:
    """It begins later; its trial is extended, and ended before its time."""
    subscription = history.state(tenant, SUBSCRIPTION, subscription_id)
    if subscription is not None:
        history.now = max(history.now, subscription.next_boundary)
        yield RenewSubscription(subscription_id=subscription_id)
        yield ExtendTrial(subscription_id=subscription_id, trial_end=subscription.first_period_at + timedelta(days=2))
        yield EndTrial(subscription_id=subscription_id)


def _random_coupons(known: dict[str, list[str]], new: Callable[[str], str], n: int) -> Iterator[Command]:
    """Of every sort, of which few last; one that nobody has is deleted."""
    coupon_ids = known.setdefault("coupon", [])
    if not n % 4 and coupon_ids:
        yield ArchiveCoupon(coupon_id=coupon_ids[n % len(coupon_ids)])
    for nth in range(2):
        duration = tuple(CouponDuration)[(n + nth) % 3]
        terms = CouponTerms(
            name=f"Coupon {n}",
            off=AmountOff(amount=Money(1 + n // 20, USD)) if (n + nth) % 2 else PercentOff(percent=Decimal(1 + n % 99)),
            duration=duration,
            periods=1 + n % 4 if duration is CouponDuration.REPEATING else None,
            product_ids=() if n % 5 else tuple(known["product"][:1]),
        )
        yield CreateCoupon(
            coupon_id=new("coup_"),
            terms=terms,
            max_redemptions=None if n % 2 else 3,
            metadata=(("order", str(n)),),
        )
    unwanted = new("coup_")
    yield CreateCoupon(coupon_id=unwanted, terms=terms)
    yield DeleteCoupon(coupon_id=unwanted)


def _of_those(coupon_ids: list[str], new: Callable[[str], str], n: int) -> tuple[RequestedCoupon, ...]:
    """None, one or two of the coupons that there are."""
    chosen = coupon_ids[-12:][n % 7 : n % 7 + n % 3]
    return tuple(RequestedCoupon(coupon_id=coupon_id, discount_id=new("disc_")) for coupon_id in chosen)


def _random_taxes(known: dict[str, list[str]], n: int) -> Iterator[Command]:
    """The table of a tenant as it grows, registrations in two countries, of which one ends, and what is refused."""
    rate_ids, registration_ids = known.setdefault("tax_rate", []), known.setdefault("tax_registration", [])
    rate_ids.append(f"txr_{len(rate_ids)}")
    registration_ids.append(f"txreg_{len(registration_ids)}")
    country = ("DE", "FR")[n % 2]
    calculator = TaxCalculator.REMOTE if n % 4 == 1 else TaxCalculator.TABLE
    yield ChangeTaxSettings(seller_country="DE", prices_include_tax=n % 3 == 0, calculator=calculator)
    yield CreateTaxRate(
        rate=TaxRate(
            rate_id=rate_ids[-1],
            percent=Decimal(n % 2500) / 100,
            country=country,
            kind=("vat", "levy")[n % 5 == 0],
            valid_from=START.date() - timedelta(days=n % 3),
        ),
        metadata=(("order", str(n)),),
    )
    yield CreateTaxRegistration(
        registration_id=registration_ids[-1], country=country, number=f"{country}{n}", valid_from=START.date()
    )
    if n % 4 == 0:
        yield EndTaxRegistration(registration_id=registration_ids[-1], valid_until=START.date() + timedelta(days=n))
        yield ArchiveTaxRate(rate_id=rate_ids[n % len(rate_ids)])


def _random_approval(approval_id: str, payment_id: str, refund_id: str, n: int) -> Iterator[Command]:
    """Asked for by Ada, and brought to one of its ends, or to none."""
    refund = RefundAskedFor(
        refund_id=refund_id, payment_id=payment_id, amount=None, reason="asked", metadata=(("order", str(n)),)
    )
    yield RequestApproval(approval_id=approval_id, refund=refund, note="please", by=ADA)
    if n % 5 < 4:
        yield _end_of_approval(approval_id, n % 5)


def _end_of_approval(approval_id: str, nth: int) -> Command:
    ends: tuple[Command, ...] = (
        GrantApproval(approval_id=approval_id, by=BOB),
        RejectApproval(approval_id=approval_id, reason="no", by=BOB),
        WithdrawApproval(approval_id=approval_id, by=ADA),
        ExpireApproval(approval_id=approval_id),
    )
    return ends[nth]


def _declined(history: History, tenant: str, subscription_id: str) -> Iterator[Command]:
    """The latest invoice's card is refused for good, so the subscription is past due."""
    subscription = history.state(tenant, SUBSCRIPTION, subscription_id)
    if subscription is not None and subscription.latest_invoice_id is not None:
        payment_id = history.new_id("pay_")
        yield CollectInvoice(invoice_id=subscription.latest_invoice_id, payment_id=payment_id)
        yield RecordPaymentDeclined(
            payment_id=payment_id, attempt=1, decline_code=DeclineCode.STOLEN_CARD, retryable=False
        )


def _credited(history: History, invoice_id: str, n: int) -> Iterator[Command]:
    """A part of an invoice, or all that is left of it; every other one is taken back, if nothing rests on it."""
    note_id = history.new_id("cn_")
    part = Money(1 + n // 9, USD) if n % 3 else None
    yield IssueCreditNote(credit_note_id=note_id, invoice_id=invoice_id, amount=part, reason="asked")
    kept = {"order": str(n)}
    yield ChangeCreditNoteMetadata(credit_note_id=note_id, invoice_id=invoice_id, change=kept)
    if n % 2:
        yield VoidCreditNote(credit_note_id=note_id, invoice_id=invoice_id)


def _returned(history: History, tenant: str, payment_id: str, n: int) -> Iterator[Command]:
    """What a charge has paid is due again, or paid as before; then it is credited and refunded. Every other refund
    comes to nothing.
    """
    payment = history.state(tenant, PAYMENT, payment_id)
    if payment is None or payment.invoice_id is None or payment.captured_at is None:
        return
    closed = DeclineCode.ACCOUNT_CLOSED
    if n % 3:
        back = history.new_id("re_")
        part = Money(1 + n % 700, USD)
        again = RefundTreatment.REOPEN
        yield RequestRefund(refund_id=back, payment_id=payment_id, amount=part, treatment=again)
        if n % 2:
            yield RecordRefundFailed(refund_id=back, payment_id=payment_id, failure_code=closed)
    note_id = history.new_id("cn_")
    yield IssueCreditNote(credit_note_id=note_id, invoice_id=payment.invoice_id, give_back=GiveBack.REFUND)
    refund_id = derived_id(REFUND, note_id, "refund")
    if n % 2:
        yield RecordRefundSucceeded(refund_id=refund_id, payment_id=payment_id, gateway_refund_id=refund_id)
    else:
        yield RecordRefundFailed(refund_id=refund_id, payment_id=payment_id, failure_code=closed)


def _random_outcome(history: History, tenant: str, payment_id: str) -> Iterator[Command]:
    draw = history.random
    payment = history.state(tenant, PAYMENT, payment_id)
    attempt = 1 if payment is None else payment.attempt
    gateway_id = f"gw_{payment_id}"
    if payment is not None and payment.invoice_id is not None and draw.random() < 0.5:
        # So that what is captured now is not needed, or only a part of it; or recovers what was written off.
        part = Money(draw.randrange(1, 9_000), USD) if draw.random() < 0.4 else None
        settle = MarkInvoiceUncollectible if draw.random() < 0.2 else partial(PayInvoiceOutOfBand, amount=part)
        yield settle(invoice_id=payment.invoice_id)
    match draw.randrange(5):
        case 0:
            yield RecordPaymentOutcomeUnknown(payment_id=payment_id, attempt=attempt, why="time-out")
            yield RecordPaymentCaptured(payment_id=payment_id, attempt=attempt, gateway_payment_id=gateway_id)
        case 1:
            yield RecordPaymentActionRequired(payment_id=payment_id, attempt=attempt, gateway_payment_id=gateway_id)
            if draw.random() < 0.5:
                yield ExpirePaymentAttempt(payment_id=payment_id, attempt=attempt)
                yield RecordPaymentCanceled(payment_id=payment_id, attempt=attempt)
        case 2:
            yield RecordPaymentDeclined(
                payment_id=payment_id, attempt=attempt, decline_code=DeclineCode.INSUFFICIENT_FUNDS, retryable=True
            )
        case _:
            yield RecordPaymentCaptured(payment_id=payment_id, attempt=attempt, gateway_payment_id=gateway_id)
