"""Specifications of subscriptions: created with the first invoice, renewed with the next."""

from dataclasses import replace
from decimal import Decimal

import pytest

from domain.catalog.plan import ArchivePlan, ChangePlanTerms, PlanIsArchived, PlanNotFound, TrialTooLong
from domain.catalog.price import ArchivePrice, CreatePrice, PriceIsArchived, PriceNotFound
from domain.catalog.product import ArchiveProduct, ProductIsArchived
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE, REVENUE
from domain.kernel.billing_period import UnknownTimeZone
from domain.pricing.models import BoundedPrice, PerUnit
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.collection import SubscriptionPastDue
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import (
    SUBSCRIPTION,
    PeriodIsBilled,
    RenewalNotDue,
    SubscriptionAlreadyExists,
    SubscriptionNotFound,
)
from domain.subscriptions.terms import (
    MAX_ITEMS,
    DuplicatePrice,
    FlatPriceHasNoQuantity,
    InvalidSubscriptionItems,
    PriceOfAnotherPlan,
)
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_CHARGE,
    CLOCK_ID,
    CUSTOMER_ID,
    IN_ARREARS,
    INVOICE_ID,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    credit,
    customer_deleted,
    debit,
    flat,
    frozen_clock,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import (
    APRIL,
    DAY,
    FEBRUARY,
    MARCH,
    PLAN_CLAIM,
    cancel_at_period_end,
    cancel_now,
    created,
    invoice_line,
    invoiced,
    item,
    period_claim,
    period_invoice,
    period_started,
    price_used,
    renew,
    timer,
)
from testing.moments import utc
from testing.specification import NOW, given

# --- create ------------------------------------------------------------------------------------------------------


def test_a_subscription_in_advance_begins_with_its_first_period_and_invoice() -> None:
    (
        given(create_customer(), *plan_on_sale())
        .when(subscribe())
        .then(
            created(),
            price_used(),
            period_started(0, NOW, FEBRUARY),
            *invoiced(
                1,
                NOW,
                invoice_line(period_invoice(0), 1_000, NOW, FEBRUARY),
                invoice_id=period_invoice(0),
                due_at=utc("2026-03-02T10:00"),
            ),
        )
        .then_at(NOW)
        .then_posts(debit(RECEIVABLE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000)))
        .then_claims(PLAN_CLAIM, period_claim(0))
        .then_frees()
        .then_schedules(timer(FEBRUARY))
        .then_finishes()
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, period_index=0)
    )


def test_a_subscription_in_arrears_begins_without_an_invoice() -> None:
    (
        given(create_customer(), *plan_on_sale(in_arrears=flat()))
        .when(subscribe(ARREARS_PRICE_ID))
        .then(
            created(item(ARREARS_PRICE_ID, timing=IN_ARREARS)),
            price_used(ARREARS_PRICE_ID),
            period_started(0, NOW, FEBRUARY, invoiced=False),
        )
        .then_posts()
        .then_claims(PLAN_CLAIM, period_claim(0))
        .then_schedules(timer(FEBRUARY))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, latest_invoice_id=None)
    )


def test_a_free_price_is_invoiced_and_paid_at_once() -> None:
    outcome = given(create_customer(), *plan_on_sale(in_advance=flat(0))).when(subscribe())
    assert [type(event).__name__ for event in outcome.done.events] == [
        "SubscriptionCreated",
        "PriceUsed",
        "SubscriptionPeriodStarted",
        "InvoiceNumberTaken",
        "InvoiceFinalized",
        "InvoicePaid",
    ]
    outcome.then_posts().then_schedules(timer(FEBRUARY))


def test_the_first_period_of_a_trial_begins_when_the_trial_ends() -> None:
    ends_at = utc("2026-02-14T10:00")
    (
        given(create_customer(), *plan_on_sale(trial_days=14))
        .when(subscribe())
        .then(created(anchor_at=ends_at, trial_end=ends_at), price_used())
        .then_posts()
        .then_claims(PLAN_CLAIM)
        .then_schedules(timer(ends_at))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.TRIALING, period_start=None)
        .when(renew(ends_at), at=ends_at)
        .then(
            period_started(0, ends_at, utc("2026-03-14T10:00")),
            *invoiced(
                1,
                ends_at,
                invoice_line(period_invoice(0), 1_000, ends_at, utc("2026-03-14T10:00")),
                invoice_id=period_invoice(0),
                due_at=utc("2026-03-16T10:00"),
            ),
        )
        .then_schedules(timer(utc("2026-03-14T10:00")))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE)
    )


