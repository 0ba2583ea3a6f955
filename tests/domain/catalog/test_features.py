"""What plans let their customers have, and what a subscription to a plan with add-ons comes to."""

from dataclasses import replace

import pytest

from domain.catalog.feature import MAX_FEATURES, Feature, InvalidFeatures, LimitKind, together
from domain.catalog.plan import ChangePlanTerms, CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.metering.meter import ArchiveMeter, MeterIsArchived, MeterNotFound
from domain.subscriptions.selling import RequestedItem
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
from testing.examples.usage import METER_ID, create_meter
from testing.specification import given

SEATS, AUDIT = Feature(key="seats", limit=10), Feature(key="audit_log")
MORE_PLAN_ID, MORE_IDS = id_of("plan_", 2), (id_of("price_", 2), id_of("price_", 3))
MORE = CreatePlan(
    plan_id=MORE_PLAN_ID,
    product_id=PRODUCT_ID,
    terms=PlanTerms(name="More", interval=MONTH, features=(Feature(key="seats", limit=5), Feature(key="audit_log"))),
    is_add_on=True,
)


@pytest.mark.parametrize(
    ("features", "param"),
    [
        ((SEATS, AUDIT, Feature(key="seats")), "features.2.key"),
        ((AUDIT, Feature(key="seats", limit=-1)), "features.1.limit"),
        ((AUDIT, Feature(key="seats", limit=1, limit_kind=LimitKind.SOFT)), "features.1.limit_kind"),
        (tuple(Feature(key=f"f{nth}") for nth in range(MAX_FEATURES + 1)), "features"),
    ],
)
def test_features_that_say_two_things_are_refused(features: tuple[Feature, ...], param: str) -> None:
    catalogue = given(*plan_on_sale())
    catalogue.when(ChangePlanTerms(plan_id=PLAN_ID, features=features)).then_refused(InvalidFeatures).then_is_about(
        param
    )
    terms = PlanTerms(name="Phone", interval=MONTH, features=features)
    plan = CreatePlan(plan_id=id_of("plan_", 9), product_id=PRODUCT_ID, terms=terms)
    catalogue.when(plan).then_refused(InvalidFeatures).then_is_about(param)


def test_limits_add_up_and_without_one_there_is_none() -> None:
    seats, endless = Feature(key="seats", limit=5), Feature(key="seats")
    assert together(()) == ()
    assert together((SEATS, AUDIT, seats)) == (AUDIT, Feature(key="seats", limit=15))
    assert together((SEATS, endless, seats)) == (endless,)


def test_of_one_feature_the_first_meter_counts_and_one_hard_limit_makes_it_hard() -> None:
    soft = Feature(key="calls", limit=5, meter_id=METER_ID, limit_kind=LimitKind.SOFT)
    other = replace(soft, meter_id=id_of("mtr_", 2))
    assert together((soft, other)) == (replace(soft, limit=10),)
    assert together((soft, replace(other, limit_kind=LimitKind.HARD))) == (
        replace(soft, limit=10, limit_kind=LimitKind.HARD),
    )


def test_the_meter_of_a_feature_is_there_and_not_archived() -> None:
    features = (SEATS, Feature(key="calls", limit=5, meter_id=METER_ID))
    wanted = ChangePlanTerms(plan_id=PLAN_ID, features=features)
    given(*plan_on_sale()).when(wanted).then_refused(MeterNotFound, meter=METER_ID).then_is_about("features.1.meter")
    archived = given(*plan_on_sale(), create_meter(), wanted, ArchiveMeter(meter_id=METER_ID))
    assert archived.when(ChangePlanTerms(plan_id=PLAN_ID, name="Another")).done
    more = replace(wanted, features=(*features, AUDIT))
    archived.when(more).then_refused(MeterIsArchived, meter=METER_ID).then_is_about("features.1.meter")


def test_a_subscription_keeps_what_its_plan_and_each_add_on_let_it_have_when_it_was_made() -> None:
    """An add-on counts once, however many of its prices and however much of them are subscribed to."""
    history = given(create_customer(), *plan_on_sale(), ChangePlanTerms(plan_id=PLAN_ID, features=(SEATS,)), MORE)
    history.and_then(
        *(CreatePrice(price_id=each, plan_id=MORE_PLAN_ID, name=each, price=flat()) for each in MORE_IDS),
        subscribe(items=tuple(RequestedItem(price_id=each) for each in (PRICE_ID, *MORE_IDS))),
        ChangePlanTerms(plan_id=PLAN_ID, features=()),
    )
    terms = history.books.states["subscription", SUBSCRIPTION_ID].terms
    assert terms.features == (AUDIT, Feature(key="seats", limit=15))
    history.and_then(subscribe(subscription_id=id_of("sub_", 2)))
    assert history.books.states["subscription", id_of("sub_", 2)].terms.features == ()
