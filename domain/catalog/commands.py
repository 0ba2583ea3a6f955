"""What is decided about what is sold: products, plans of products, prices of plans."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.catalog import plan as plans
from domain.catalog import product as products
from domain.catalog.feature import check_meters
from domain.catalog.plan import (
    PLAN,
    ArchivePlan,
    ChangePlanTerms,
    CreatePlan,
    DeletePlan,
    PlanArchived,
    PlanCreated,
    PlanDeleted,
    PlanFreed,
    PlanInUse,
    PlanTerms,
    PlanUsed,
    PlanVersionAdded,
    check_terms,
)
from domain.catalog.price import (
    PRICE,
    ArchivePrice,
    CreatePrice,
    DeletePrice,
    PriceArchived,
    PriceCreated,
    PriceDeleted,
    PriceInUse,
    check_billable,
    check_metered,
)
from domain.catalog.product import (
    PRODUCT,
    ArchiveProduct,
    ChangeProduct,
    CreateProduct,
    DeleteProduct,
    ProductArchived,
    ProductCreated,
    ProductDeleted,
    ProductFreed,
    ProductInUse,
    ProductUsed,
    ProductVersionAdded,
)
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import changed


def create_product(command: CreateProduct, streams: Streams, now: datetime) -> Decision:
    PRODUCT.check_new(streams, command.product_id)
    created = ProductCreated(
        product_id=command.product_id,
        name=command.name,
        description=command.description,
        tax_category=command.tax_category,
        metadata=command.metadata,
        created_at=now,
    )
    return Decision(now, [PRODUCT.change(created)])


def change_product(command: ChangeProduct, streams: Streams, now: datetime) -> Decision:
    product = products.on_sale(streams, command.product_id)
    name = changed(command.name, product.name)
    description = changed(command.description, product.description)
    tax_category = changed(command.tax_category, product.tax_category)
    if (name, description, tax_category) == (product.name, product.description, product.tax_category):
        return Decision(now, [])
    added = ProductVersionAdded(
        product_id=command.product_id,
        version=product.version + 1,
        name=name,
        description=description,
        tax_category=tax_category,
    )
    return Decision(now, [PRODUCT.change(added)])


def archive_product(command: ArchiveProduct, streams: Streams, now: datetime) -> Decision:
    if PRODUCT.of(streams, command.product_id).archived_at is not None:
        return Decision(now, [])
    return Decision(now, [PRODUCT.change(ProductArchived(product_id=command.product_id, archived_at=now))])


def delete_product(command: DeleteProduct, streams: Streams, now: datetime) -> Decision:
    """Raises ProductInUse, which names what rests on it."""
    product = PRODUCT.of(streams, command.product_id)
    if product.used_by:
        raise ProductInUse(product=product.product_id, used_by=product.used_by[0], uses=len(product.used_by))
    if product.deleted_at is not None:
        return Decision(now, [])
    return Decision(now, [PRODUCT.change(ProductDeleted(product_id=product.product_id, deleted_at=now))])


def create_plan(command: CreatePlan, streams: Streams, now: datetime) -> Decision:
    """A new plan needs a product that is on sale, and the meters that its features name."""
    products.on_sale(streams, command.product_id)
    PLAN.check_new(streams, command.plan_id)
    check_terms(command.terms, is_add_on=command.is_add_on)
    check_meters(command.terms.features, streams)
    created = PlanCreated(
        plan_id=command.plan_id,
        product_id=command.product_id,
        terms=command.terms,
        is_add_on=command.is_add_on,
        metadata=command.metadata,
        created_at=now,
    )
    used = ProductUsed(product_id=command.product_id, by=command.plan_id)
    return Decision(now, [PLAN.change(created), PRODUCT.change(used)])


def change_plan_terms(command: ChangePlanTerms, streams: Streams, now: datetime) -> Decision:
    plan = plans.on_sale(streams, command.plan_id)
    terms = PlanTerms(
        name=changed(command.name, plan.terms.name),
        interval=changed(command.interval, plan.terms.interval),
        trial_days=changed(command.trial_days, plan.terms.trial_days),
        features=changed(command.features, plan.terms.features),
    )
    check_terms(terms, is_add_on=plan.is_add_on)
    if terms == plan.terms:
        return Decision(now, [])
    if terms.features != plan.terms.features:
        check_meters(terms.features, streams)
    added = PlanVersionAdded(plan_id=command.plan_id, version=plan.version + 1, terms=terms)
    return Decision(now, [PLAN.change(added)])


def archive_plan(command: ArchivePlan, streams: Streams, now: datetime) -> Decision:
    if PLAN.of(streams, command.plan_id).archived_at is not None:
        return Decision(now, [])
    return Decision(now, [PLAN.change(PlanArchived(plan_id=command.plan_id, archived_at=now))])


def delete_plan(command: DeletePlan, streams: Streams, now: datetime) -> Decision:
    """Its product is free of it. Raises PlanInUse, which names a price of it."""
    plan = PLAN.of(streams, command.plan_id)
    if plan.used_by:
        raise PlanInUse(plan=plan.plan_id, used_by=plan.used_by[0], uses=len(plan.used_by))
    if plan.deleted_at is not None:
        return Decision(now, [])
    freed = ProductFreed(product_id=plan.product_id, by=plan.plan_id)
    return Decision(now, [PLAN.change(PlanDeleted(plan_id=plan.plan_id, deleted_at=now)), PRODUCT.change(freed)])


def create_price(command: CreatePrice, streams: Streams, now: datetime) -> Decision:
    """A new price needs a plan that is on sale, and the meter that it names."""
    plans.on_sale(streams, command.plan_id)
    PRICE.check_new(streams, command.price_id)
    counted_by = None if command.meter_id is None else check_metered(streams, command.meter_id, command.timing)
    check_billable(command.price, command.currency_options, counted_by=counted_by)
    created = PriceCreated(
        price_id=command.price_id,
        plan_id=command.plan_id,
        external_id=command.external_id,
        name=command.name,
        price=command.price,
        currency_options=command.currency_options,
        interval=command.interval,
        timing=command.timing,
        meter_id=command.meter_id,
        tax_inclusive=command.tax_inclusive,
        metadata=command.metadata,
        created_at=now,
    )
    used = PlanUsed(plan_id=command.plan_id, by=command.price_id)
    return Decision(now, [PRICE.change(created), PLAN.change(used)])


def archive_price(command: ArchivePrice, streams: Streams, now: datetime) -> Decision:
    if PRICE.of(streams, command.price_id).archived_at is not None:
        return Decision(now, [])
    return Decision(now, [PRICE.change(PriceArchived(price_id=command.price_id, archived_at=now))])


def delete_price(command: DeletePrice, streams: Streams, now: datetime) -> Decision:
    """Its plan is free of it. Raises PriceInUse, which names the first subscription to it."""
    price = PRICE.of(streams, command.price_id)
    if price.used_by is not None:
        raise PriceInUse(price=price.price_id, used_by=price.used_by)
    if price.deleted_at is not None:
        return Decision(now, [])
    freed = PlanFreed(plan_id=price.plan_id, by=price.price_id)
    return Decision(now, [PRICE.change(PriceDeleted(price_id=price.price_id, deleted_at=now)), PLAN.change(freed)])


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateProduct: create_product,
    ChangeProduct: change_product,
    ArchiveProduct: archive_product,
    DeleteProduct: delete_product,
    CreatePlan: create_plan,
    ChangePlanTerms: change_plan_terms,
    ArchivePlan: archive_plan,
    DeletePlan: delete_plan,
    CreatePrice: create_price,
    ArchivePrice: archive_price,
    DeletePrice: delete_price,
}