def test_a_trial_of_ones_own_takes_the_place_of_the_plans() -> None:
    without = given(create_customer(), *plan_on_sale(trial_days=14)).when(subscribe(trial_days=0))
    without.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, trial_end=None)
    with_one = given(create_customer(), *plan_on_sale()).when(subscribe(trial_days=1))
    with_one.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, trial_end=utc("2026-02-01T10:00"))


def test_a_trial_ends_at_the_same_local_time_across_daylight_saving() -> None:
    before_the_change = utc("2026-03-28T11:00")  # noon in Berlin; clocks go forward on the 29th
    (
        given(create_customer(time_zone="Europe/Berlin"), *plan_on_sale())
        .when(subscribe(trial_days=2), at=before_the_change)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, anchor_at=utc("2026-03-30T10:00"))
    )


def test_the_time_zone_is_the_customers_unless_another_is_given() -> None:
    customer = create_customer(time_zone="Asia/Tokyo")
    taken = given(customer, *plan_on_sale()).when(subscribe())
    assert taken.books.states["subscription", SUBSCRIPTION_ID].terms.time_zone == "Asia/Tokyo"
    given_one = given(customer, *plan_on_sale()).when(subscribe(time_zone="America/Lima"))
    assert given_one.books.states["subscription", SUBSCRIPTION_ID].terms.time_zone == "America/Lima"


def test_a_subscription_keeps_the_terms_it_was_made_with() -> None:
    (
        given(create_customer(), *plan_on_sale(), subscribe())
        .and_then(ChangePlanTerms(plan_id=PLAN_ID, name="Dearer", interval=DAY))
        .and_then(ArchivePrice(price_id=PRICE_ID), ArchivePlan(plan_id=PLAN_ID), ArchiveProduct(product_id=PRODUCT_ID))
        .when(renew(), at=FEBRUARY)
        .then(
            period_started(1, FEBRUARY, MARCH),
            *invoiced(
                2,
                FEBRUARY,
                invoice_line(period_invoice(1), 1_000, FEBRUARY, MARCH),
                invoice_id=period_invoice(1),
                due_at=utc("2026-03-30T10:00"),
            ),
        )
    )


def test_several_prices_of_a_plan_are_lines_of_one_invoice() -> None:
    seats = PerUnit(currency=USD, unit_amount=Decimal("12.5"))
    second = id_of("price_", 3)
    outcome = (
        given(create_customer(), *plan_on_sale())
        .and_then(CreatePrice(price_id=second, plan_id=PLAN_ID, price=seats))
        .when(subscribe(items=(RequestedItem(price_id=PRICE_ID), RequestedItem(price_id=second, quantity=Decimal(3)))))
    )
    lines = outcome.books.states["invoice", period_invoice(0)].lines
    assert [(line.price_id, line.quantity, line.amount) for line in lines] == [
        (PRICE_ID, Decimal(1), usd(1_000)),
        (second, Decimal(3), usd(38)),  # 37.5, half up
    ]


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        ((None,), ["Phone, monthly"]),
        (("Seats",), ["Phone, monthly – Seats"]),
        (("Line", "Data"), ["Phone, monthly – Line", "Phone, monthly – Data"]),
        ((None, "Data", None), ["Phone, monthly", "Phone, monthly – Data", "Phone, monthly (2)"]),
        (("Data", "Data", "Data"), [f"Phone, monthly – Data{count}" for count in ("", " (2)", " (3)")]),
        (("A", "A", "A (2)"), ["Phone, monthly – A", "Phone, monthly – A (2)", "Phone, monthly – A (2) (2)"]),
    ],
)
def test_no_two_lines_of_a_subscriptions_invoice_read_alike(names: tuple[str | None, ...], lines: list[str]) -> None:
    prices = [
        CreatePrice(price_id=id_of("price_", 10 + place), plan_id=PLAN_ID, name=name, price=flat())
        for place, name in enumerate(names)
    ]
    outcome = (
        given(create_customer(), *plan_on_sale())
        .and_then(*prices)
        .when(subscribe(*(price.price_id for price in prices)))
    )
    assert [line.description for line in outcome.books.states["invoice", period_invoice(0)].lines] == lines


def test_an_automatic_invoice_is_due_at_once() -> None:
    outcome = given(create_customer(), *plan_on_sale()).when(subscribe(collection=BY_CHARGE))
    invoice = outcome.books.states["invoice", period_invoice(0)]
    assert (invoice.collection, invoice.due_at) == (BY_CHARGE, NOW)


