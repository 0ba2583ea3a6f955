"""Specifications of coupons and of the discounts that are made of them: redeemed, applied, used up, removed."""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from domain.catalog.product import ProductNotFound, ProductUsed
from domain.customers.customer import CUSTOMER, CustomerIsDeleted
from domain.customers.discounts import (
    MAX_REMOVED_KEPT,
    BorneDiscount,
    CustomerDiscountAttached,
    CustomerDiscountEnded,
    after,
)
from domain.discounts.computation import (
    CouponExhausted,
    CouponExpired,
    CouponInOtherCurrency,
    Discount,
    InvalidCoupon,
)
from domain.discounts.coupon import (
    COUPON,
    ArchiveCoupon,
    CouponArchived,
    CouponCreated,
    CouponDeleted,
    CouponInUse,
    CouponIsArchived,
    CouponIsDeleted,
    CouponNotFound,
    CouponRedeemed,
    DeleteCoupon,
)
from domain.discounts.discount import (
    DISCOUNT,
    MAX_DISCOUNTS,
    CouponAlreadyApplied,
    DiscountEnd,
    DiscountHasEnded,
    TooManyDiscounts,
)
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import CreditExceedsInvoice, IssueCreditNote
from domain.invoicing.explanation import ExplanationKind, explain_billed
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE, TAX_PAYABLE
from domain.kernel.stream import Command, Event
from domain.subscriptions.cancellation import SubscriptionIsCanceled
from domain.subscriptions.discount_commands import RemoveDiscount
from domain.subscriptions.discounts import SubscriptionDiscountAttached, SubscriptionDiscountEnded
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.discounts import (
    COUPON_ID,
    DISCOUNT_ID,
    amount,
    applied,
    apply_to_customer,
    apply_to_subscription,
    attached,
    begins_with,
    create_coupon,
    ended,
    forever,
    invoice_discount,
    line_discount,
    percent,
    terms,
)
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    CUSTOMER_ID,
    EUR,
    INVOICE_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    create_customer,
    credit,
    customer_deleted,
    debit,
    draft,
    flat,
    id_of,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import (
    APRIL,
    FEBRUARY,
    MARCH,
    cancel_at_period_end,
    cancel_now,
    period_invoice,
    renew,
)
from testing.examples.taxes import taxed_in_germany
from testing.specification import NOW, Given, given

MICROSECOND = timedelta(microseconds=1)


def remove(n: int = 1) -> RemoveDiscount:
    return RemoveDiscount(discount_id=id_of("disc_", n))


def on_sale(*more: Command | Event, **prices: Any) -> Given:
    """A customer, a plan of 10.00 a month, and what else is given."""
    return given(create_customer(), *plan_on_sale(**prices), *more)


def invoices(result: Given) -> list[InvoiceFinalized]:
    return [change.event for change in result.books.log if isinstance(change.event, InvoiceFinalized)]


def totals(result: Given) -> list[int]:
    return [invoice.total.amount for invoice in invoices(result)]


def renewed(begun: Given, *at: datetime) -> Given:
    for instant in at:
        begun.and_then(renew(instant), at=instant)
    return begun


# --- coupons -----------------------------------------------------------------------------------------------------


def test_a_coupon_is_made_archived_and_once_only() -> None:
    (
        on_sale()
        .when(create_coupon(terms(product_ids=(PRODUCT_ID,)), max_redemptions=5, redeem_before=MARCH))
        .then(
            CouponCreated(
                coupon_id=COUPON_ID,
                terms=terms(product_ids=(PRODUCT_ID,)),
                max_redemptions=5,
                redeem_before=MARCH,
                created_at=NOW,
            ),
            ProductUsed(product_id=PRODUCT_ID, by=COUPON_ID),
        )
        .then_posts()
        .when(ArchiveCoupon(coupon_id=COUPON_ID))
        .then(CouponArchived(coupon_id=COUPON_ID, archived_at=NOW))
        .when(ArchiveCoupon(coupon_id=COUPON_ID))
        .then_nothing()
    )


