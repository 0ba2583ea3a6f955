"""The report of recurring revenue says of any history what its subscriptions, read one by one, come to."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalog.price import BillingTiming, CreatePrice
from domain.customers.customer import CreateCustomer
from domain.customers.tax_location import TaxLocation
from domain.discounts.computation import CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon
from domain.discounts.discount import DISCOUNT, AttachedDiscount, DiscountEnd
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.state import Invoice, WaitingFor
from domain.invoicing.tax_request import FinalizeWithTax
from domain.invoicing.usage_line import UsageSnapshot
from domain.invoicing.usage_request import BillUsage, CountedUsage
from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation
from domain.metering.meter import CreateMeter, MeterTerms
from domain.pricing.models import PerUnit
from domain.subscriptions.commands import CreateSubscription, RenewSubscription, RequestedCoupon
from domain.subscriptions.recurring import COUNTED, RecurringDiscount, recurring_items, recurring_revenue
from domain.subscriptions.recurring_customer import CustomerRecurring
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.computation import TaxRate
from domain.tax.remote import TaxCalculator
from domain.tax.settings import (
    TAX_SETTINGS,
    TAX_SETTINGS_ID,
    ChangeTaxSettings,
    CreateTaxRate,
    CreateTaxRegistration,
    TaxSettings,
)
from infra.event_store.port import Recorded
from projections.catalogue import BY_NAME
from schemas.codec import decode_event
from testing.examples.taxes import answer_to
from testing.histories import START, USD, History
from testing.random_histories import scramble
from tests.contracts.test_read_models import TENANTS, Tables, in_one_go
from tests.lengths import LENGTH

Key = tuple[Any, ...]
ACME = "acme"
NEVER = datetime.min.replace(tzinfo=UTC)


def customers_of(tables: Tables) -> Iterator[tuple[str, CustomerRecurring]]:
    for (tenant_id, _), row in tables.rows.get("recurring_customers", {}).items():
        yield str(tenant_id), BY_NAME["recurring_customers"].read(row).state  # type: ignore[arg-type]


def subscriptions_of(history: History) -> Iterator[tuple[str, Subscription]]:
    found = {(e.tenant_id, e.stream_id) for e in history.events if e.stream_type == SUBSCRIPTION.name}
    for tenant_id, subscription_id in sorted(found):
        yield tenant_id, history.state(tenant_id, SUBSCRIPTION, subscription_id)


def check_states(history: History, tables: Tables) -> None:
    """What the read model knows of each subscription is what its stream says."""
    known = {
        (tenant_id, each.subscription_id): (each.is_counted, each.items)
        for tenant_id, customer in customers_of(tables)
        for each in customer.subscriptions
    }
    assert known == {
        (tenant_id, each.subscription_id): (each.status in COUNTED, recurring_items(each.terms))
        for tenant_id, each in subscriptions_of(history)
        if each.status is not SubscriptionStatus.CANCELED
    }


class Billing:
    """What a history's invoices and ends of discounts say, found by looking through all of it."""

    def __init__(self, history: History) -> None:
        self.discounted: dict[Key, tuple[datetime, datetime]] = {}
        self.ended: dict[Key, Recorded] = {}
        self.begun: dict[Key, list[Recorded]] = defaultdict(list)
        self.included: dict[Key, dict[str | None, Decimal]] = defaultdict(dict)
        for event in history.events:
            place = (event.tenant_id, event.stream_id)
            match event.event_type:
                case "invoice.finalized":
                    rates = history.state(event.tenant_id, TAX_SETTINGS, TAX_SETTINGS_ID)
                    self._invoiced(event.tenant_id, decode_event(event.payload), rates)
                case "invoice.tax_requested":
                    draft = history.state(event.tenant_id, INVOICE, event.stream_id)
                    asked: Any = decode_event(event.payload)
                    self._discounted(event.tenant_id, asked.lines, draft.subscription_ids)
                case "discount.ended":
                    self.ended[place] = event
                case "subscription.period_started":
                    self.begun[place].append(event)

    def _invoiced(self, tenant_id: str, invoice: Any, table: TaxSettings | None) -> None:
        """Rates are the table's, or those that a service named for this invoice."""
        totals = () if invoice.tax is None else invoice.tax.totals
        listed = () if table is None else table.rates
        known = {each.rate_id: each.percent for each in totals} | {each.rate_id: each.rate.percent for each in listed}
        for line in invoice.lines:
            if line.tax_inclusive and line.price_id is not None and line.kind is not InvoiceLineKind.CREDIT:
                shares = () if line.tax is None else line.tax.shares
                percent = sum((known[share.rate_id] for share in shares), Decimal(0))
                self.included[tenant_id, invoice.customer_id][line.tax_category] = percent
        self._discounted(tenant_id, invoice.lines, (invoice.subscription_id, *invoice.further_subscription_ids))

    def _discounted(self, tenant_id: str, lines: Iterable[Any], subscription_ids: Iterable[str | None]) -> None:
        """The latest period of each price that is billed with a discount, whichever was said first."""
        for line in lines:
            for each in line.discounts:
                for subscription_id in subscription_ids:
                    key = (tenant_id, each.discount_id, subscription_id, line.price_id)
                    period = (line.period_start or NEVER, line.period_end or NEVER)
                    self.discounted[key] = max(period, self.discounted.get(key, period))

    def held(self, tenant_id: str, discount: AttachedDiscount, subscription: Subscription) -> RecurringDiscount | None:
        """The discount as it counts for the subscription now."""
        off, products = discount.terms.off, discount.terms.product_ids
        if discount.terms.duration is CouponDuration.ONCE:
            return None
        if discount.ended_at is None:
            return RecurringDiscount(off=off, product_ids=products)
        if discount.end_reason is not DiscountEnd.USED_UP:
            return None
        ended = self.ended[tenant_id, discount.discount_id]
        begun = self.begun[tenant_id, subscription.subscription_id]
        since = max([ended.effective_at, *(each.effective_at for each in begun)])
        prices = {
            item.price_id
            for item in subscription.terms.items
            for period in [
                self.discounted.get((tenant_id, discount.discount_id, subscription.subscription_id, item.price_id))
            ]
            if period is not None and period[1] > since
        }
        return RecurringDiscount(off=off, product_ids=products, price_ids=frozenset(prices))


