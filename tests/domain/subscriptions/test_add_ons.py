"""Add-ons: plans that are sold beside others, whose prices are items of those plans' subscriptions."""

import pytest

from domain.catalog.plan import (
    PLAN,
    AddOnHasNoTrial,
    ArchivePlan,
    ChangePlanTerms,
    CreatePlan,
    PlanIsArchived,
    PlanTerms,
)
from domain.catalog.price import ArchivePrice, CreatePrice
from domain.catalog.product import ArchiveProduct, CreateProduct, ProductIsArchived
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.frozen import replace
from domain.kernel.stream import Command
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import IntervalsDoNotNest, OnlyAddOns, PlanIsAddOn, PriceOfAnotherPlan
from testing.examples.streams import (
    MONTH,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import FEBRUARY, LAST_INVOICE, cancel_now, period_invoice, renew
from testing.moments import utc
from testing.specification import Given, given

SUPPORT_ID, SUPPORT_PLAN_ID, SUPPORT_PRICE_ID = id_of("prod_", 2), id_of("plan_", 2), id_of("price_", 2)
YEAR = Interval(IntervalUnit.YEAR)
CREATE_SUPPORT = CreatePlan(
    plan_id=SUPPORT_PLAN_ID,
    product_id=SUPPORT_ID,
    terms=PlanTerms(name="Support", interval=MONTH),
    is_add_on=True,
)
BOTH = subscribe(PRICE_ID, SUPPORT_PRICE_ID)


def on_sale(plan: CreatePlan = CREATE_SUPPORT, *, trial_days: int = 0) -> Given:
    """A customer, a telephone by the month, and support beside it."""
    return given(
        create_customer(),
        *plan_on_sale(trial_days=trial_days),
        CreateProduct(product_id=SUPPORT_ID, name="Support", tax_category="services"),
        plan,
        CreatePrice(price_id=SUPPORT_PRICE_ID, plan_id=SUPPORT_PLAN_ID, price=flat(300)),
    )


def billed(history: Given, invoice_id: str) -> list[tuple[str, int, str | None, str | None]]:
    return [
        (line.description, line.amount.amount, line.product_id, line.tax_category)
        for line in history.books.states["invoice", invoice_id].lines
    ]


def test_an_add_on_is_billed_beside_the_plan_as_the_product_that_it_is() -> None:
    history = on_sale().and_then(BOTH)
    lines = [("Phone, monthly", 1_000, PRODUCT_ID, None), ("Support", 300, SUPPORT_ID, "services")]
    assert billed(history, period_invoice(0)) == lines
    history.and_then(ArchivePrice(price_id=SUPPORT_PRICE_ID), ArchivePlan(plan_id=SUPPORT_PLAN_ID))
    history.and_then(renew(), at=FEBRUARY)
    assert billed(history, period_invoice(1)) == lines, "who has it keeps it"


def test_an_add_on_of_another_interval_is_billed_by_its_own() -> None:
    yearly = replace(CREATE_SUPPORT, terms=PlanTerms(name="Support", interval=YEAR))
    history = on_sale(yearly).and_then(BOTH)
    ends = {line.description: line.period_end for line in history.books.states["invoice", period_invoice(0)].lines}
    assert ends == {"Phone, monthly": FEBRUARY, "Support": utc("2027-01-31T10:00")}
    weekly = replace(CREATE_SUPPORT, terms=PlanTerms(name="Support", interval=Interval(IntervalUnit.WEEK)))
    on_sale(weekly).when(BOTH).then_refused(IntervalsDoNotNest, interval="1 week", beside="1 month")


def test_an_add_on_is_tried_with_the_plan() -> None:
    tried = on_sale(trial_days=14).when(BOTH)
    assert ("invoice", period_invoice(0)) not in tried.books.states
    tried.when(cancel_now())
    assert ("invoice", LAST_INVOICE) not in tried.books.states


def test_an_add_on_is_not_sold_by_itself() -> None:
    on_sale().when(subscribe(SUPPORT_PRICE_ID, plan_id=SUPPORT_PLAN_ID)).then_refused(PlanIsAddOn, plan=SUPPORT_PLAN_ID)
    on_sale().when(subscribe(SUPPORT_PRICE_ID)).then_refused(OnlyAddOns, plan=PLAN_ID)


def test_a_price_of_a_plan_that_is_no_add_on_is_not_sold_beside_another() -> None:
    (
        on_sale(replace(CREATE_SUPPORT, is_add_on=False))
        .when(BOTH)
        .then_refused(PriceOfAnotherPlan, price=SUPPORT_PRICE_ID, plan=PLAN_ID, belongs_to=SUPPORT_PLAN_ID)
        .then_is_about("items.1.price")
    )


@pytest.mark.parametrize(
    ("archive", "refusal"),
    [
        (ArchivePlan(plan_id=SUPPORT_PLAN_ID), PlanIsArchived),
        (ArchiveProduct(product_id=SUPPORT_ID), ProductIsArchived),
    ],
)
def test_an_add_on_that_is_archived_is_not_sold(
    archive: Command, refusal: type[PlanIsArchived | ProductIsArchived]
) -> None:
    history = on_sale().and_then(archive)
    history.when(BOTH).then_refused(refusal).then_is_about("items.1.price")
    history.when(subscribe()).then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, period_index=0)


def test_an_add_on_has_no_trial_of_its_own() -> None:
    tried = PlanTerms(name="Support", interval=MONTH, trial_days=7)
    product = CreateProduct(product_id=SUPPORT_ID, name="Support")
    given(product).when(replace(CREATE_SUPPORT, terms=tried)).then_refused(AddOnHasNoTrial, trial_days=7)
    history = given(product, CREATE_SUPPORT)
    history.when(ChangePlanTerms(plan_id=SUPPORT_PLAN_ID, trial_days=7)).then_refused(AddOnHasNoTrial, trial_days=7)
    history.when(ChangePlanTerms(plan_id=SUPPORT_PLAN_ID, name="Help")).then_shows(
        PLAN, SUPPORT_PLAN_ID, is_add_on=True, version=2
    )