@pytest.mark.parametrize(
    ("of", "about"),
    [
        (terms(percent(0)), "percent_off"),
        (terms(percent("100.01")), "percent_off"),
        (terms(amount(0)), "amount_off"),
        (terms(periods=0), "periods"),
        (terms(product_ids=(PRODUCT_ID, PRODUCT_ID)), "products.1"),
    ],
)
def test_a_coupon_that_makes_no_sense_is_refused(of: Any, about: str) -> None:
    on_sale().when(create_coupon(of)).then_refused(InvalidCoupon).then_is_about(about)


def test_a_coupon_is_of_products_that_there_are() -> None:
    (
        on_sale()
        .when(create_coupon(terms(product_ids=(PRODUCT_ID, id_of("prod_", 9)))))
        .then_refused(ProductNotFound)
        .then_is_about("products.1")
    )


def test_a_coupon_that_nobody_redeemed_may_be_deleted_and_is_redeemed_by_nobody() -> None:
    (
        given(create_customer(), create_coupon())
        .when(DeleteCoupon(coupon_id=COUPON_ID))
        .then(CouponDeleted(coupon_id=COUPON_ID, deleted_at=NOW))
        .when(apply_to_customer())
        .then_refused(CouponIsDeleted)
        .when(DeleteCoupon(coupon_id=COUPON_ID))
        .then_nothing()
    )


def test_a_coupon_that_was_redeemed_stays_even_when_its_discount_is_removed() -> None:
    used = given(create_customer(), create_coupon(), apply_to_customer())
    used.when(DeleteCoupon(coupon_id=COUPON_ID)).then_refused(CouponInUse, redemptions=1)
    used.and_then(remove()).when(DeleteCoupon(coupon_id=COUPON_ID)).then_refused(CouponInUse)


# --- redeemed ----------------------------------------------------------------------------------------------------


def test_a_coupon_is_redeemed_for_a_customer_with_its_terms_as_they_are() -> None:
    (
        given(create_customer(), create_coupon())
        .when(apply_to_customer())
        .then(
            CouponRedeemed(coupon_id=COUPON_ID, discount_id=DISCOUNT_ID),
            attached(),
            CustomerDiscountAttached(customer_id=CUSTOMER_ID, discount_id=DISCOUNT_ID),
        )
        .then_posts()
        .then_claims()
        .then_schedules()
        .then_shows(COUPON, COUPON_ID, times_redeemed=1)
        .then_shows(CUSTOMER, CUSTOMER_ID, discounts=(BorneDiscount(discount_id=DISCOUNT_ID),))
    )


def test_a_coupon_is_redeemed_for_a_subscription_and_what_is_due_by_then_is_billed_without_it() -> None:
    (
        on_sale(create_coupon(), subscribe())
        .when(apply_to_subscription(), at=FEBRUARY)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, discount_ids=(DISCOUNT_ID,), period_index=1)
        .then_shows(DISCOUNT, DISCOUNT_ID, periods_used=0, subscription_id=SUBSCRIPTION_ID, created_at=FEBRUARY)
        .when(renew(MARCH), at=MARCH)
        .then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1, ended_at=MARCH)
    )


def test_a_coupon_is_redeemed_no_more_often_than_it_may_be_whoever_asks() -> None:
    twice = given(create_customer(), create_coupon(max_redemptions=1), apply_to_customer())
    twice.when(apply_to_customer(discount=2)).then_refused(CouponExhausted, max_redemptions=1)
    twice.and_then(remove()).when(apply_to_customer(discount=2)).then_refused(CouponExhausted)


def test_a_coupon_is_redeemed_until_its_last_instant() -> None:
    limited = given(create_customer(), create_coupon(redeem_before=MARCH))
    limited.when(apply_to_customer(), at=MARCH).then_refused(CouponExpired)
    limited.when(apply_to_customer(), at=MARCH - MICROSECOND).then_shows(COUPON, COUPON_ID, times_redeemed=1)


def test_what_cannot_be_redeemed_is_refused() -> None:
    customer = given(create_customer(), create_coupon())
    customer.when(apply_to_customer(2)).then_refused(CouponNotFound)
    given(create_customer(currency=EUR), create_coupon(terms(amount(5)))).when(apply_to_customer()).then_refused(
        CouponInOtherCurrency
    )
    given(create_customer(), create_coupon(), ArchiveCoupon(coupon_id=COUPON_ID)).when(
        apply_to_customer()
    ).then_refused(CouponIsArchived)
    given(create_customer(), customer_deleted(), create_coupon()).when(apply_to_customer()).then_refused(
        CustomerIsDeleted
    )
    on_sale(create_coupon(), subscribe(), cancel_now()).when(apply_to_subscription()).then_refused(
        SubscriptionIsCanceled
    )


