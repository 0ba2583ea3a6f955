"""Specifications of what is sold: products, plans and prices."""

from dataclasses import replace
from decimal import Decimal

import pytest

from domain.catalog.plan import (
    ArchivePlan,
    ChangePlanTerms,
    CreatePlan,
    PlanAlreadyExists,
    PlanArchived,
    PlanCreated,
    PlanIsArchived,
    PlanNotFound,
    PlanTerms,
    PlanUsed,
    PlanVersionAdded,
    TrialTooLong,
)
from domain.catalog.price import (
    PRICE,
    ArchivePrice,
    CreatePrice,
    MeteredPriceInAdvance,
    PriceAlreadyExists,
    PriceArchived,
    PriceCreated,
    PriceModelNotBillable,
    PriceNotFound,
    check_billable,
)
from domain.catalog.product import (
    ArchiveProduct,
    ChangeProduct,
    CreateProduct,
    ProductAlreadyExists,
    ProductArchived,
    ProductCreated,
    ProductIsArchived,
    ProductNotFound,
    ProductUsed,
    ProductVersionAdded,
)
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.refusal import ExternalIdTaken
from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation
from domain.metering.meter import ArchiveMeter, CreateMeter, MeterIsArchived, MeterNotFound, MeterTerms
from domain.pricing.models import BoundedPrice, Commitment, Flat, PerUnit, Price, PriceModel
from domain.pricing.validation import InvalidPrice, LastTierHasEnd
from testing.examples.pricing import (
    JPY,
    graduated,
    graduated_percentage,
    package,
    per_unit,
    percentage,
    volume,
)
from testing.examples.streams import (
    IN_ADVANCE,
    IN_ARREARS,
    MONTH,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    USD,
    flat,
    id_of,
    usd,
)
from testing.specification import NOW, Claimed, given

CREATE_PRODUCT = CreateProduct(product_id=PRODUCT_ID, name="Phone", description="Calls")
RENAME = ChangeProduct(product_id=PRODUCT_ID, name="Telephone")
ARCHIVE_PRODUCT = ArchiveProduct(product_id=PRODUCT_ID)
TERMS = PlanTerms(name="Phone, monthly", interval=MONTH)
YEARLY = PlanTerms(name="Phone, yearly", interval=Interval(IntervalUnit.YEAR), trial_days=30)
CREATE_PLAN = CreatePlan(plan_id=PLAN_ID, product_id=PRODUCT_ID, terms=TERMS)
CHANGE_PLAN = ChangePlanTerms(plan_id=PLAN_ID, name=YEARLY.name, interval=YEARLY.interval, trial_days=YEARLY.trial_days)
ARCHIVE_PLAN = ArchivePlan(plan_id=PLAN_ID)
CREATE_PRICE = CreatePrice(price_id=PRICE_ID, plan_id=PLAN_ID, price=flat(), timing=IN_ARREARS)
ARCHIVE_PRICE = ArchivePrice(price_id=PRICE_ID)


# --- products ----------------------------------------------------------------------------------------------------


def test_a_product_is_created_once() -> None:
    created = ProductCreated(
        product_id=PRODUCT_ID, name="Phone", description="Calls", tax_category=None, created_at=NOW
    )
    given().when(CREATE_PRODUCT).then(created).then_claims().when(CREATE_PRODUCT).then_refused(ProductAlreadyExists)


def test_a_change_makes_a_new_version_of_a_product() -> None:
    (
        given(CREATE_PRODUCT)
        .when(RENAME)
        .then(
            ProductVersionAdded(
                product_id=PRODUCT_ID, version=2, name="Telephone", description="Calls", tax_category=None
            )
        )
        .when(RENAME)
        .then_nothing()
        .when(ChangeProduct(product_id=PRODUCT_ID, description=""))
        .then(
            ProductVersionAdded(product_id=PRODUCT_ID, version=3, name="Telephone", description="", tax_category=None)
        )
    )


def test_a_product_is_archived_once_and_then_not_changed() -> None:
    (
        given(CREATE_PRODUCT)
        .when(ARCHIVE_PRODUCT)
        .then(ProductArchived(product_id=PRODUCT_ID, archived_at=NOW))
        .when(ARCHIVE_PRODUCT)
        .then_nothing()
        .when(RENAME)
        .then_refused(ProductIsArchived, product=PRODUCT_ID)
    )


