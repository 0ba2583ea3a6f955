"""What a subscription's items become when its plan's newest version is had: item by item, as a change asks for it.

An item stays as it was sold while its price is on sale, with its amount and its quantity. Where its price is archived,
or is said to become another one, that one takes its place, with the quantity: as said, else the one of the same name,
else the only one there is. Where several could, a person says which: money is not guessed. Add-ons are other plans'.
"""

from enum import StrEnum
from typing import NamedTuple

from domain.catalog.plan import PLAN
from domain.catalog.price import PRICE, PlanPrice
from domain.kernel.currency import CurrencyCode
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Streams
from domain.pricing.models import NoPriceInCurrency
from domain.subscriptions.change_commands import ChangedItem
from domain.subscriptions.migration import PlanMigration
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.terms import DuplicatePrice, SubscriptionItem, SubscriptionTerms


class SuccessorIsAmbiguous(Refusal):
    """Several prices of the plan could take the place of this one: say in `prices` of a migration what it becomes."""

    code = "successor_ambiguous"


class NoSuccessor(Refusal):
    """No price of the plan is on sale in this currency in its place: create it, or say in `prices` that it goes."""

    code = "no_successor"


class IntervalIsMixed(Refusal):
    """The newest version bills this price by another interval than those beside it: change this one by itself."""

    code = "interval_mixed"


class LeftPlan(Refusal):
    """The subscription was changed to another plan or version since it was found, and is left as it is."""

    code = "subscription_left_plan"


class Standing(StrEnum):
    """Where a subscription stands to a migration: to be moved, moved already, or none of its concern."""

    BEHIND = "behind"
    THERE = "there"
    OUTSIDE = "outside"


class ItemChanges(NamedTuple):
    """What a change names: items that are set or added, and prices to take away."""

    items: tuple[ChangedItem, ...]
    remove: tuple[str, ...]


def standing(migration: PlanMigration, subscription: Subscription, streams: Streams) -> Standing:
    """Whether it runs on the plan, and on older terms: of an older version, or with a price that is replaced. What is
    scheduled to get there counts as there.
    """
    terms, scheduled = subscription.terms, subscription.scheduled
    if subscription.status is SubscriptionStatus.CANCELED or terms.plan_id != migration.plan_id:
        return Standing.OUTSIDE
    if _is_there(migration, terms, streams):
        return Standing.THERE
    if scheduled is not None and _is_there(migration, scheduled.terms, streams):
        return Standing.THERE
    is_meant = migration.from_version in (None, terms.plan_version)
    return Standing.BEHIND if is_meant else Standing.OUTSIDE


def item_changes(migration: PlanMigration, terms: SubscriptionTerms, streams: Streams) -> ItemChanges:
    """What becomes of its items. Raises SuccessorIsAmbiguous, NoSuccessor, DuplicatePrice, IntervalIsMixed."""
    held = {item.price_id for item in terms.items}
    items: list[ChangedItem] = []
    remove: list[str] = []
    for item in terms.items:
        price = PRICE.of(streams, item.price_id)
        if price.plan_id != migration.plan_id:
            continue
        becomes = _becomes(migration, price, terms.currency, held, streams)
        if becomes == item.price_id and not _has_other_interval(migration, item, price, terms, streams):
            continue
        remove.append(item.price_id)
        if becomes is None:
            continue
        if becomes != item.price_id and becomes in held:
            raise DuplicatePrice(price=becomes, instead_of=item.price_id)
        held.add(becomes)
        items.append(ChangedItem(price_id=becomes, quantity=item.quantity))
    items += [ChangedItem(price_id=each) for each in migration.adds if each not in held]
    return ItemChanges(tuple(items), tuple(remove))


def check_intervals(before: SubscriptionTerms, after: SubscriptionTerms) -> None:
    """A price keeps its interval, unless all periods are counted anew. Raises IntervalIsMixed."""
    if before.interval != after.interval:
        return
    known = {item.price_id: item.interval for item in before.items}
    for item in after.items:
        if item.price_id in known and known[item.price_id] != item.interval:
            raise IntervalIsMixed(price=item.price_id)


def _is_there(migration: PlanMigration, terms: SubscriptionTerms, streams: Streams) -> bool:
    if terms.plan_id != migration.plan_id or terms.plan_version < migration.to_version:
        return False
    return not _has_older_prices(migration, terms, streams)


def _has_older_prices(migration: PlanMigration, terms: SubscriptionTerms, streams: Streams) -> bool:
    held = {item.price_id for item in terms.items}
    if any(each not in held for each in migration.adds):
        return True
    if any(each.price_id in held and each.becomes != each.price_id for each in migration.prices):
        return True
    kept = {each.price_id for each in migration.prices}
    prices = (PRICE.of(streams, price_id) for price_id in held - kept)
    return any(price.plan_id == migration.plan_id and price.archived_at is not None for price in prices)


def _becomes(
    migration: PlanMigration, price: PlanPrice, currency: CurrencyCode, held: set[str], streams: Streams
) -> str | None:
    for each in migration.prices:
        if each.price_id == price.price_id:
            return each.becomes
    if price.archived_at is None:
        return price.price_id
    plan = PLAN.of(streams, migration.plan_id)
    others = (PRICE.of(streams, used) for used in plan.used_by if used not in held)
    on_sale = [each for each in others if _is_sold(each, currency)]
    if not on_sale:
        raise NoSuccessor(price=price.price_id, currency=currency)
    of_its_name = [each for each in on_sale if each.name == price.name]
    found = of_its_name or on_sale
    if len(found) > 1:
        raise SuccessorIsAmbiguous(price=price.price_id, prices=" ".join(each.price_id for each in found))
    return found[0].price_id


def _is_sold(price: PlanPrice, currency: CurrencyCode) -> bool:
    if price.archived_at is not None:
        return False
    try:
        price.stated_in(currency)
    except NoPriceInCurrency:
        return False
    return True


def _has_other_interval(
    migration: PlanMigration, item: SubscriptionItem, price: PlanPrice, terms: SubscriptionTerms, streams: Streams
) -> bool:
    """Whether a price without an interval of its own is billed by another one of its plan by now."""
    sold_by = price.interval or PLAN.of(streams, migration.plan_id).terms.interval
    return sold_by != (item.interval or terms.interval)