def test_a_coupon_is_applied_once_at_a_time_to_the_same_and_beside_itself_to_another() -> None:
    (
        on_sale(create_coupon(forever()), subscribe(), apply_to_customer())
        .when(apply_to_customer(discount=2))
        .then_refused(CouponAlreadyApplied)
        .when(apply_to_subscription(discount=2))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, discount_ids=(id_of("disc_", 2),))
        .and_then(remove(1))
        .when(apply_to_customer(discount=3))
        .then_shows(COUPON, COUPON_ID, times_redeemed=3)
    )


def test_a_customer_has_so_many_discounts_at_a_time_and_no_more() -> None:
    many = given(create_customer(), *(create_coupon(n=n) for n in range(1, MAX_DISCOUNTS + 2)))
    many.and_then(*(apply_to_customer(n) for n in range(1, MAX_DISCOUNTS + 1)))
    many.when(apply_to_customer(MAX_DISCOUNTS + 1)).then_refused(TooManyDiscounts, most=MAX_DISCOUNTS)


# --- applied -----------------------------------------------------------------------------------------------------


def test_the_first_invoice_of_a_subscription_that_begins_with_a_coupon_is_discounted_and_says_so() -> None:
    result = on_sale(create_coupon()).when(subscribe(coupons=begins_with(1)))
    assert [type(event).__name__ for event in result.done.events] == [
        "SubscriptionCreated",
        "PriceUsed",
        "CouponRedeemed",
        "DiscountAttached",
        "SubscriptionDiscountAttached",
        "SubscriptionPeriodStarted",
        "InvoiceNumberTaken",
        "InvoiceFinalized",
        "DiscountApplied",
        "DiscountEnded",
        "SubscriptionDiscountEnded",
    ]
    assert result.done.events[4] == SubscriptionDiscountAttached(
        subscription_id=SUBSCRIPTION_ID, discount_id=DISCOUNT_ID
    )
    (invoice,) = invoices(result)
    assert invoice.discounts == (invoice_discount(100),)
    assert [each.discounts for each in invoice.lines] == [(line_discount(100),)]
    assert result.done.events[-3:] == [
        applied(period_invoice(0), 100, NOW),
        ended(DiscountEnd.USED_UP, NOW, of_subscription=True),
        SubscriptionDiscountEnded(subscription_id=SUBSCRIPTION_ID, discount_id=DISCOUNT_ID),
    ]
    result.then_posts(debit(RECEIVABLE, usd(900)), credit(DEFERRED_REVENUE, usd(900)))


def test_a_coupon_that_cannot_be_redeemed_is_named_by_its_place_and_nothing_begins() -> None:
    (
        on_sale(create_coupon())
        .when(subscribe(coupons=begins_with(1, 2)))
        .then_refused(CouponNotFound)
        .then_is_about("coupons.1")
    )
    again = (*begins_with(1), replace(*begins_with(2), coupon_id=COUPON_ID))
    on_sale(create_coupon(forever())).when(subscribe(coupons=again)).then_refused(CouponAlreadyApplied)


def test_a_repeating_coupon_covers_its_number_of_periods_and_ends() -> None:
    result = on_sale(create_coupon(terms(periods=2))).when(subscribe(coupons=begins_with(1)))
    result.then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1, ended_at=None)
    last = renewed(result, FEBRUARY, MARCH)
    assert totals(last) == [900, 900, 1_000]
    state = last.books.states["discount", DISCOUNT_ID]
    assert (state.periods_used, state.discounted, state.ended_at, state.end_reason) == (
        2,
        usd(200),
        FEBRUARY,
        DiscountEnd.USED_UP,
    )


def test_a_coupon_without_an_end_goes_on_also_once_it_is_archived() -> None:
    begun = on_sale(create_coupon(forever(amount(300)))).when(subscribe(coupons=begins_with(1)))
    assert totals(renewed(begun.and_then(ArchiveCoupon(coupon_id=COUPON_ID)), FEBRUARY, MARCH)) == [700, 700, 700]