def check_amounts(history: History, tables: Tables) -> int:
    """The last step of each subscription is what it comes to by its state, its discounts' and the last rates that its
    customer was billed with; how many are less than their prices.
    """
    billing = Billing(history)
    last = {
        (tenant_id, step.subscription_id): step.amount
        for tenant_id, customer in customers_of(tables)
        for step in customer.steps
    }
    of_customer: dict[Key, list[AttachedDiscount]] = defaultdict(list)
    of_discounts = [(e.tenant_id, e.stream_id) for e in history.events if e.stream_type == DISCOUNT.name]
    for tenant_id, stream_id in dict.fromkeys(of_discounts):
        discount = history.state(tenant_id, DISCOUNT, stream_id)
        of_customer[tenant_id, discount.customer_id].append(discount)
    discounted = 0
    for tenant_id, subscription in subscriptions_of(history):
        held = [
            counts
            for discount in of_customer[tenant_id, subscription.customer_id]
            if discount.subscription_id in {None, subscription.subscription_id}
            if (counts := billing.held(tenant_id, discount, subscription)) is not None
        ]
        included = billing.included[tenant_id, subscription.customer_id]
        expected = recurring_revenue(subscription, held, included)
        assert last.get((tenant_id, subscription.subscription_id), 0) == expected.amount
        discounted += expected != recurring_revenue(subscription)
    return discounted


