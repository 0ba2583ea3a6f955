"""Coupons on usage that is invoiced while its period runs: together its lines are discounted as one of all would be."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from domain.discounts.computation import AmountOff, CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms
from domain.discounts.discount import DISCOUNT, AttachedDiscount, DiscountApplied, DiscountEnd
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_request import BillUsage, CountedUsage
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import sum_money
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Command
from domain.pricing.amount import amount_of
from domain.pricing.models import BoundedPrice, Price
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar
from testing.examples.discounts import (
    DISCOUNT_ID,
    amount,
    apply_to_customer,
    begins_with,
    create_coupon,
    forever,
    percent,
    terms,
)
from testing.examples.pricing import graduated, package, per_unit, volume
from testing.examples.streams import (
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, LAST_INVOICE, MARCH, cancel_now, period_invoice, renew
from testing.examples.usage import (
    TIERS,
    USAGE_PRICE_ID,
    create_meter,
    invoice_of,
    invoices_of,
    snapshot,
    usage_price,
)
from testing.specification import NOW, Given, Result, given
from tests.lengths import LENGTH

DAY = timedelta(days=1)
THRESHOLD = UsageThreshold(amount=usd(100))
FIRST, SECOND = period_invoice(1), period_invoice(2)
HALF = terms(percent(50), periods=1)


def so_far(nth: int) -> str:
    return derived_id(INVOICE, SUBSCRIPTION_ID, f"usage/{nth}")


def sold(price: Price = TIERS, *further: Command) -> Given:
    told = given(create_customer(), create_meter(), *plan_on_sale(), usage_price(price=price), *further)
    return told.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=THRESHOLD))


def with_coupon(of: CouponTerms, price: Price = TIERS, *further: Command) -> Given:
    """The customer has it since the period began."""
    return sold(price, *further, create_coupon(of), apply_to_customer())


def drafted(told: Given, at: datetime) -> str:
    """The invoice of the usage until then, which waits for it."""
    seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    wanted = BillUsageSoFar(
        subscription_id=SUBSCRIPTION_ID,
        price_ids=(USAGE_PRICE_ID,),
        period_index=seen.period_index,
        changes=seen.changes,
        billings_so_far=seen.billings_so_far,
    )
    told.and_then(wanted, at=at)
    return so_far(seen.billings_so_far)


def counted(told: Given, invoice_id: str, quantity: int) -> BillUsage:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.lacks_usage)
    return BillUsage(invoice_id=invoice_id, counted=(CountedUsage(line_id=line.line_id, snapshot=snapshot(quantity)),))


def billed(told: Given, quantity: int, at: datetime) -> Invoice:
    """So much was used of the period by then, and is invoiced."""
    invoice_id = drafted(told, at)
    return invoice_of(told.and_then(counted(told, invoice_id, quantity), at=at), invoice_id)


def over(told: Given, quantity: int, invoice_id: str = FIRST, at: datetime = FEBRUARY) -> Invoice:
    """The period is over, in which so much was used."""
    told.and_then(renew(at), at=at)
    return invoice_of(told.and_then(counted(told, invoice_id, quantity), at=at), invoice_id)


def discount(told: Given | Result) -> AttachedDiscount:
    found: AttachedDiscount = told.books.states[DISCOUNT.name, DISCOUNT_ID]
    return found


def test_a_period_that_was_billed_before_its_end_uses_one_of_the_coupon_where_nothing_is_left_to_bill() -> None:
    told = with_coupon(HALF)
    assert billed(told, 4, NOW + DAY).total == usd(70)
    last = over(told, 4)
    assert [(each.amount, each.periods) for each in last.discounts] == [(usd(0), 1)]
    assert (last.total, last.lines[0].discounts) == (usd(0), ())
    assert (discount(told).discounted, discount(told).periods_left) == (usd(70), 0)
    assert discount(told).end_reason is DiscountEnd.USED_UP
    assert over(told, 4, SECOND, MARCH).total == usd(140)


def test_however_many_lines_bill_a_period_it_uses_one_of_the_coupon() -> None:
    told = with_coupon(terms(percent(50), periods=2))
    assert [billed(told, used, NOW + used * DAY).total for used in (4, 7, 9)] == [usd(70), usd(35), usd(5)]
    assert discount(told).periods_used == 0
    assert over(told, 11).total == usd(5)
    assert discount(told).periods_used == 1
    assert over(told, 4, SECOND, MARCH).total == usd(70)
    applied = [each.event for each in told.books.log if isinstance(each.event, DiscountApplied)]
    assert [each.periods for each in applied] == [0, 0, 0, 1, 1]


def test_a_coupon_that_took_nothing_off_before_keeps_its_period_where_nothing_is_left_to_bill() -> None:
    told = sold(TIERS, create_coupon(HALF))
    assert billed(told, 4, NOW + DAY).total == usd(140)
    told.and_then(apply_to_customer(), at=NOW + 2 * DAY)
    assert over(told, 4).discounts == ()
    assert discount(told).periods_left == 1
    assert over(told, 4, SECOND, MARCH).total == usd(70)


def test_a_period_that_came_to_nothing_uses_nothing_of_it() -> None:
    """All that was billed is given back: it is as if nothing had been discounted."""
    told = with_coupon(HALF, per_unit(10))
    assert billed(told, 20, NOW + DAY).total == usd(100)
    assert over(told, 0).total == usd(-100)
    assert discount(told).periods_left == 1


def test_of_an_invoice_that_was_voided_meanwhile_nothing_was_discounted() -> None:
    told = with_coupon(HALF)
    billed(told, 4, NOW + DAY)
    told.and_then(VoidInvoice(invoice_id=so_far(0)), at=NOW + 2 * DAY)
    assert over(told, 4).total == usd(70)
    assert discount(told).periods_left == 0


def test_the_period_stays_used_whatever_is_voided_once_it_is_over() -> None:
    for voided in (so_far(0), FIRST):
        told = with_coupon(HALF)
        billed(told, 4, NOW + DAY)
        assert over(told, 5).total == usd(5)
        told.and_then(VoidInvoice(invoice_id=voided), at=FEBRUARY)
        assert discount(told).periods_left == 0
        assert over(told, 4, SECOND, MARCH).total == usd(140)


@pytest.mark.parametrize("order", list(permutations(("finalize", "void", "void another"))))
def test_a_period_whose_last_invoice_is_voided_as_a_draft_uses_one_of_the_coupon(order: tuple[str, ...]) -> None:
    """Whatever comes first: the end of the others' time as drafts, or the void of the last, or of one of the others."""
    told = with_coupon(HALF, TIERS, ChangeBillingSettings(grace_s=30 * 86_400))
    for used in (4, 7):
        assert billed(told, used, NOW + used * DAY).status is InvoiceStatus.DRAFT
    over(told, 9)
    commands: dict[str, Command] = {
        "finalize": FinalizeInvoice(invoice_id=so_far(0)),
        "void": VoidInvoice(invoice_id=FIRST),
        "void another": VoidInvoice(invoice_id=so_far(1)),
    }
    for each in order:
        told.and_then(commands[each], at=FEBRUARY + DAY)
    assert invoice_of(told, so_far(0)).total == usd(70)
    assert discount(told).periods_left == 0
    assert discount(told).end_reason is DiscountEnd.USED_UP
    applied = [each.event for each in told.books.log if isinstance(each.event, DiscountApplied)]
    assert sum(each.periods for each in applied) == 1
    over(told, 4, SECOND, MARCH)
    told.and_then(FinalizeInvoice(invoice_id=SECOND), at=MARCH)
    assert invoice_of(told, SECOND).total == usd(140)