def test_what_a_fixed_coupon_did_not_find_to_take_off_is_not_carried_over() -> None:
    result = on_sale(create_coupon(terms(amount(1_500)))).when(subscribe(coupons=begins_with(1)))
    assert totals(renewed(result, FEBRUARY)) == [0, 1_000]
    assert invoices(result)[0].discounts[0].amount == usd(1_000)


def test_percentages_come_first_each_in_the_order_in_which_they_were_applied_then_fixed_amounts() -> None:
    coupons = [forever(amount(100)), forever(percent(50)), forever(percent(10))]
    facts = on_sale(*(create_coupon(of, n) for n, of in enumerate(coupons, 1)))
    facts.and_then(apply_to_customer(1)).and_then(apply_to_customer(3), at=NOW + MICROSECOND)
    result = facts.when(subscribe(coupons=begins_with(2)), at=NOW + 2 * MICROSECOND)
    (invoice,) = invoices(result)
    taken = [(each.coupon_id, each.amount.amount) for each in invoice.discounts]
    assert taken == [(id_of("coup_", 3), 100), (id_of("coup_", 2), 450), (id_of("coup_", 1), 100)]
    assert invoice.total == usd(350)


def test_of_one_request_percentages_come_off_in_the_order_in_which_they_were_named_whatever_their_ids() -> None:
    coupons = [forever(percent(15)), forever(percent(10))]
    facts = on_sale(*(create_coupon(of, n) for n, of in enumerate(coupons, 1)), in_advance=flat(1_003))
    result = facts.when(subscribe(coupons=begins_with(2, 1)))
    (invoice,) = invoices(result)
    assert [(each.coupon_id, each.amount.amount) for each in invoice.discounts] == [
        (id_of("coup_", 2), 100),
        (id_of("coup_", 1), 135),
    ]


def test_a_coupon_that_finds_nothing_left_or_nothing_of_its_product_keeps_its_period() -> None:
    other = on_sale(create_coupon(forever(percent(100))), create_coupon(n=2), apply_to_customer())
    result = other.when(subscribe(coupons=begins_with(2)))
    assert invoices(result)[0].discounts == (invoice_discount(1_000, forever(percent(100))),)
    result.then_shows(DISCOUNT, id_of("disc_", 2), periods_used=0, ended_at=None)


def test_a_coupon_of_a_product_leaves_other_lines_alone() -> None:
    set_up = line(500, product_id=None, line_id="il_2")
    of_product = line(1_000, product_id=PRODUCT_ID)
    result = on_sale(
        create_coupon(terms(product_ids=(PRODUCT_ID,))), apply_to_customer(), draft(of_product, set_up)
    ).when(FinalizeInvoice(invoice_id=INVOICE_ID))
    (invoice,) = invoices(result)
    assert [each.discounts for each in invoice.lines] == [(line_discount(100),), ()]
    assert invoice.total == usd(1_400)


def test_an_invoice_by_itself_is_discounted_by_what_its_customer_has_and_uses_a_period() -> None:
    (
        given(create_customer(), create_coupon(terms(amount(250))), apply_to_customer(), draft(line(1_000)))
        .when(FinalizeInvoice(invoice_id=INVOICE_ID))
        .then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1, discounted=usd(250), end_reason=DiscountEnd.USED_UP)
        .then_shows(CUSTOMER, CUSTOMER_ID, discounts=())
        .then_posts(debit(RECEIVABLE, usd(750)), credit(DEFERRED_REVENUE, usd(750)))
    )


def test_a_line_that_deducts_something_is_not_discounted() -> None:
    deducted = draft(line(1_000), line(-400, line_id="il_2"))
    result = given(create_customer(), create_coupon(forever(percent(50))), apply_to_customer(), deducted).when(
        FinalizeInvoice(invoice_id=INVOICE_ID)
    )
    assert totals(result) == [100]


