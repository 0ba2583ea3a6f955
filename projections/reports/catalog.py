"""What is sold, at which prices, and what is taken off them."""

from typing import Final

from projections.models import coupons, discounts, plans, prices, products
from projections.reports.report import (
    METADATA,
    POSITION,
    UPDATED,
    Column,
    Report,
    decimal,
    flag,
    instant,
    integer,
    interval,
    json,
    money,
    text,
)

_CREATED: Final = instant("created_at", "When it was created.")
_ARCHIVED: Final = instant("archived_at", "When it was archived; null: it is in use.")
_DELETED: Final = instant("deleted_at", "When it was deleted; null: it is not.")
# A price with bounds holds its model inside.
_MODEL: Final = "coalesce(r.price -> 'model', r.price)"
_MODEL_CURRENCY: Final = f"coalesce({_MODEL} ->> 'currency', {_MODEL} #>> '{{amount,currency}}')"


def _terms(currency: str) -> tuple[Column, ...]:
    """What a coupon gives; both of a coupon and of the discount that was made of it."""
    return (
        text("name", "The coupon's name.", "r.terms ->> 'name'"),
        decimal("percent_off", "Per cent that it takes off; null: an amount.", "r.terms #>> '{off,percent}'"),
        *money(
            "amount_off",
            "The amount that it takes off; null: per cent.",
            currency=currency,
            minor="(r.terms #>> '{off,amount,amount}')::bigint",
        ),
        text("duration", "once, repeating or forever.", "r.terms ->> 'duration'"),
        integer("periods", "For how many periods, of a repeating one.", "(r.terms ->> 'periods')::bigint"),
        json("product_ids", "The products that it is for; none: all of them.", "r.terms -> 'product_ids'"),
    )


PRODUCTS: Final = Report(
    name="products",
    about="Products in their newest version, archived and deleted ones among them.",
    source="read.products r",
    columns=(
        text("product_id", "The product's id."),
        text("name", "Its name."),
        text("description", "What it is."),
        text("tax_category", "The category by which it is taxed."),
        integer("version", "Rises by one with every change."),
        METADATA,
        _CREATED,
        _ARCHIVED,
        _DELETED,
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.product_id"),
    since="r.created_at",
    rests_on=(products.TABLE,),
)

PLANS: Final = Report(
    name="plans",
    about="Plans in their newest version, archived and deleted ones among them.",
    source="read.plans r",
    columns=(
        text("plan_id", "The plan's id."),
        text("product_id", "What it sells."),
        text("name", "Its name.", "r.terms ->> 'name'"),
        *interval("r.terms -> 'interval'"),
        integer("trial_days", "How long a trial is.", "(r.terms ->> 'trial_days')::bigint"),
        flag("is_add_on", "Whether it is sold beside other plans, and not by itself."),
        json(
            "features",
            "What its customers may have, how much, and what counts that.",
            "r.terms -> 'features'",
        ),
        integer("version", "Rises by one with every change; a subscription keeps its own."),
        METADATA,
        _CREATED,
        _ARCHIVED,
        _DELETED,
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.plan_id"),
    since="r.created_at",
    rests_on=(plans.TABLE,),
)

PRICES: Final = Report(
    name="prices",
    about="Prices, archived and deleted ones among them.",
    source="read.prices r",
    columns=(
        text("price_id", "The price's id."),
        text("plan_id", "Its plan."),
        text("external_id", "The tenant's own id of it."),
        text("name", "What tells it from the plan's other prices."),
        text(
            "model",
            "flat, per_unit, graduated, volume, package, percentage or graduated_percentage.",
            f"lower(regexp_replace({_MODEL} ->> 'type', '(?<!^)([A-Z])', '_\\1', 'g'))",
        ),
        text("currency", "The currency that it is stated in first.", _MODEL_CURRENCY),
        *money(
            "flat_amount",
            "Of a flat price, what a period costs; null for the others.",
            currency=_MODEL_CURRENCY,
            minor=f"({_MODEL} #>> '{{amount,amount}}')::bigint",
        ),
        json("price", "The whole price: its model, and its bounds. Amounts in it are minor units."),
        json("currency_options", "The same in further currencies."),
        *interval("r.interval", " Null: as its plan."),
        text("timing", "in_advance or in_arrears."),
        text("meter_id", "The meter whose quantities it prices; null: those that are subscribed to."),
        flag("tax_inclusive", "Whether it contains its tax; null: as the tenant's tax settings say."),
        METADATA,
        _CREATED,
        _ARCHIVED,
        _DELETED,
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.price_id"),
    since="r.created_at",
    rests_on=(prices.TABLE,),
)

COUPONS: Final = Report(
    name="coupons",
    about="Coupons, archived and deleted ones among them.",
    source="read.coupons r",
    columns=(
        text("coupon_id", "The coupon's id."),
        *_terms("r.terms #>> '{off,amount,currency}'"),
        text("currency", "The currency of amount_off; null: per cent.", "r.terms #>> '{off,amount,currency}'"),
        integer("max_redemptions", "How often it may be redeemed; null: without end."),
        integer("times_redeemed", "How often it was."),
        instant("redeem_before", "By when it must be redeemed."),
        METADATA,
        _CREATED,
        _ARCHIVED,
        _DELETED,
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.coupon_id"),
    since="r.created_at",
    rests_on=(coupons.TABLE,),
)

DISCOUNTS: Final = Report(
    name="discounts",
    about="Coupons that customers have, with the terms as they were when they were redeemed.",
    source="read.discounts r",
    columns=(
        text("discount_id", "The discount's id."),
        text("coupon_id", "The coupon that it was made of."),
        text("customer_id", "Whose it is."),
        text("subscription_id", "The subscription that it is for; null: everything that the customer is billed."),
        *_terms("r.currency"),
        text("currency", "The currency of the amounts."),
        integer("periods_used", "For how many periods it took something off."),
        *money("total_discount", "What it took off in all.", currency="r.currency", minor="r.discounted"),
        METADATA,
        _CREATED,
        instant("ended_at", "When it ended; null: it goes on."),
        text("end_reason", "used_up, removed or subscription_canceled."),
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.discount_id"),
    since="r.created_at",
    rests_on=(discounts.TABLE,),
    customer="r.customer_id",
)

OF_CATALOG: Final = (PRODUCTS, PLANS, PRICES, COUPONS, DISCOUNTS)
