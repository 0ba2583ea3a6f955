"""A customer's MRR by day, as their subscriptions, discounts and invoices say it one after another."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from domain.customers.tax_location import TaxLocation
from domain.discounts.computation import CouponDuration, PercentOff
from domain.discounts.coupon import CouponTerms
from domain.discounts.discount import DiscountAttached, DiscountEnd, DiscountEnded
from domain.invoicing.invoice_discount import InvoiceDiscount, LineDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import LineTax, TaxFacts, TaxTotal
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.frozen import replace
from domain.subscriptions.recurring_customer import CustomerRecurring, RecurringEvent, evolve, nothing_recurring
from domain.tax.computation import TaxShare, TaxTreatment
from testing.examples.streams import CUSTOMER_ID, PRICE_ID, SUBSCRIPTION_ID, USD, flat, usd
from testing.examples.subscriptions import (
    APRIL,
    FEBRUARY,
    MARCH,
    created,
    invoice_line,
    invoiced,
    item,
    period_invoice,
    period_started,
)
from testing.moments import utc
from testing.specification import NOW

OTHER = "sub_other"
NEXT_YEAR = utc("2027-01-31T10:00")
YEARLY = "price_yearly"
Told = tuple[datetime, RecurringEvent]


def after(*told: Told) -> CustomerRecurring:
    customer = nothing_recurring(CUSTOMER_ID)
    for at, event in told:
        customer = evolve(customer, event, at)
    return customer


def steps(*told: Told) -> list[tuple[date, int]]:
    """Of the customer's subscription."""
    found = after(*told).steps
    return [(step.day, step.amount) for step in found if step.subscription_id == SUBSCRIPTION_ID]


def begun(*items: Any, at: datetime = NOW, subscription_id: str = SUBSCRIPTION_ID) -> list[Told]:
    facts = {"subscription_id": subscription_id, "created_at": at, "starts_at": at, "anchor_at": at}
    started = replace(period_started(0, at, FEBRUARY), subscription_id=subscription_id)
    return [(at, created(*items, **facts)), (at, started)]


def half_off(duration: CouponDuration) -> CouponTerms:
    return CouponTerms(name="Half", off=PercentOff(percent=Decimal(50)), duration=duration, periods=1)


def half(duration: CouponDuration, *, at: datetime = NOW, subscription_id: str | None = SUBSCRIPTION_ID) -> Told:
    return at, DiscountAttached(
        discount_id="disc_1",
        coupon_id="coup_1",
        customer_id=CUSTOMER_ID,
        subscription_id=subscription_id,
        terms=half_off(duration),
        currency=USD,
        attached_at=at,
    )


def over(reason: DiscountEnd, at: datetime = NOW, subscription_id: str | None = SUBSCRIPTION_ID) -> Told:
    ended = DiscountEnded(
        discount_id="disc_1", customer_id=CUSTOMER_ID, subscription_id=subscription_id, reason=reason, ended_at=at
    )
    return at, ended


def billed(at: datetime, *lines: InvoiceLine, tax: TaxFacts | None = None, discounted: bool = False) -> Told:
    _, invoice = invoiced(1, at, *lines, invoice_id=period_invoice(0), due_at=at)
    uses = InvoiceDiscount(
        discount_id="disc_1", coupon_id="coup_1", terms=half_off(CouponDuration.REPEATING), periods=1, amount=usd(1)
    )
    finalized: Any = replace(invoice, tax=tax, discounts=(uses,) if discounted else ())
    return at, finalized


def line(until: datetime, price_id: str = PRICE_ID, *, discounted: bool = True) -> InvoiceLine:
    off = (LineDiscount(discount_id="disc_1", coupon_id="coup_1", amount=usd(1)),) if discounted else ()
    return replace(invoice_line(period_invoice(0), 1_000, NOW, until), price_id=price_id, discounts=off)