@pytest.mark.parametrize("command", [RENAME, ARCHIVE_PRODUCT, CREATE_PLAN])
def test_an_unknown_product_is_not_found(command: ChangeProduct | ArchiveProduct | CreatePlan) -> None:
    given().when(command).then_refused(ProductNotFound, product=PRODUCT_ID)


# --- plans -------------------------------------------------------------------------------------------------------


def test_a_plan_of_a_product_on_sale_is_created_once() -> None:
    created = PlanCreated(plan_id=PLAN_ID, product_id=PRODUCT_ID, terms=TERMS, created_at=NOW)
    used = ProductUsed(product_id=PRODUCT_ID, by=PLAN_ID)
    given(CREATE_PRODUCT).when(CREATE_PLAN).then(created, used).when(CREATE_PLAN).then_refused(PlanAlreadyExists)


def test_an_archived_product_gets_no_new_plan() -> None:
    given(CREATE_PRODUCT, ARCHIVE_PRODUCT).when(CREATE_PLAN).then_refused(ProductIsArchived, product=PRODUCT_ID)


def test_a_change_makes_a_new_version_of_a_plan() -> None:
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(CHANGE_PLAN)
        .then(PlanVersionAdded(plan_id=PLAN_ID, version=2, terms=YEARLY))
        .when(CHANGE_PLAN)
        .then_nothing()
        .when(ChangePlanTerms(plan_id=PLAN_ID, name=TERMS.name))
        .then(PlanVersionAdded(plan_id=PLAN_ID, version=3, terms=replace(YEARLY, name=TERMS.name)))
    )


def test_a_plan_is_archived_once_and_then_neither_changed_nor_priced() -> None:
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(ARCHIVE_PLAN)
        .then(PlanArchived(plan_id=PLAN_ID, archived_at=NOW))
        .when(ARCHIVE_PLAN)
        .then_nothing()
        .when(CHANGE_PLAN)
        .then_refused(PlanIsArchived, plan=PLAN_ID)
        .when(CREATE_PRICE)
        .then_refused(PlanIsArchived, plan=PLAN_ID)
    )


@pytest.mark.parametrize("days", [-1, 731])
def test_a_trial_lasts_from_0_to_730_days(days: int) -> None:
    wrong = replace(TERMS, trial_days=days)
    given(CREATE_PRODUCT).when(replace(CREATE_PLAN, terms=wrong)).then_refused(TrialTooLong, trial_days=days)
    given(CREATE_PRODUCT, CREATE_PLAN).when(replace(CHANGE_PLAN, trial_days=days)).then_refused(TrialTooLong)
    longest = replace(CREATE_PLAN, terms=replace(TERMS, trial_days=730))
    assert given(CREATE_PRODUCT).when(longest).done.events


@pytest.mark.parametrize("command", [CHANGE_PLAN, ARCHIVE_PLAN])
def test_an_unknown_plan_is_not_found(command: Command) -> None:
    given().when(command).then_refused(PlanNotFound, plan=PLAN_ID)


# --- prices ------------------------------------------------------------------------------------------------------


def test_a_price_of_a_plan_on_sale_is_created_once() -> None:
    created = PriceCreated(
        price_id=PRICE_ID, plan_id=PLAN_ID, external_id=None, name=None, price=flat(), timing=IN_ARREARS, created_at=NOW
    )
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(CREATE_PRICE)
        .then(created, PlanUsed(plan_id=PLAN_ID, by=PRICE_ID))
        .then_claims()
        .when(CREATE_PRICE)
        .then_refused(PriceAlreadyExists, price=PRICE_ID)
    )


def test_an_external_id_belongs_to_one_price_for_ever() -> None:
    second = replace(CREATE_PRICE, price_id=id_of("price_", 2), external_id="basic")
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(replace(CREATE_PRICE, external_id="basic"))
        .then_claims(Claimed("price.external_id", "basic", PRICE_ID))
        .when(ARCHIVE_PRICE)
        .then(PriceArchived(price_id=PRICE_ID, archived_at=NOW))
        .then_frees()
        .when(second)
        .then_refused(ExternalIdTaken, external_id="basic")
    )


