"""The report of recurring revenue says of any history what its subscriptions, read one by one, come to."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.subscriptions.recurring import COUNTED, recurring_items
from domain.subscriptions.recurring_customer import CustomerRecurring
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from projections.catalogue import BY_NAME
from projections.models.mrr_days import IN_ALL
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


def check_sums(tables: Tables) -> Counter[Key]:
    """What moved in all is the sum of what moved of each subscription, and comes to what customers have at each day's
    end, to the minor unit. The movements by kind.
    """
    in_all: Counter[Key] = Counter()
    of_each: Counter[Key] = Counter()
    counts: Counter[Key] = Counter()
    for row in tables.rows.get("mrr_days", {}).values():
        place = (row["tenant_id"], row["currency"], row["day"], row["movement"])
        sums = in_all if row["customer_id"] == IN_ALL else of_each
        sums[place] += row["change"]
        if row["customer_id"] == IN_ALL:
            counts[*place[:3], "subscriptions"] += row["subscriptions"]
            counts[*place[:3], "customers"] += row["customers"]
    assert {key: each for key, each in in_all.items() if each} == {key: each for key, each in of_each.items() if each}
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
    check_sums(tables)


def test_some_histories_have_every_movement() -> None:
    kinds: Counter[Key] = Counter()
    for seed in range(1, 4):
        history = scramble(History(seed), TENANTS, 800)
        tables = in_one_go(history.events)
        check_states(history, tables)
        kinds += check_sums(tables)
    assert {kind for (kind,) in kinds} == {"new", "expansion", "contraction", "churn", "reactivation"}