def test_a_subscription_of_a_customer_on_a_test_clock_lives_on_it() -> None:
    frozen_at = utc("2030-05-31T00:00")
    (
        given(frozen_clock(frozen_at), create_customer(test_clock_id=CLOCK_ID), *plan_on_sale())
        .when(subscribe())
        .then_at(frozen_at)
        .then_schedules(timer(utc("2030-06-30T00:00"), CLOCK_ID))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, period_start=frozen_at, test_clock_id=CLOCK_ID)
    )


def test_only_what_is_on_sale_can_be_subscribed_to() -> None:
    sold = (create_customer(), *plan_on_sale())
    given(create_customer()).when(subscribe()).then_refused(PlanNotFound, plan=PLAN_ID)
    given(*sold, ArchivePlan(plan_id=PLAN_ID)).when(subscribe()).then_refused(PlanIsArchived, plan=PLAN_ID)
    given(*sold, ArchiveProduct(product_id=PRODUCT_ID)).when(subscribe()).then_refused(ProductIsArchived)
    given(*sold, ArchivePrice(price_id=PRICE_ID)).when(subscribe()).then_refused(PriceIsArchived, price=PRICE_ID)
    given(*sold).when(subscribe(id_of("price_", 9))).then_refused(PriceNotFound, price=id_of("price_", 9))


def test_only_a_known_and_living_customer_can_subscribe() -> None:
    given(*plan_on_sale()).when(subscribe()).then_refused(CustomerNotFound, customer=CUSTOMER_ID)
    given(create_customer(), customer_deleted(), *plan_on_sale()).when(subscribe()).then_refused(CustomerIsDeleted)


def test_a_subscription_is_created_once() -> None:
    given(create_customer(), *plan_on_sale(), subscribe()).when(subscribe()).then_refused(SubscriptionAlreadyExists)


@pytest.mark.parametrize(
    "items",
    [
        pytest.param((), id="none"),
        pytest.param((RequestedItem(price_id=PRICE_ID),) * (MAX_ITEMS + 1), id="too many"),
        pytest.param((RequestedItem(price_id=PRICE_ID, quantity=Decimal(0)),), id="none of it"),
        pytest.param((RequestedItem(price_id=PRICE_ID, quantity=Decimal(-1)),), id="less than none"),
    ],
)
def test_items_that_cannot_be_subscribed_to_are_refused(items: tuple[RequestedItem, ...]) -> None:
    given(create_customer(), *plan_on_sale()).when(subscribe(items=items)).then_refused(InvalidSubscriptionItems)


def test_a_price_that_stands_twice_is_refused_by_name() -> None:
    twice = (RequestedItem(price_id=PRICE_ID),) * 2
    (
        given(create_customer(), *plan_on_sale())
        .when(subscribe(items=twice))
        .then_refused(DuplicatePrice, price=PRICE_ID)
    )


def test_a_quantity_of_a_flat_price_is_refused_rather_than_shown_and_not_billed() -> None:
    five = (RequestedItem(price_id=PRICE_ID, quantity=Decimal(5)),)
    (
        given(create_customer(), *plan_on_sale(in_advance=flat(1_000)))
        .when(subscribe(items=five))
        .then_refused(FlatPriceHasNoQuantity, price=PRICE_ID, quantity="5")
    )
    bounded = BoundedPrice(model=flat(1_000), minimum=usd(1))
    given(create_customer(), *plan_on_sale(in_advance=bounded)).when(subscribe(items=five)).then_refused(
        FlatPriceHasNoQuantity, price=PRICE_ID, quantity="5"
    )


def test_items_that_cost_more_than_an_invoice_can_hold_are_refused_before_they_are_ever_billed() -> None:
    prices = plan_on_sale(in_advance=flat(MAX_INVOICE_TOTAL), in_arrears=flat(1))
    (
        given(create_customer(), *prices)
        .when(subscribe(PRICE_ID, ARREARS_PRICE_ID))
        .then_refused(InvalidSubscriptionItems, amount=MAX_INVOICE_TOTAL + 1, most=MAX_INVOICE_TOTAL)
        .when(subscribe(PRICE_ID))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE)
    )


def test_a_price_of_another_plan_is_refused() -> None:
    other = CreatePrice(price_id=id_of("price_", 4), plan_id=id_of("plan_", 2), price=flat())
    plans = given(create_customer(), *plan_on_sale())
    plans.and_then(
        replace(plan_on_sale()[1], plan_id=id_of("plan_", 2)),
        other,
    )
    plans.when(subscribe(other.price_id)).then_refused(
        PriceOfAnotherPlan, price=other.price_id, plan=PLAN_ID, belongs_to=other.plan_id
    )