@pytest.mark.parametrize(
    "model",
    [
        Flat(amount=usd(-1)),
        PerUnit(currency=USD, unit_amount=Decimal("-0.01")),
        PerUnit(currency=USD, unit_amount=Decimal(1), free_units=Decimal(-1)),
        Flat(amount=usd(10**15 + 1)),
        PerUnit(currency=USD, unit_amount=Decimal("0.0000000000001")),
        PerUnit(currency=USD, unit_amount=Decimal("NaN")),
    ],
)
def test_a_price_out_of_range_is_refused(model: PriceModel) -> None:
    given(CREATE_PRODUCT, CREATE_PLAN).when(replace(CREATE_PRICE, price=model)).then_refused(InvalidPrice)


def test_a_price_may_be_nothing_and_is_in_advance_unless_told_otherwise() -> None:
    free = CreatePrice(price_id=PRICE_ID, plan_id=PLAN_ID, price=flat(0))
    outcome = given(CREATE_PRODUCT, CREATE_PLAN).when(free)
    assert outcome.books.states["price", PRICE_ID].timing is IN_ADVANCE


TIERED = graduated((5, 10, 100), (None, 5, 50), free_units=2)
IN_YEN = PerUnit(currency=JPY, unit_amount=Decimal("1000.5"))


@pytest.mark.parametrize(
    "price",
    [
        TIERED,
        volume((5, 10, 100), (None, 5, 50)),
        package(100, 10, 5),
        BoundedPrice(model=TIERED, minimum=usd(100), maximum=usd(900)),
        BoundedPrice(model=flat(), minimum=usd(100)),
    ],
)
def test_whatever_prices_a_quantity_can_be_sold(price: Price) -> None:
    made = given(CREATE_PRODUCT, CREATE_PLAN).when(replace(CREATE_PRICE, price=price, currency_options=(IN_YEN,)))
    made.then_shows(PRICE, PRICE_ID, price=price, currency_options=(IN_YEN,))


@pytest.mark.parametrize(
    ("price", "param", "model"),
    [
        (percentage(1), "model", "Percentage"),
        (graduated_percentage((None, 1, 0)), "model", "GraduatedPercentage"),
        (BoundedPrice(model=percentage(1), minimum=usd(1)), "model", "Percentage"),
        (BoundedPrice(model=per_unit(1), commitment=Commitment(amount=usd(7))), "commitment", "PerUnit"),
    ],
)
@pytest.mark.parametrize("is_option", [False, True])
def test_what_counts_usage_is_refused(price: Price, param: str, model: str, is_option: bool) -> None:
    command = replace(CREATE_PRICE, price=IN_YEN, currency_options=(price,)) if is_option else CREATE_PRICE
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(command if is_option else replace(command, price=price))
        .then_refused(PriceModelNotBillable, model=model)
        .then_is_about(f"currency_options.0.{param}" if is_option else param)
    )


METER_ID = id_of("mtr_", 1)
CREATE_METER = CreateMeter(
    meter_id=METER_ID,
    code="traffic",
    name="Traffic",
    aggregation=Aggregation.SUM,
    terms=MeterTerms(value_property="gigabytes"),
)
METERED = replace(CREATE_PRICE, price=graduated((5, 10, 100), (None, 5, 50)), meter_id=METER_ID)


def test_a_price_of_what_a_meter_counts_is_in_arrears() -> None:
    (
        given(CREATE_PRODUCT, CREATE_PLAN, CREATE_METER)
        .when(replace(METERED, timing=IN_ADVANCE))
        .then_refused(MeteredPriceInAdvance, meter=METER_ID)
        .then_is_about("timing")
        .when(METERED)
        .then_shows(PRICE, PRICE_ID, meter_id=METER_ID, timing=IN_ARREARS)
    )


RATES = graduated_percentage((100_000, 3, 0), (None, 1, 0))


def test_percentages_of_tiers_price_what_a_meter_sums_and_nothing_else() -> None:
    known = given(CREATE_PRODUCT, CREATE_PLAN, CREATE_METER)
    known.when(replace(METERED, price=RATES)).then_shows(PRICE, PRICE_ID, price=RATES)
    highest = replace(CREATE_METER, aggregation=Aggregation.MAX)
    (
        given(CREATE_PRODUCT, CREATE_PLAN, highest)
        .when(replace(METERED, price=RATES))
        .then_refused(PriceModelNotBillable, model="GraduatedPercentage", counted_by="max")
        .then_is_about("model")
    )