def test_nor_is_one_used_twice_where_the_last_was_finalized_or_took_nothing_off() -> None:
    told = with_coupon(terms(percent(50), periods=2))
    billed(told, 4, NOW + DAY)
    over(told, 5)
    told.and_then(VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    assert discount(told).periods_left == 1
    told = sold(TIERS, create_coupon(HALF), ChangeBillingSettings(grace_s=30 * 86_400))
    billed(told, 4, NOW + DAY)
    told.and_then(FinalizeInvoice(invoice_id=so_far(0)), apply_to_customer(), at=NOW + 2 * DAY)
    over(told, 5)
    told.and_then(VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    assert discount(told).periods_left == 1


def test_a_period_that_ends_early_is_discounted_to_its_end_and_uses_one_of_the_coupon() -> None:
    told = with_coupon(terms(percent(50), periods=3))
    billed(told, 4, NOW + DAY)
    told.and_then(cancel_now(), at=NOW + 2 * DAY)
    told.and_then(counted(told, LAST_INVOICE, 7), at=NOW + 2 * DAY)
    assert invoice_of(told, LAST_INVOICE).total == usd(35)
    assert discount(told).periods_used == 1


def test_the_end_of_a_subscription_that_waits_for_usage_is_discounted_by_what_ends_with_it() -> None:
    told = given(create_customer(), create_meter(), *plan_on_sale(), usage_price(), create_coupon(forever(percent(50))))
    told = told.and_then(subscribe(USAGE_PRICE_ID, coupons=begins_with(1)))
    told.and_then(cancel_now(), at=NOW + 2 * DAY)
    told.and_then(counted(told, LAST_INVOICE, 4), at=NOW + 2 * DAY)
    assert invoice_of(told, LAST_INVOICE).total == usd(70)


@pytest.mark.parametrize(
    ("minor", "before", "rest"), [(30, 110, 70), (200, 0, 10), (140, 0, 70), (210, 0, 0), (999, 0, 0)]
)
def test_a_fixed_amount_comes_off_as_soon_as_there_is_something_and_once_a_period(
    minor: int, before: int, rest: int
) -> None:
    told = with_coupon(terms(amount(minor), periods=1))
    assert billed(told, 4, NOW + DAY).total == usd(before)
    assert over(told, 7).total == usd(rest)
    assert (discount(told).discounted, discount(told).periods_left) == (usd(min(minor, 210)), 0)
    assert over(told, 4, SECOND, MARCH).total == usd(140)


def test_whoever_finalizes_the_rest_of_a_period_finalizes_what_billed_it_before() -> None:
    """Drafts have time: the one that bills the rest is finalized by hand, before the timer of the others."""
    told = with_coupon(terms(amount(150), periods=1), TIERS, ChangeBillingSettings(grace_s=30 * 86_400))
    for used in (4, 7):
        assert billed(told, used, NOW + used * DAY).status is InvoiceStatus.DRAFT
    over(told, 9)
    told.and_then(FinalizeInvoice(invoice_id=FIRST), at=FEBRUARY + DAY)
    each = [invoice_of(told, invoice_id) for invoice_id in (so_far(0), so_far(1), FIRST)]
    assert [invoice.total for invoice in each] == [usd(0), usd(60), usd(10)]
    assert [invoice.finalized_at for invoice in each] == [FEBRUARY + DAY] * 3
    assert discount(told).periods_left == 0


@pytest.mark.parametrize("off", [percent(50), amount(150)])
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_in_whichever_order_drafts_are_finalized_each_comes_to_the_same(
    off: PercentOff | AmountOff, order: tuple[int, ...]
) -> None:
    told = with_coupon(terms(off, periods=1), TIERS, ChangeBillingSettings(grace_s=30 * 86_400))
    for used in (4, 7, 8):
        billed(told, used, NOW + used * DAY)
    over(told, 9)
    invoice_ids = [so_far(0), so_far(1), so_far(2), FIRST]
    for nth in order:
        if invoice_of(told, invoice_ids[nth]).status is InvoiceStatus.DRAFT:
            told.and_then(FinalizeInvoice(invoice_id=invoice_ids[nth]), at=FEBRUARY + DAY)
    by_percentage = isinstance(off, PercentOff)
    totals = [invoice_of(told, each).total.amount for each in invoice_ids]
    assert totals == ([70, 35, 2, 2] if by_percentage else [0, 60, 5, 5])
    assert discount(told).periods_left == 0


TENS = (
    per_unit(10),
    package(100, 4),
    graduated((5, 10, 100), (None, 20, 50)),
    BoundedPrice(model=per_unit(10), maximum=usd(120)),
)
"""Prices that never come to less for more, and to whole tens: a percentage of them comes out even."""
FALLING = (volume((5, 20, 0), (None, 10, 0)), BoundedPrice(model=volume((5, 20, 0), (None, 10, 0)), minimum=usd(60)))
PERCENTAGES = st.sampled_from([percent(10), percent(50), percent(100)])
DURATIONS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.integers(1, 3).map(lambda periods: {"periods": periods}), st.just({"duration": CouponDuration.FOREVER})
)
SLICES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=3)
"""How much more was used each time that it is invoiced, and whether that invoice is voided."""
PERIODS = st.lists(st.tuples(SLICES, st.integers(0, 12)), min_size=1, max_size=4)