def test_tax_is_taken_on_what_the_discounts_leave_and_posted_so() -> None:
    result = (
        given(*taxed_in_germany("20"), create_customer(), create_coupon(forever(amount(500))), apply_to_customer())
        .and_then(draft(line(1_000, tax_inclusive=False), line(2_000, line_id="il_2", tax_inclusive=True)))
        .when(FinalizeInvoice(invoice_id=INVOICE_ID))
    )
    (invoice,) = invoices(result)
    first, second = invoice.lines
    assert (first.discounted, second.discounted) == (usd(833), usd(1_667))
    assert first.tax is not None
    assert second.tax is not None
    assert (first.net, first.total) == (usd(833), usd(1_000))
    assert (second.net, second.total) == (usd(1_389), usd(1_667))
    assert invoice.total == usd(2_667)
    assert [posting.amount for posting in result.done.postings if posting.account == TAX_PAYABLE.code] == [usd(445)]


def test_an_invoice_is_explained_with_its_discounts_from_its_lines_alone() -> None:
    result = on_sale(create_coupon(forever()), create_coupon(forever(amount(50)), 2), apply_to_customer(2)).when(
        subscribe(coupons=begins_with(1))
    )
    (invoice,) = invoices(result)
    tree = explain_billed(invoice.lines, invoice.currency)
    assert tree.amount == 850
    (node,) = tree.children
    assert [(each.kind, each.reference, each.amount) for each in node.children[1:]] == [
        (ExplanationKind.DISCOUNT, id_of("disc_", 1), Fraction(-100)),
        (ExplanationKind.DISCOUNT, id_of("disc_", 2), Fraction(-50)),
    ]
    assert sum(each.amount for each in node.children) == node.amount


# --- what is no whole period --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of", "rest"), [(terms(periods=9), 500), (forever(), 450)])
def test_what_prorates_a_period_is_discounted_by_a_coupon_without_an_end_alone_and_counts_for_none(
    of: Any, rest: int
) -> None:
    paused = on_sale(create_coupon(of)).and_then(subscribe(), PauseSubscription(subscription_id=SUBSCRIPTION_ID))
    late = paused.and_then(apply_to_subscription(), at=NOW)
    resumed = late.when(ResumeSubscription(subscription_id=SUBSCRIPTION_ID), at=MARCH + timedelta(days=15))
    assert totals(resumed) == [1_000, rest]
    assert resumed.books.states["discount", DISCOUNT_ID].periods_used == 0


def test_the_whole_last_period_in_arrears_is_covered_when_a_subscription_ends_with_it() -> None:
    begun = on_sale(create_coupon(terms(periods=5)), in_arrears=flat(1_000)).when(
        subscribe(ARREARS_PRICE_ID, coupons=begins_with(1))
    )
    ending = begun.and_then(cancel_at_period_end()).when(renew(FEBRUARY), at=FEBRUARY)
    assert totals(ending) == [900]
    ending.then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1, end_reason=DiscountEnd.SUBSCRIPTION_CANCELED)


def test_the_discounts_of_a_subscription_end_with_it_and_those_of_the_customer_go_on() -> None:
    (
        on_sale(create_coupon(forever()), create_coupon(forever(), 2), subscribe(coupons=begins_with(1)))
        .and_then(apply_to_customer(2))
        .when(cancel_now())
        .then_shows(DISCOUNT, DISCOUNT_ID, ended_at=NOW, end_reason=DiscountEnd.SUBSCRIPTION_CANCELED)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, discount_ids=())
        .then_shows(DISCOUNT, id_of("disc_", 2), ended_at=None)
    )


# --- late ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [percent("33.3"), amount(300)])
@pytest.mark.parametrize("periods", [1, 2, 3, 9])
def test_periods_billed_late_on_one_invoice_are_discounted_as_if_each_had_been_billed_in_time(
    off: Discount, periods: int
) -> None:
    prices: dict[str, Any] = {"in_advance": flat(1_001), "in_arrears": flat(707)}
    of = terms(off, periods=periods)
    in_time = on_sale(create_coupon(of), **prices).when(subscribe(PRICE_ID, ARREARS_PRICE_ID, coupons=begins_with(1)))
    in_time_all = renewed(in_time, FEBRUARY, MARCH, APRIL)
    late = on_sale(create_coupon(of), **prices).when(
        subscribe(PRICE_ID, ARREARS_PRICE_ID, starts_at=NOW, coupons=begins_with(1)), at=APRIL
    )
    (invoice,) = invoices(late)
    assert invoice.total.amount == sum(totals(in_time_all))
    assert invoice.discounts[0].periods == min(periods, 4)
    one, other = (each.books.states["discount", DISCOUNT_ID] for each in (in_time_all, late))
    assert (one.periods_used, one.discounted) == (other.periods_used, other.discounted)


