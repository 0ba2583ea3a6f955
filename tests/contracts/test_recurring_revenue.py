"""The report of recurring revenue says of any history what its subscriptions, read one by one, come to."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.discounts.computation import CouponDuration
from domain.discounts.discount import DISCOUNT, AttachedDiscount, DiscountEnd
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.subscriptions.recurring import COUNTED, RecurringDiscount, recurring_items, recurring_revenue
from domain.subscriptions.recurring_customer import CustomerRecurring
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.settings import TAX_SETTINGS, TAX_SETTINGS_ID, TaxSettings
from infra.event_store.port import Recorded
from projections.catalogue import BY_NAME
from schemas.codec import decode_event
from testing.histories import History
from testing.random_histories import scramble
from tests.contracts.test_read_models import TENANTS, Tables, in_one_go
from tests.lengths import LENGTH

Key = tuple[Any, ...]


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
        self.discounted: dict[Key, datetime] = {}
        self.ended: dict[Key, Recorded] = {}
        self.begun: dict[Key, list[Recorded]] = defaultdict(list)
        self.included: dict[Key, dict[str | None, Decimal]] = defaultdict(dict)
        for event in history.events:
            place = (event.tenant_id, event.stream_id)
            match event.event_type:
                case "invoice.finalized":
                    rates = history.state(event.tenant_id, TAX_SETTINGS, TAX_SETTINGS_ID)
                    self._invoiced(event.tenant_id, decode_event(event.payload), rates)
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
            for each in line.discounts:
                for subscription_id in (invoice.subscription_id, *invoice.further_subscription_ids):
                    key = (tenant_id, each.discount_id, subscription_id, line.price_id)
                    until = line.period_end or datetime.min.replace(tzinfo=UTC)
                    self.discounted[key] = max(until, self.discounted.get(key, until))

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
        since = max([ended.effective_at, *(each.effective_at for each in begun if each.position > ended.position)])
        prices = {
            item.price_id
            for item in subscription.terms.items
            for until in [
                self.discounted.get((tenant_id, discount.discount_id, subscription.subscription_id, item.price_id))
            ]
            if until is not None and until > since
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