@settings(max_examples=LENGTH.scaled(60))
@examples(st.sampled_from(TENS), st.one_of(PERCENTAGES, st.integers(1, 300).map(amount)), DURATIONS, PERIODS)
def test_each_period_is_discounted_as_one_bill_of_all_would_be_and_uses_one_of_the_coupon(
    price: Price,
    off: PercentOff | AmountOff,
    lasts: dict[str, Any],
    periods: Sequence[tuple[Sequence[tuple[int, bool]], int]],
) -> None:
    _held_against_one_bill_each(price, terms(off, **lasts), periods)


@settings(max_examples=LENGTH.scaled(60))
@examples(
    st.sampled_from(FALLING),
    PERCENTAGES,
    DURATIONS,
    st.lists(st.tuples(st.lists(st.tuples(st.integers(-6, 12), st.booleans()), max_size=3), st.integers(-6, 12))),
)
def test_so_is_a_period_that_comes_to_less_than_was_billed_of_it(
    price: Price,
    off: PercentOff,
    lasts: dict[str, Any],
    periods: Sequence[tuple[Sequence[tuple[int, bool]], int]],
) -> None:
    _held_against_one_bill_each(price, terms(off, **lasts), periods[:4])


def _held_against_one_bill_each(
    price: Price, of: CouponTerms, periods: Sequence[tuple[Sequence[tuple[int, bool]], int]]
) -> None:
    told, begins = with_coupon(of, price), NOW
    left = None if of.duration is CouponDuration.FOREVER else of.periods or 1
    for nth, (slices, rest) in enumerate(periods, start=1):
        used, at, known = 0, begins, len(invoices_of(told))
        for more, is_voided in slices:
            used, at = used + more, at + DAY
            invoice = billed(told, used, at)
            if is_voided and invoice.status is InvoiceStatus.OPEN:
                told.and_then(VoidInvoice(invoice_id=invoice.invoice_id), at=at)
        used += rest
        begins = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].period_end
        over(told, used, period_invoice(nth), begins)
        charge = amount_of(price, max(used, 0), Rounding.HALF_UP).amount
        taken = 0 if left == 0 else _off(of, charge)
        totals = (each.total for each in invoices_of(told)[known:] if each.status is not InvoiceStatus.VOID)
        assert sum_money(totals, USD) == usd(charge - taken)
        if left is not None and taken:
            left -= 1
        assert discount(told).periods_left == left


def _off(of: CouponTerms, charge: int) -> int:
    if isinstance(of.off, AmountOff):
        return min(of.off.amount.amount, charge)
    return int(charge * of.off.percent / 100)