def test_percentages_of_single_events_price_a_meter_of_amounts_and_nothing_else() -> None:
    amounts = replace(CREATE_METER, aggregation=Aggregation.AMOUNTS)
    price = replace(METERED, price=percentage(1))
    given(CREATE_PRODUCT, CREATE_PLAN, amounts).when(price).then_shows(PRICE, PRICE_ID, price=percentage(1))
    (
        given(CREATE_PRODUCT, CREATE_PLAN, CREATE_METER)
        .when(price)
        .then_refused(PriceModelNotBillable, model="Percentage", counted_by="sum")
        .then_is_about("model")
    )


@pytest.mark.parametrize(
    ("price", "counted_by", "words"),
    [
        (percentage(1), None, "by `amounts`"),
        (percentage(1), Aggregation.SUM, "by `amounts`"),
        (RATES, Aggregation.MAX, "`sum` or `amounts`"),
        (flat(), Aggregation.SUM, "leave `meter` out"),
        (BoundedPrice(model=per_unit(1), commitment=Commitment(amount=usd(7), prepaid=False)), None, "`meter`"),
        (BoundedPrice(model=per_unit(1), commitment=Commitment(amount=usd(7))), Aggregation.SUM, "paid ahead"),
    ],
)
def test_a_price_that_nothing_measures_is_told_which_meter_it_needs(
    price: Price, counted_by: Aggregation | None, words: str
) -> None:
    with pytest.raises(PriceModelNotBillable, match=words):
        check_billable(price, (), counted_by=counted_by)


def test_usage_is_committed_to_and_nothing_is_paid_ahead() -> None:
    known = given(CREATE_PRODUCT, CREATE_PLAN, CREATE_METER)
    ahead = BoundedPrice(model=per_unit(1), commitment=Commitment(amount=usd(7)))
    due = BoundedPrice(model=per_unit(1), commitment=Commitment(amount=usd(7), prepaid=False))
    known.when(replace(METERED, price=ahead)).then_refused(PriceModelNotBillable).then_is_about("commitment")
    known.when(replace(CREATE_PRICE, price=due)).then_refused(PriceModelNotBillable).then_is_about("commitment")
    known.when(replace(METERED, price=due)).then_shows(PRICE, PRICE_ID, price=due)


@pytest.mark.parametrize("price", [flat(), BoundedPrice(model=flat(), minimum=usd(100)), percentage(1)])
def test_what_counts_no_units_prices_no_meter(price: Price) -> None:
    (
        given(CREATE_PRODUCT, CREATE_PLAN, CREATE_METER)
        .when(replace(METERED, price=price))
        .then_refused(PriceModelNotBillable)
        .then_is_about("model")
    )


def test_a_price_names_a_meter_that_is_there_and_in_use() -> None:
    given(CREATE_PRODUCT, CREATE_PLAN).when(METERED).then_refused(MeterNotFound, meter=METER_ID)
    archived = ArchiveMeter(meter_id=METER_ID)
    (
        given(CREATE_PRODUCT, CREATE_PLAN, CREATE_METER, archived)
        .when(METERED)
        .then_refused(MeterIsArchived, meter=METER_ID)
        .then_is_about("meter")
    )


def test_a_price_is_stated_once_in_each_currency() -> None:
    twice = replace(CREATE_PRICE, currency_options=(IN_YEN, flat(7)))
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(twice)
        .then_refused(InvalidPrice, reason="stated in this currency already", currency="USD")
        .then_is_about("currency_options.1.model")
    )


def test_a_fault_in_another_currency_is_told_where_it_lies() -> None:
    faulty = replace(TIERED, currency=JPY, tiers=TIERED.tiers[:1])
    (
        given(CREATE_PRODUCT, CREATE_PLAN)
        .when(replace(CREATE_PRICE, currency_options=(faulty,)))
        .then_refused(LastTierHasEnd, tier=1, up_to="5")
        .then_is_about("currency_options.0.model.tiers.0.up_to")
    )


def test_archiving_twice_does_nothing() -> None:
    given(CREATE_PRODUCT, CREATE_PLAN, CREATE_PRICE, ARCHIVE_PRICE).when(ARCHIVE_PRICE).then_nothing()


def test_unknown_plans_and_prices_are_not_found() -> None:
    given(CREATE_PRODUCT).when(CREATE_PRICE).then_refused(PlanNotFound, plan=PLAN_ID)
    given(CREATE_PRODUCT).when(ARCHIVE_PRICE).then_refused(PriceNotFound, price=PRICE_ID)