def check_sums(tables: Tables) -> Counter[Key]:
    """What moved in all is the sum of what moved of each subscription, and comes to what customers have at each day's
    end, to the minor unit. The movements by kind.
    """
    in_all: Counter[Key] = Counter()
    of_months: Counter[Key] = Counter()
    of_each: Counter[Key] = Counter()
    counts: Counter[Key] = Counter()
    for row in tables.rows.get("mrr_days", {}).values():
        place = (row["tenant_id"], row["currency"], row["day"], row["movement"])
        sums = {"month": of_months, "day": in_all, "subscription": of_each}[row["level"]]
        sums[place] += row["change"]
        if row["level"] == "day":
            counts[*place[:3], "subscriptions"] += row["subscriptions"]
            counts[*place[:3], "customers"] += row["customers"]
    assert standing(in_all) == standing(of_each)
    by_month: Counter[Key] = Counter()
    for (tenant_id, currency, day, movement), change in in_all.items():
        by_month[tenant_id, currency, day.replace(day=1), movement] += change
    assert standing(by_month) == standing(of_months)
    held = held_by_day(tables)
    moved: Counter[Key] = Counter()
    for (tenant_id, currency, day, _), change in in_all.items():
        moved[tenant_id, currency, day] += change
    tenants = {key[:2] for key in (*held, *moved)}
    for tenant_id, currency in tenants:
        mrr = subscriptions = customers = 0
        days = sorted({key[2] for key in (*held, *moved, *counts) if key[:2] == (tenant_id, currency)})
        for day in days:
            mrr += moved[tenant_id, currency, day]
            subscriptions += counts[tenant_id, currency, day, "subscriptions"]
            customers += counts[tenant_id, currency, day, "customers"]
            assert (mrr, subscriptions, customers) == held[tenant_id, currency, day]
    kinds: Counter[Key] = Counter()
    for (*_, movement), change in in_all.items():
        kinds[movement,] += bool(change)
    return kinds


def standing(sums: Counter[Key]) -> dict[Key, int]:
    return {key: each for key, each in sums.items() if each}


def held_by_day(tables: Tables) -> dict[Key, tuple[int, int, int]]:
    """At the end of each day on which anything moved: MRR, subscriptions and customers that have any."""
    found: dict[Key, tuple[int, int, int]] = {}
    by_currency: dict[Key, list[CustomerRecurring]] = defaultdict(list)
    for tenant_id, customer in customers_of(tables):
        if customer.steps:
            by_currency[tenant_id, customer.currency].append(customer)
    for (tenant_id, currency), customers in by_currency.items():
        days = {row["day"] for row in tables.rows.get("mrr_days", {}).values() if row["tenant_id"] == tenant_id}
        for day in days:
            at_end = [amounts for each in customers if (amounts := at(each, day))]
            found[tenant_id, currency, day] = (
                sum(sum(amounts) for amounts in at_end),
                sum(len(amounts) for amounts in at_end),
                len(at_end),
            )
    return found


def at(customer: CustomerRecurring, day: date) -> list[int]:
    last = {step.subscription_id: step.amount for step in customer.steps if step.day <= day}
    return [amount for amount in last.values() if amount]


