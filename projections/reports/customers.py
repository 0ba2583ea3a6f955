"""Customers and what they have subscribed to."""

from typing import Final

from projections.models import customers, subscriptions
from projections.reports.report import (
    METADATA,
    POSITION,
    TEST_CLOCK,
    UPDATED,
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

CUSTOMERS: Final = Report(
    name="customers",
    about="Customers, without what the vault keeps of them: no name, no address, no e-mail.",
    source="read.customers r",
    columns=(
        text("customer_id", "The customer's id."),
        text("external_id", "The tenant's own id of it."),
        text("currency", "The currency that it is billed in."),
        text("time_zone", "Its time zone, of the IANA database."),
        text("locale", "The language of its documents; null: the tenant's."),
        text("tax_country", "The country where it is taxed, of ISO 3166-1.", "r.tax_location ->> 'country'"),
        text("tax_region", "The subdivision of it, as ISO 3166-2 has it.", "r.tax_location ->> 'region'"),
        flag("tax_exempt", "Whether no tax is charged."),
        text("vat_id_country", "The country of its European VAT id; null without one."),
        text("default_payment_method_id", "What its invoices are charged to."),
        *money("balance", "What its next invoices draw on.", currency="r.currency"),
        TEST_CLOCK,
        instant("created_at", "When it was created."),
        instant("deleted_at", "When it was deleted; null: it is not."),
        instant("erased_at", "When its personal data were erased; null: they are not."),
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.customer_id"),
    since="r.created_at",
    rests_on=(customers.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

SUBSCRIPTIONS: Final = Report(
    name="subscriptions",
    about="Subscriptions as they are now; what they consist of is in subscription_items.",
    source="read.subscriptions r",
    columns=(
        text("subscription_id", "The subscription's id."),
        text("customer_id", "Whose it is."),
        text("plan_id", "Its plan.", "r.terms ->> 'plan_id'"),
        integer("plan_version", "The version of the plan that it is bound to.", "(r.terms ->> 'plan_version')::bigint"),
        text("status", "incomplete, trialing, active, past_due, paused, suspended or canceled."),
        text("currency", "The currency that it bills in.", "r.terms ->> 'currency'"),
        *interval("r.terms -> 'interval'"),
        text("collection_method", "charge_automatically or send_invoice.", "r.terms ->> 'collection'"),
        text("time_zone", "The time zone by which its periods begin.", "r.terms ->> 'time_zone'"),
        instant("starts_at", "When it begins."),
        instant("billing_anchor_at", "From when its periods are counted.", "r.anchor_at"),
        instant("trial_end", "When its trial ends or ended; null without one."),
        instant("current_period_start", "When the period that runs began.", "r.period_start"),
        instant("current_period_end", "When it ends.", "r.period_end"),
        instant("paused_at", "Since when it is paused; null: it is not."),
        instant("resumes_at", "When the pause ends by itself."),
        instant("cancel_at", "When it is to end; null: it goes on."),
        instant("canceled_at", "When it ended."),
        text("transferred_from", "The subscription of another customer whose place it took."),
        text("transferred_to", "The subscription of another customer that took its place."),
        text("latest_invoice_id", "The invoice that billed it last."),
        TEST_CLOCK,
        METADATA,
        instant("created_at", "When it was created."),
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.subscription_id"),
    since="r.created_at",
    rests_on=(subscriptions.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

SUBSCRIPTION_ITEMS: Final = Report(
    name="subscription_items",
    about="What each subscription consists of: a row for each of its prices.",
    source=(
        "read.subscriptions r CROSS JOIN LATERAL "
        "jsonb_array_elements(r.terms -> 'items') WITH ORDINALITY AS i (item, number)"
    ),
    columns=(
        text("subscription_id", "The subscription."),
        integer("item_number", "Its place among the subscription's items, from 1.", "i.number"),
        text("customer_id", "Whose it is."),
        text("subscription_status", "The subscription's status.", "r.status"),
        text("price_id", "The price, as it was when it was subscribed to.", "i.item ->> 'price_id'"),
        text("product_id", "What is sold.", "i.item ->> 'product_id'"),
        text("description", "What stands on the invoice.", "i.item ->> 'description'"),
        text("currency", "The currency of the price.", "r.terms ->> 'currency'"),
        decimal("quantity", "How many; null where a meter counts them.", "i.item ->> 'quantity'"),
        text("meter_id", "The meter that counts what it is billed for, if one does.", "i.item ->> 'meter_id'"),
        text("timing", "in_advance or in_arrears.", "i.item ->> 'timing'"),
        flag("tax_inclusive", "Whether the price contains its tax.", "(i.item ->> 'tax_inclusive')::boolean"),
        text("tax_category", "The category by which it is taxed.", "i.item ->> 'tax_category'"),
        json("price", "The price itself: its model, and its bounds.", "i.item -> 'price'"),
        instant("created_at", "When the subscription was created."),
        POSITION,
    ),
    order=("r.created_at", "r.subscription_id", "i.number"),
    since="r.created_at",
    rests_on=(subscriptions.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

OF_CUSTOMERS: Final = (CUSTOMERS, SUBSCRIPTIONS, SUBSCRIPTION_ITEMS)