def test_a_discount_that_was_removed_still_holds_for_a_period_that_began_before_however_late_it_is_billed() -> None:
    begun = on_sale(create_coupon(forever()), subscribe(), apply_to_customer())
    removed = begun.and_then(remove(), at=MARCH - MICROSECOND)
    late = removed.when(renew(FEBRUARY), at=APRIL)
    assert totals(late) == [1_000, 900, 1_000, 1_000]


def test_a_discount_takes_nothing_off_a_period_that_began_before_it() -> None:
    begun = on_sale(create_coupon(forever()), subscribe())
    late = begun.and_then(apply_to_customer(), at=MARCH).when(renew(FEBRUARY), at=APRIL)
    assert totals(late) == [1_000, 1_000, 900, 900]


def test_one_that_two_subscriptions_would_use_is_used_by_the_first_alone() -> None:
    second = id_of("sub_", 2)
    (
        on_sale(create_coupon(), apply_to_customer())
        .and_then(subscribe())
        .when(subscribe(subscription_id=second))
        .then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1)
    )


# --- removed -------------------------------------------------------------------------------------------------------


def test_a_discount_is_removed_once_and_takes_nothing_off_from_then_on() -> None:
    (
        on_sale(create_coupon(forever()), subscribe(), apply_to_customer())
        .when(remove(), at=FEBRUARY - MICROSECOND)
        .then(
            ended(DiscountEnd.REMOVED, FEBRUARY - MICROSECOND),
            CustomerDiscountEnded(customer_id=CUSTOMER_ID, discount_id=DISCOUNT_ID, removed_at=FEBRUARY - MICROSECOND),
        )
        .when(remove(), at=FEBRUARY)
        .then_refused(DiscountHasEnded)
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_shows(DISCOUNT, DISCOUNT_ID, periods_used=0)
    )


def test_before_a_discount_of_a_subscription_is_removed_what_is_due_is_billed_with_it() -> None:
    result = on_sale(create_coupon(terms(periods=3)), subscribe(coupons=begins_with(1))).when(remove(), at=FEBRUARY)
    assert totals(result) == [900, 900]
    result.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, discount_ids=())


def test_one_that_is_used_up_by_what_is_due_cannot_be_removed() -> None:
    on_sale(create_coupon(terms(periods=2)), subscribe(coupons=begins_with(1))).when(
        remove(), at=FEBRUARY
    ).then_refused(DiscountHasEnded)


def test_of_those_that_were_removed_a_customer_remembers_the_last() -> None:
    borne: tuple[BorneDiscount, ...] = (BorneDiscount(discount_id="holds"),)
    for n in range(2 * MAX_REMOVED_KEPT):
        borne = after(borne, CustomerDiscountAttached(customer_id=CUSTOMER_ID, discount_id=str(n)))
        borne = after(borne, CustomerDiscountEnded(customer_id=CUSTOMER_ID, discount_id=str(n), removed_at=NOW))
    assert [each.discount_id for each in borne] == [
        "holds",
        *(str(n) for n in range(MAX_REMOVED_KEPT, 2 * MAX_REMOVED_KEPT)),
    ]


# --- credited ------------------------------------------------------------------------------------------------------


def test_a_line_is_credited_at_what_its_discounts_left_of_it_and_never_above_that() -> None:
    invoiced = given(create_customer(), create_coupon(forever(percent(25))), apply_to_customer()).and_then(
        draft(line(1_000)), FinalizeInvoice(invoice_id=INVOICE_ID)
    )
    more = IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=INVOICE_ID, amount=usd(751))
    invoiced.when(more).then_refused(CreditExceedsInvoice)
    (
        invoiced.when(IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=INVOICE_ID))
        .then_posts(debit(DEFERRED_REVENUE, usd(750)), credit(RECEIVABLE, usd(750)))
        .then_shows(INVOICE, INVOICE_ID, amount_due=usd(0))
        .then_shows(DISCOUNT, DISCOUNT_ID, discounted=usd(250))
    )