def inclusive_line(percent: int) -> tuple[InvoiceLine, TaxFacts]:
    """A line with the tax of one rate in it, and what its invoice says of that."""
    shares = (TaxShare("rate", usd(1)),)
    tax = LineTax(treatment=TaxTreatment.TAXED, net=usd(1_000), total=usd(1_000), shares=shares)
    total = TaxTotal(
        jurisdiction="DE",
        treatment=TaxTreatment.TAXED,
        rate_id="rate",
        kind="vat",
        category=None,
        percent=Decimal(percent),
        taxable=usd(1_000),
        tax=usd(1),
    )
    facts = TaxFacts(
        seller_country="DE",
        registration_id=None,
        seller_number=None,
        place=TaxLocation(country="DE"),
        is_assumed=False,
        is_exempt=False,
        vat_id_country=None,
        buyer_reference=None,
        totals=(total,),
    )
    return replace(line(FEBRUARY, discounted=False), tax_inclusive=True, tax=tax), facts


def test_a_coupon_that_is_used_up_counts_for_each_price_until_its_own_period_is_over() -> None:
    yearly = replace(item(YEARLY, flat(12_000)), interval=Interval(IntervalUnit.YEAR))
    found = steps(
        begun(item(price=flat(1_000)), yearly)[0],
        half(CouponDuration.REPEATING),
        (NOW, period_started(0, NOW, FEBRUARY)),
        billed(NOW, line(FEBRUARY), line(NEXT_YEAR, YEARLY), discounted=True),
        over(DiscountEnd.USED_UP),
        (FEBRUARY, period_started(1, FEBRUARY, MARCH)),
        (MARCH, period_started(2, MARCH, APRIL)),
        (NEXT_YEAR, period_started(12, NEXT_YEAR, NEXT_YEAR)),
    )
    assert found == [(NOW.date(), 1_000), (FEBRUARY.date(), 1_500), (NEXT_YEAR.date(), 2_000)]


def test_a_coupon_that_is_used_up_by_what_is_billed_in_arrears_is_over_at_once() -> None:
    found = steps(
        *begun(item(price=flat(1_000))),
        half(CouponDuration.REPEATING),
        (FEBRUARY, period_started(1, FEBRUARY, MARCH)),
        billed(FEBRUARY, line(FEBRUARY), discounted=True),
        over(DiscountEnd.USED_UP, FEBRUARY),
    )
    assert found == [(NOW.date(), 500), (FEBRUARY.date(), 1_000)]


def test_a_coupon_that_is_removed_is_over_at_once_and_one_for_once_never_counts() -> None:
    start = begun(item(price=flat(1_000)))
    removed = [half(CouponDuration.FOREVER), over(DiscountEnd.REMOVED, FEBRUARY)]
    assert steps(*start, *removed) == [(NOW.date(), 500), (FEBRUARY.date(), 1_000)]
    assert steps(*start, half(CouponDuration.ONCE), over(DiscountEnd.USED_UP)) == [(NOW.date(), 1_000)]


def test_a_customers_coupon_counts_for_what_begins_later_too() -> None:
    found = after(
        half(CouponDuration.FOREVER, subscription_id=None),
        *begun(item(price=flat(1_000))),
        *begun(item(price=flat(600)), at=FEBRUARY, subscription_id=OTHER),
    )
    assert [step.amount for step in found.steps] == [500, 300]


def test_included_tax_that_is_told_first_holds_from_the_beginning_and_another_rate_from_its_invoice() -> None:
    start = begun(replace(item(price=flat(1_190)), tax_inclusive=True))
    first, told = inclusive_line(19)
    assert steps(*start, billed(FEBRUARY, first, tax=told)) == [(NOW.date(), 1_000)]
    other, anew = inclusive_line(16)
    found = steps(*start, billed(FEBRUARY, first, tax=told), billed(MARCH, other, tax=anew))
    assert found == [(NOW.date(), 1_000), (MARCH.date(), 1_026)]


def test_what_is_the_customers_changes_no_later_step_of_another_subscription() -> None:
    found = after(
        *begun(item(price=flat(1_000))),
        *begun(item(price=flat(600)), at=MARCH, subscription_id=OTHER),
        half(CouponDuration.FOREVER, at=FEBRUARY, subscription_id=None),
    )
    assert [(step.day, step.amount) for step in found.steps] == [
        (NOW.date(), 1_000),
        (FEBRUARY.date(), 500),
        (MARCH.date(), 300),
    ]