@pytest.mark.parametrize("days", [-1, 731])
def test_a_trial_of_a_length_out_of_bounds_is_refused(days: int) -> None:
    given(create_customer(), *plan_on_sale()).when(subscribe(trial_days=days)).then_refused(TrialTooLong)


def test_an_unknown_time_zone_is_refused() -> None:
    given(create_customer(), *plan_on_sale()).when(subscribe(time_zone="Mars/Olympus")).then_refused(UnknownTimeZone)


# --- renew -------------------------------------------------------------------------------------------------------


def test_periods_follow_one_another_and_keep_the_anchors_day() -> None:
    subscription = given(create_customer(), *plan_on_sale(), subscribe())
    for index, (start, end) in enumerate(((FEBRUARY, MARCH), (MARCH, APRIL)), start=1):
        due_at = {1: utc("2026-03-30T10:00"), 2: utc("2026-04-30T10:00")}[index]
        line = invoice_line(period_invoice(index), 1_000, start, end)
        subscription = (
            subscription.when(renew(start), at=start)
            .then(
                period_started(index, start, end),
                *invoiced(index + 1, start, line, invoice_id=period_invoice(index), due_at=due_at),
            )
            .then_posts(debit(RECEIVABLE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000)))
            .then_claims(period_claim(index))
            .then_schedules(timer(end))
            .then_finishes()
        )


def test_the_last_periods_arrears_are_billed_with_the_next_periods_advance() -> None:
    start, end, following = NOW, FEBRUARY, MARCH
    (
        given(create_customer(), *plan_on_sale(in_advance=flat(1_000), in_arrears=flat(300)))
        .and_then(subscribe(PRICE_ID, ARREARS_PRICE_ID))
        .when(renew(end), at=end)
        .then(
            period_started(1, end, following),
            *invoiced(
                2,
                end,
                invoice_line(period_invoice(1), 1_000, end, following),
                invoice_line(period_invoice(1), 300, start, end, IN_ARREARS),
                invoice_id=period_invoice(1),
                due_at=utc("2026-03-30T10:00"),
            ),
        )
        .then_posts(debit(RECEIVABLE, usd(1_300)), credit(DEFERRED_REVENUE, usd(1_000)), credit(REVENUE, usd(300)))
    )


def test_a_timer_is_believed_by_a_machine_whose_clock_is_a_little_behind() -> None:
    subscribed = given(create_customer(), *plan_on_sale(), subscribe())
    subscribed.when(renew(FEBRUARY), at=utc("2026-02-28T09:59:59")).then_at(FEBRUARY).then_schedules(timer(MARCH))


def test_a_renewal_that_is_not_due_is_refused() -> None:
    subscribed = given(create_customer(), *plan_on_sale(), subscribe())
    subscribed.when(renew(), at=utc("2026-02-28T09:59:59")).then_refused(RenewalNotDue)
    subscribed.when(renew(FEBRUARY), at=utc("2026-02-28T08:59:59")).then_refused(RenewalNotDue)
    subscribed.when(renew(MARCH), at=MARCH).then_refused(RenewalNotDue)


def test_a_renewal_that_was_done_already_is_refused() -> None:
    renewed = given(create_customer(), *plan_on_sale(), subscribe()).and_then(renew(FEBRUARY), at=FEBRUARY)
    renewed.when(renew(FEBRUARY), at=FEBRUARY).then_refused(
        RenewalNotDue, next_renewal=MARCH.isoformat().replace("+00:00", "Z")
    )


def test_a_period_is_billed_once_whatever_its_stream_says() -> None:
    subscribed = given(create_customer(), *plan_on_sale(), subscribe())
    subscribed.books.claims["subscription.period", f"{SUBSCRIPTION_ID}:1"] = SUBSCRIPTION_ID
    subscribed.when(renew(FEBRUARY), at=FEBRUARY).then_refused(PeriodIsBilled, period=1)


def test_a_past_due_subscription_goes_on_and_stays_past_due() -> None:
    past_due = SubscriptionPastDue(subscription_id=SUBSCRIPTION_ID, invoice_id=INVOICE_ID)
    (
        given(create_customer(), *plan_on_sale(), subscribe(), past_due)
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_schedules(timer(MARCH))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.PAST_DUE)
    )


@pytest.mark.parametrize("command", [renew(), cancel_now(), cancel_at_period_end()])
def test_an_unknown_subscription_is_not_found(command: RenewSubscription | CancelSubscription) -> None:
    given(create_customer()).when(command).then_refused(SubscriptionNotFound, subscription=SUBSCRIPTION_ID)
