"""What is sold: the catalogue's plans and prices as the terms of a subscription hold them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.catalog import plan as plans
from domain.catalog import price as prices
from domain.catalog.feature import Feature, together
from domain.catalog.plan import PLAN, PlanIsArchived
from domain.catalog.price import PRICE
from domain.catalog.product import PRODUCT, ProductIsArchived
from domain.invoicing.billing_settings import billing_settings, check_days_until_due
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import Interval, zone_of
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.stream import Streams
from domain.kernel.tenant_settings import rounding_of
from domain.pricing.models import NoPriceInCurrency
from domain.subscriptions.alignment import StubPeriod
from domain.subscriptions.proration_basis import ProrationBasis
from domain.subscriptions.terms import (
    MeteredPriceHasNoQuantity,
    OnlyAddOns,
    PriceOfAnotherPlan,
    SubscriptionItem,
    SubscriptionTerms,
    TrialEnd,
    UsageThreshold,
    check_basis,
    check_items,
    check_threshold,
    shortest_of,
)
from domain.tax.settings import tax_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedItem:
    """A price, and how many of it; None: one, or as many as its meter counts."""

    price_id: str
    quantity: Decimal | None = None


def terms_of(
    plan: plans.Plan,
    wanted: Sequence[RequestedItem],
    currency: CurrencyCode,
    streams: Streams,
    *,
    time_zone: str,
    collection: CollectionMethod,
    days_until_due: int | None,
    proration_basis: ProrationBasis,
    billed_together: bool,
    trial_end: TrialEnd,
    stub: StubPeriod,
    usage_threshold: UsageThreshold | None,
) -> SubscriptionTerms:
    """The terms of somebody who subscribes to the plan now."""
    items = told_apart(
        tuple(sold_item(requested, nth, plan, currency, streams) for nth, requested in enumerate(wanted))
    )
    rounding = rounding_of(streams)
    check_items(items, rounding)
    sold = plans_of(items, plan, streams)
    interval, items = counted(items)
    check_basis(proration_basis, interval)
    zone_of(time_zone)
    if days_until_due is None:
        days_until_due = billing_settings(streams).days_until_due
    check_days_until_due(days_until_due)
    check_threshold(usage_threshold, currency)
    return SubscriptionTerms(
        plan_id=plan.plan_id,
        plan_version=plan.version,
        items=items,
        interval=interval,
        currency=currency,
        rounding=rounding,
        time_zone=time_zone,
        collection=collection,
        days_until_due=days_until_due,
        proration_basis=proration_basis,
        billed_together=billed_together,
        trial_end=trial_end,
        stub=stub,
        usage_threshold=usage_threshold,
        features=features_of(sold, streams),
    )


def plans_of(items: Iterable[SubscriptionItem], plan: plans.Plan, streams: Streams) -> set[str]:
    """The plans whose prices these are, that one among them. Raises OnlyAddOns."""
    sold = {PRICE.of(streams, item.price_id).plan_id for item in items}
    if plan.plan_id not in sold:
        raise OnlyAddOns(plan=plan.plan_id)
    return sold


def features_of(sold: Iterable[str], streams: Streams) -> tuple[Feature, ...]:
    """What these plans entitle to together."""
    return together(feature for each in sold for feature in PLAN.of(streams, each).terms.features)


def sold_item(
    requested: RequestedItem, nth: int, plan: plans.Plan, currency: CurrencyCode, streams: Streams
) -> SubscriptionItem:
    price = prices.on_sale(streams, requested.price_id)
    quantity = requested.quantity
    if price.meter_id is not None and quantity is not None:
        raise MeteredPriceHasNoQuantity(price=price.price_id, meter=price.meter_id).at(f"items.{nth}.quantity")
    try:
        sold = plan if price.plan_id == plan.plan_id else _sold_add_on(price, plan, streams)
        stated = price.stated_in(currency)
    except (PriceOfAnotherPlan, PlanIsArchived, ProductIsArchived, NoPriceInCurrency) as refused:
        raise refused.at(f"items.{nth}.price") from None
    product = PRODUCT.of(streams, sold.product_id)
    return SubscriptionItem(
        price_id=price.price_id,
        product_id=product.product_id,
        description=sold.terms.name if price.name is None else f"{sold.terms.name} – {price.name}",
        tax_category=product.tax_category,
        price=stated,
        timing=price.timing,
        quantity=Decimal(1) if quantity is None and price.meter_id is None else quantity,
        interval=price.interval or sold.terms.interval,
        meter_id=price.meter_id,
        tax_inclusive=(
            tax_settings(streams).prices_include_tax if price.tax_inclusive is None else price.tax_inclusive
        ),
    )


def _sold_add_on(price: prices.PlanPrice, plan: plans.Plan, streams: Streams) -> plans.Plan:
    """The add-on whose price it is. Raises PriceOfAnotherPlan, PlanIsArchived, ProductIsArchived."""
    if not PLAN.of(streams, price.plan_id).is_add_on:
        raise PriceOfAnotherPlan(price=price.price_id, plan=plan.plan_id, belongs_to=price.plan_id)
    return sold_plan(streams, price.plan_id)


def sold_plan(streams: Streams, plan_id: str) -> plans.Plan:
    """The plan, if it and its product are on sale. Raises PlanNotFound, PlanIsArchived, ProductIsArchived."""
    plan = plans.on_sale(streams, plan_id)
    if PRODUCT.of(streams, plan.product_id).archived_at is not None:
        raise ProductIsArchived(product=plan.product_id, plan=plan_id).at("plan")
    return plan


def counted(items: tuple[SubscriptionItem, ...]) -> tuple[Interval, tuple[SubscriptionItem, ...]]:
    """The interval by which the periods of these are counted, and the items with what is theirs where that is longer.

    Raises IntervalsDoNotNest.
    """
    intervals = [item.interval for item in items if item.interval is not None]
    shortest = shortest_of(intervals)
    return shortest, tuple(
        replace(item, interval=None if own.multiple_of(shortest) == 1 else own)
        for item, own in zip(items, intervals, strict=True)
    )


def told_apart(items: tuple[SubscriptionItem, ...]) -> tuple[SubscriptionItem, ...]:
    """The same with no two described alike: invoices show them by their descriptions. Those that follow are counted."""
    seen: Counter[str] = Counter()
    told: list[SubscriptionItem] = []
    for item in items:
        description = item.description
        while seen[description]:
            seen[item.description] += 1
            description = f"{item.description} ({seen[item.description]})"
        seen[description] += 1
        told.append(replace(item, description=description))
    return tuple(told)