@settings(max_examples=LENGTH.scaled(8), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_sums_are_exact_after_any_history(seed: int) -> None:
    history = scramble(History(seed), TENANTS, 100)
    tables = in_one_go(history.events)
    check_states(history, tables)
    check_amounts(history, tables)
    check_sums(tables)


def test_some_histories_have_every_movement_and_discounts() -> None:
    kinds: Counter[Key] = Counter()
    discounted = 0
    for seed in range(1, 4):
        history = scramble(History(seed), TENANTS, 800)
        tables = in_one_go(history.events)
        check_states(history, tables)
        discounted += check_amounts(history, tables)
        kinds += check_sums(tables)
    assert {kind for (kind,) in kinds} == {"new", "expansion", "contraction", "churn", "reactivation"}
    assert discounted


# --- discounts that are used up out of turn -------------------------------------------------------------------------


class Scene:
    """A tenant's customer in Germany, a coupon of a fifth off so many periods, and what their MRR came to."""

    def __init__(self, periods: int) -> None:
        self.history = History()
        _, self.plan_id, self.price_id = self.history.catalogue(ACME)
        self.do(CreateCustomer(customer_id="cus_1", currency="USD", tax_location=TaxLocation(country="DE")))
        off = PercentOff(percent=Decimal(20))
        terms = CouponTerms(name="Fifth", off=off, duration=CouponDuration.REPEATING, periods=periods)
        self.do(CreateCoupon(coupon_id="coup_1", terms=terms))
        self.subscription_id = self.history.new_id("sub_")

    def do(self, command: Command) -> None:
        """It must be accepted."""
        before = self.history.refused
        self.history.do(ACME, command)
        assert self.history.refused == before, command

    def subscribe(self, *further: str) -> None:
        """To the price of 70.35, and to these, with the coupon."""
        self.do(
            CreateSubscription(
                subscription_id=self.subscription_id,
                customer_id="cus_1",
                plan_id=self.plan_id,
                items=tuple(RequestedItem(price_id=price_id) for price_id in (self.price_id, *further)),
                coupons=(RequestedCoupon(coupon_id="coup_1", discount_id="disc_1"),),
                collection=CollectionMethod.SEND_INVOICE,
                trial_days=0,
            )
        )

    def renew(self) -> None:
        """At its boundary."""
        self.history.now = self.history.state(ACME, SUBSCRIPTION, self.subscription_id).next_boundary
        self.do(RenewSubscription(subscription_id=self.subscription_id))

    def invoices(self) -> list[Invoice]:
        """In the order in which they were begun."""
        ids = dict.fromkeys(e.stream_id for e in self.history.events if e.stream_type == INVOICE.name)
        return [self.history.state(ACME, INVOICE, each) for each in ids]

    def steps(self) -> list[tuple[date, int]]:
        """Of the one subscription, once all of it was checked."""
        tables = in_one_go(self.history.events)
        check_states(self.history, tables)
        check_amounts(self.history, tables)
        check_sums(tables)
        ((_, customer),) = customers_of(tables)
        return [(step.day, step.amount) for step in customer.steps]


def test_a_discount_is_used_up_by_what_waits_for_its_tax() -> None:
    """The invoice itself is finalized much later, of its own time."""
    scene = Scene(periods=1)
    scene.do(ChangeTaxSettings(seller_country="DE", calculator=TaxCalculator.REMOTE))
    since = START.date()
    vat = TaxRate(rate_id="txr_1", percent=Decimal(19), country="DE", kind="vat", valid_from=since)
    scene.do(CreateTaxRate(rate=vat))
    scene.do(CreateTaxRegistration(registration_id="txreg_1", country="DE", number="DE136695976", valid_from=since))
    scene.subscribe()
    (draft,) = scene.invoices()
    assert draft.waiting_for is WaitingFor.TAX
    discounted = (START.date(), 5_628)
    assert scene.steps() == [discounted]
    scene.renew()
    begun = (scene.history.now.date(), 7_035)
    assert scene.steps() == [discounted, begun]
    answer = answer_to(question_of(draft), "19")
    scene.do(FinalizeWithTax(invoice_id=draft.invoice_id, attempt=1, answer=answer))
    assert scene.steps() == [discounted, begun]


def test_a_discount_is_used_up_for_its_own_period_by_what_is_counted_late() -> None:
    """The next period has begun by then, and has no discount any more."""
    scene = Scene(periods=2)
    terms = MeterTerms(value_property="amount")
    scene.do(CreateMeter(meter_id="mtr_1", code="used", name="Used", aggregation=Aggregation.SUM, terms=terms))
    used = PerUnit(currency=USD, unit_amount=Decimal(5))
    arrears = BillingTiming.IN_ARREARS
    scene.do(CreatePrice(price_id="price_used", plan_id=scene.plan_id, price=used, timing=arrears, meter_id="mtr_1"))
    scene.subscribe("price_used")
    scene.renew()
    _, waiting = scene.invoices()
    assert waiting.waiting_for is WaitingFor.USAGE
    scene.renew()
    discounted, begun = (START.date(), 5_628), (scene.history.now.date(), 7_035)
    assert scene.steps() == [discounted]
    (line,) = (line for line in waiting.lines if line.lacks_usage)
    snapshot = UsageSnapshot(closing=1, partition=0, covers=9, sha256="ab" * 32, quantity=Fraction(3), events=3)
    counted = CountedUsage(line_id=line.line_id, snapshot=snapshot)
    scene.do(BillUsage(invoice_id=waiting.invoice_id, counted=(counted,)))
    assert scene.steps() == [discounted, begun]
