"""Usage that is invoiced while its period runs: each invoice bills the difference to date, and the end the rest."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.invoicing.credit_note import IssueCreditNote
from domain.invoicing.explanation import explain_billed
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL, InvoiceLine, InvoiceLineKind
from domain.invoicing.progressive import charge_to_date
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_line import UsageProgress, UsageSlice
from domain.invoicing.usage_request import BillUsage, CountedUsage, RecountedUsage
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import Money, sum_money
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Command, Finish, WorkKind
from domain.pricing.amount import amount_of
from domain.pricing.models import BoundedPrice, Commitment, Price
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import InvalidUsageThreshold, UsageThreshold
from domain.subscriptions.usage_threshold import (
    MAX_TIMES_BILLED,
    BillUsageSoFar,
    NoUsageToBill,
    SetUsageThreshold,
    SoFar,
    SubscriptionUsageThresholdSet,
)
from domain.subscriptions.usage_threshold import reached as looked_at
from testing.examples.discounts import apply_to_customer, create_coupon, forever, percent
from testing.examples.pricing import package, per_unit, volume
from testing.examples.streams import (
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, LAST_INVOICE, MARCH, cancel_now, period_invoice, renew
from testing.examples.taxes import BERLIN, taxed_in_germany
from testing.examples.usage import (
    OTHER_USAGE_PRICE_ID,
    TIERS,
    USAGE_PRICE_ID,
    create_meter,
    invoice_of,
    invoices_of,
    snapshot,
    usage_lines,
    usage_price,
)
from testing.moments import utc
from testing.specification import NOW, Given, Result, given

THRESHOLD = UsageThreshold(amount=usd(100))
FIRST, SECOND = period_invoice(1), period_invoice(2)
DAY = timedelta(days=1)


def so_far(nth: int) -> str:
    """The id of the invoice that bills usage before its period is over, counted from 0."""
    return derived_id(INVOICE, SUBSCRIPTION_ID, f"usage/{nth}")


def subscribed(price: Price, *before: Command, **changes: Any) -> Given:
    told = given(*before, create_customer(**changes), create_meter(), *plan_on_sale(), usage_price(price=price))
    return told.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=THRESHOLD))


def reached(told: Given | Result, *price_ids: str, **changes: Any) -> BillUsageSoFar:
    """The command of whoever looked at the subscription as it is."""
    seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    facts = {"period_index": seen.period_index, "changes": seen.changes, "billings_so_far": seen.billings_so_far}
    return BillUsageSoFar(
        subscription_id=SUBSCRIPTION_ID, price_ids=price_ids or (USAGE_PRICE_ID,), **{**facts, **changes}
    )


def counted(told: Given | Result, invoice_id: str, quantity: int, closing: int, *late: RecountedUsage) -> BillUsage:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.lacks_usage)
    found = CountedUsage(line_id=line.line_id, snapshot=snapshot(quantity, closing), late=late)
    return BillUsage(invoice_id=invoice_id, counted=(found,))


def billed(told: Given | Result, nth: int, quantity: int, at: Any) -> Given:
    """The usage so far is invoiced: that much, of all that the period came to by then."""
    told.and_then(reached(told), at=at)
    return told.and_then(counted(told, so_far(nth), quantity, nth + 1), at=at)


def ended(told: Given, quantity: int, closing: int) -> Invoice:
    told.and_then(renew(FEBRUARY), at=FEBRUARY)
    told.and_then(counted(told, FIRST, quantity, closing), at=FEBRUARY)
    return invoice_of(told, FIRST)


def state_of(told: Given | Result) -> Subscription:
    found: Subscription = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    return found


def line_of(told: Given | Result, invoice_id: str) -> InvoiceLine:
    (line,) = usage_lines(invoice_of(told, invoice_id))
    return line


def of_usage(invoices: Sequence[Invoice]) -> int:
    """What the invoices that are not void come to for usage, and give back of it."""
    lines = (line for each in invoices if each.status is not InvoiceStatus.VOID for line in each.lines)
    return sum_money((line.amount for line in lines), USD).amount


def test_each_invoice_bills_the_difference_to_date_and_the_end_the_rest() -> None:
    told = billed(subscribed(TIERS), 0, 4, NOW + 5 * DAY)
    told = billed(told, 1, 7, NOW + 9 * DAY)
    last = ended(told, 9, 3)
    assert [line_of(told, each).amount for each in (so_far(0), so_far(1), FIRST)] == [usd(140), usd(70), usd(10)]
    line = line_of(told, so_far(1))
    assert (line.quantity, line.period_start, line.period_end) == (Decimal(7), NOW, NOW + 9 * DAY)
    assert line.usage is not None
    assert line.usage.progress == UsageProgress(
        before=(UsageSlice(invoice_id=so_far(0), line_id=line_of(told, so_far(0)).line_id),),
        is_last=False,
        charge=usd(210),
        billed_before=usd(140),
    )
    assert (last.lines[0].quantity, last.lines[0].period_end) == (Decimal(9), FEBRUARY)
    assert told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].billed_so_far == ()


def test_every_line_is_explained_less_what_was_billed_before() -> None:
    told = billed(subscribed(BoundedPrice(model=TIERS, minimum=usd(500))), 0, 4, NOW + DAY)
    told = billed(told, 1, 7, NOW + 2 * DAY)
    ended(told, 9, 3)
    for invoice in invoices_of(told):
        for line, node in zip(invoice.lines, explain_billed(invoice.lines, USD).children, strict=True):
            assert sum(each.amount for each in node.children[0].children) == line.amount.amount


def test_less_in_the_end_is_explained_by_the_last_line_and_by_what_gives_it_back() -> None:
    told = billed(subscribed(volume((5, 50, 0), (None, 10, 0))), 0, 5, NOW + DAY)
    last = ended(told, 9, 2)
    explained = [node.children[0].children for node in explain_billed(last.lines, USD).children]
    assert [[(str(each.portion), int(each.amount)) for each in parts] for parts in explained] == [
        [("tier_units", 90), ("billed_before", -250), ("given_back_elsewhere", 160)],
        [("given_back", -160)],
    ]
    assert [line.amount for line in last.lines] == [usd(0), usd(-160)]


@pytest.mark.parametrize(
    ("price", "first", "total"),
    [
        (BoundedPrice(model=per_unit(10), minimum=usd(500)), 200, 500),
        (BoundedPrice(model=per_unit(10), maximum=usd(250)), 200, 250),
        (
            BoundedPrice(
                model=per_unit(10),
                commitment=Commitment(amount=usd(300), overage_factor=Decimal(2), prepaid=False),
            ),
            200,
            300,
        ),
        (package(100, 10), 200, 300),
    ],
)
def test_what_a_period_promises_at_least_is_billed_when_it_is_over(price: Price, first: int, total: int) -> None:
    told = billed(subscribed(price), 0, 20, NOW + DAY)
    assert invoice_of(told, so_far(0)).total == usd(first)
    ended(told, 25, 2)
    assert of_usage(invoices_of(told)) == total


def test_where_the_period_comes_to_less_than_was_billed_the_end_gives_it_back_of_what_was_billed_last() -> None:
    told = billed(subscribed(volume((10, 100, 0), (None, 10, 0))), 0, 4, NOW + DAY)
    told = billed(told, 1, 10, NOW + 2 * DAY)
    last = ended(told, 20, 3)
    usage, *credits_ = last.lines
    assert (usage.amount, usage.quantity, usage.kind) == (usd(0), Decimal(20), InvoiceLineKind.USAGE)
    given_back = [(each.amount, each.gives_back.invoice_id if each.gives_back else None) for each in credits_]
    assert given_back == [(usd(-600), so_far(1)), (usd(-200), so_far(0))]
    assert all(each.kind is InvoiceLineKind.CREDIT for each in credits_)
    assert invoice_of(told, so_far(1)).unused_credits[0].amount == usd(600)
    assert of_usage(invoices_of(told)) == 200


def test_what_comes_back_of_a_period_is_billed_as_far_as_its_end_had_given_it_back() -> None:
    """Most of it a credit note had given back before."""
    told = billed(subscribed(per_unit(10)), 0, 20, NOW + DAY)
    note = IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=so_far(0), amount=usd(150))
    told = told.and_then(note, at=NOW + 2 * DAY)
    assert ended(told, 0, 2).total == usd(-50)
    told = told.and_then(renew(MARCH), at=MARCH)
    late = RecountedUsage(invoice_id=FIRST, line_id=line_of(told, FIRST).line_id, quantity=Fraction(20), events=3)
    told = told.and_then(counted(told, SECOND, 0, 3, late), at=MARCH)
    assert invoice_of(told, SECOND).total == usd(50)


def test_what_is_given_back_bears_the_tax_and_the_discount_that_it_was_billed_with() -> None:
    half = create_coupon(forever(percent(50)))
    told = given(*taxed_in_germany(), half, create_customer(tax_location=BERLIN), apply_to_customer(), create_meter())
    told = told.and_then(*plan_on_sale(), usage_price(price=volume((10, 100, 0), (None, 10, 0))))
    told = told.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=THRESHOLD))
    told = billed(told, 0, 10, NOW + DAY)
    assert invoice_of(told, so_far(0)).total == usd(595)
    assert ended(told, 20, 2).total == usd(-476), "half of 8.00, and 19 % of it"


def test_of_an_invoice_that_was_voided_the_next_bills_what_it_billed() -> None:
    told = billed(subscribed(per_unit(10)), 0, 20, NOW + DAY)
    told = told.and_then(VoidInvoice(invoice_id=so_far(0)), at=NOW + 2 * DAY)
    told = billed(told, 1, 30, NOW + 3 * DAY)
    assert invoice_of(told, so_far(1)).total == usd(300)
    assert ended(told, 35, 3).total == usd(50)


def test_a_voided_last_invoice_gives_up_the_rest_alone() -> None:
    told = billed(subscribed(per_unit(10)), 0, 20, NOW + DAY)
    ended(told, 35, 2)
    told = told.and_then(VoidInvoice(invoice_id=FIRST), at=FEBRUARY).and_then(renew(MARCH), at=MARCH)
    late = RecountedUsage(invoice_id=FIRST, line_id=line_of(told, FIRST).line_id, quantity=Fraction(40), events=3)
    told = told.and_then(counted(told, SECOND, 0, 3, late), at=MARCH)
    assert (of_usage(invoices_of(told)), invoice_of(told, SECOND).total) == (200, usd(0))


@pytest.mark.parametrize(("quantity", "total"), [(40, 400), (10, 100), (0, 0)])
def test_late_usage_rates_the_whole_period_again_whatever_invoices_billed_it(quantity: int, total: int) -> None:
    told = billed(subscribed(per_unit(10)), 0, 20, NOW + DAY)
    ended(told, 35, 2)
    told = told.and_then(renew(MARCH), at=MARCH)
    late = RecountedUsage(invoice_id=FIRST, line_id=line_of(told, FIRST).line_id, quantity=Fraction(quantity), events=3)
    told = told.and_then(counted(told, SECOND, 0, 3, late), at=MARCH)
    assert of_usage(invoices_of(told)) == total
    if quantity == 10:
        first, second = (each.gives_back for each in invoice_of(told, SECOND).lines if each.gives_back is not None)
        assert (first.invoice_id, second.invoice_id) == (FIRST, so_far(0)), "what was billed last first"


def test_a_change_bills_the_rest_of_the_old_price_and_the_new_one_begins_anew() -> None:
    told = subscribed(per_unit(10)).and_then(usage_price(OTHER_USAGE_PRICE_ID, per_unit(1)))
    told = billed(told, 0, 20, NOW + DAY)
    swap = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=OTHER_USAGE_PRICE_ID),),
        remove=(USAGE_PRICE_ID,),
        proration=Proration.INVOICE_NOW,
    )
    told = told.and_then(swap, at=NOW + 3 * DAY)
    changed = invoices_of(told)[-1].invoice_id
    told = told.and_then(counted(told, changed, 25, 2), at=NOW + 3 * DAY)
    assert invoice_of(told, changed).total == usd(50)
    told = told.and_then(reached(told, OTHER_USAGE_PRICE_ID), at=NOW + 5 * DAY)
    told = told.and_then(counted(told, so_far(1), 100, 3), at=NOW + 5 * DAY)
    assert invoice_of(told, so_far(1)).total == usd(100)
    assert ended(told, 150, 4).total == usd(50)


def test_the_end_of_the_subscription_bills_the_rest() -> None:
    told = billed(subscribed(per_unit(10)), 0, 20, NOW + DAY).when(cancel_now(), at=NOW + 2 * DAY)
    told.then_finishes(Finish(WorkKind.SUBSCRIPTION_RENEWAL, SUBSCRIPTION_ID))
    told = told.when(counted(told, LAST_INVOICE, 21, 2), at=NOW + 2 * DAY)
    assert invoice_of(told, LAST_INVOICE).total == usd(10)


def test_what_was_seen_is_billed_once_and_never_of_another_period() -> None:
    told = subscribed(per_unit(10))
    command = reached(told)
    told.and_then(command, at=NOW + DAY)
    told.when(command, at=NOW + DAY).then_refused(NoUsageToBill)
    again = reached(told)
    told.when(again, at=FEBRUARY).then_refused(NoUsageToBill)
    told.when(reached(told, OTHER_USAGE_PRICE_ID), at=NOW + DAY).then_refused(NoUsageToBill)
    no_more = SetUsageThreshold(subscription_id=SUBSCRIPTION_ID, threshold=None)
    told.and_then(no_more, at=NOW + DAY).when(again, at=NOW + DAY).then_refused(NoUsageToBill)


def test_the_timer_that_is_late_changes_nothing() -> None:
    """The end of the period is decided first, whoever comes first, and bills what nobody had billed by then."""
    told = billed(subscribed(per_unit(10)), 0, 20, NOW + DAY)
    told.when(reached(told), at=FEBRUARY + DAY).then_refused(NoUsageToBill)
    ended(told, 30, 2)
    assert of_usage(invoices_of(told)) == 300


def test_a_threshold_is_taken_away_and_another_one_set() -> None:
    begun = given(create_customer(), create_meter(), *plan_on_sale(), usage_price())
    begun = begun.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=THRESHOLD))
    no_more = begun.when(SetUsageThreshold(subscription_id=SUBSCRIPTION_ID, threshold=None))
    no_more.then(SubscriptionUsageThresholdSet(subscription_id=SUBSCRIPTION_ID, threshold=None, set_at=NOW))
    assert looked_at(state_of(no_more), [SoFar(USAGE_PRICE_ID, THRESHOLD.amount, times_billed=0)]) is None
    other = UsageThreshold(amount=usd(7), recurring=False)
    again = no_more.when(SetUsageThreshold(subscription_id=SUBSCRIPTION_ID, threshold=other))
    assert state_of(again).terms.usage_threshold == other


def test_a_threshold_stays_through_a_change_that_was_scheduled_before_it() -> None:
    told = subscribed(per_unit(10))
    later = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID, items=(ChangedItem(price_id=PRICE_ID),), proration=Proration.PERIOD_END
    )
    other = UsageThreshold(amount=usd(7))
    told = told.and_then(later, SetUsageThreshold(subscription_id=SUBSCRIPTION_ID, threshold=other))
    told = told.and_then(renew(FEBRUARY), at=FEBRUARY)
    terms_now = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].terms
    assert (len(terms_now.items), terms_now.usage_threshold) == (2, other)


@pytest.mark.parametrize(
    ("threshold", "about"),
    [
        (UsageThreshold(amount=usd(0)), "usage_threshold.amount.amount"),
        (UsageThreshold(amount=usd(10**12)), "usage_threshold.amount.amount"),
        (UsageThreshold(amount=Money(5, currency_code("EUR"))), "usage_threshold.amount.currency"),
    ],
)
def test_a_threshold_is_an_amount_that_can_be_invoiced(threshold: UsageThreshold, about: str) -> None:
    told = subscribed(per_unit(10))
    wanted = SetUsageThreshold(subscription_id=SUBSCRIPTION_ID, threshold=threshold)
    told.when(wanted).then_refused(InvalidUsageThreshold).then_is_about(about)


def test_a_period_is_billed_a_hundred_times_at_most_before_its_end() -> None:
    told = subscribed(per_unit(10))
    seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    enough = usd(THRESHOLD.amount.amount)
    assert looked_at(seen, [SoFar(USAGE_PRICE_ID, enough, times_billed=MAX_TIMES_BILLED - 1)]) is not None
    assert looked_at(seen, [SoFar(USAGE_PRICE_ID, enough, times_billed=MAX_TIMES_BILLED)]) is None
    assert looked_at(seen, [SoFar(USAGE_PRICE_ID, enough, times_billed=1, voided=MAX_TIMES_BILLED - 1)]) is None


def test_what_no_invoice_holds_is_left_to_the_end_of_the_period() -> None:
    """Or whoever voids its invoice, as a person is told to, is given the next."""
    seen = subscribed(per_unit(10)).books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    most = usd(MAX_INVOICE_TOTAL)
    assert looked_at(seen, [SoFar(USAGE_PRICE_ID, most, times_billed=0)]) is not None
    assert looked_at(seen, [SoFar(USAGE_PRICE_ID, most + usd(1), times_billed=0)]) is None


OTHER_METER_ID = id_of("mtr_", 2)
YEAR = Interval(IntervalUnit.YEAR)
YEARLY = (OTHER_USAGE_PRICE_ID,)


def two_meters() -> Given:
    meters = create_meter(), create_meter(OTHER_METER_ID, "calls")
    return given(create_customer(), *meters, *plan_on_sale(), usage_price())


def with_a_yearly_price(threshold: UsageThreshold) -> Subscription:
    """Beside the monthly one."""
    told = two_meters().and_then(usage_price(OTHER_USAGE_PRICE_ID, per_unit(1), meter_id=OTHER_METER_ID, interval=YEAR))
    return state_of(told.and_then(subscribe(USAGE_PRICE_ID, OTHER_USAGE_PRICE_ID, usage_threshold=threshold)))


@pytest.mark.parametrize(
    ("recurring", "monthly", "yearly", "billed"),
    [
        (False, (60, 0), (40, 0), (USAGE_PRICE_ID, OTHER_USAGE_PRICE_ID)),
        (False, (100, 0), (900, 1), (USAGE_PRICE_ID,)),
        (False, (99, 0), (900, 1), ()),
        (False, (100, 1), (100, 0), YEARLY),
        (False, (900, 1), (900, 1), ()),
        (True, (60, 7), (40, MAX_TIMES_BILLED - 1), (USAGE_PRICE_ID, OTHER_USAGE_PRICE_ID)),
        (True, (100, 7), (900, MAX_TIMES_BILLED), (USAGE_PRICE_ID,)),
        (True, (99, 7), (900, MAX_TIMES_BILLED), ()),
    ],
)
def test_a_threshold_is_used_up_by_the_periods_of_each_interval(
    recurring: bool, monthly: tuple[int, int], yearly: tuple[int, int], billed: tuple[str, ...]
) -> None:
    seen = with_a_yearly_price(UsageThreshold(amount=usd(100), recurring=recurring))
    so_far_of = {USAGE_PRICE_ID: monthly, OTHER_USAGE_PRICE_ID: yearly}
    command = looked_at(seen, [SoFar(price_id, usd(more), times) for price_id, (more, times) in so_far_of.items()])
    assert (() if command is None else command.price_ids) == billed


def test_prices_of_one_interval_share_a_threshold_that_does_not_recur() -> None:
    told = two_meters().and_then(usage_price(OTHER_USAGE_PRICE_ID, per_unit(1), meter_id=OTHER_METER_ID))
    once = UsageThreshold(amount=usd(100), recurring=False)
    seen = state_of(told.and_then(subscribe(USAGE_PRICE_ID, OTHER_USAGE_PRICE_ID, usage_threshold=once)))
    billed, other = SoFar(USAGE_PRICE_ID, usd(0), times_billed=1), SoFar(OTHER_USAGE_PRICE_ID, usd(900), times_billed=0)
    assert looked_at(seen, [billed, other]) is None
    voided_uncounted = SoFar(USAGE_PRICE_ID, usd(0), times_billed=0, voided=1)
    assert looked_at(seen, [voided_uncounted, other]) is not None


PRICES = (
    TIERS,
    per_unit(10),
    per_unit("0.35", free_units=3),
    package(100, 4),
    volume((5, 10, 0), (None, 5, 0)),
    BoundedPrice(model=volume((5, 10, 0), (None, 5, 0)), minimum=usd(60)),
    BoundedPrice(model=per_unit(10), maximum=usd(120)),
    BoundedPrice(model=per_unit(10), commitment=Commitment(amount=usd(60), overage_factor=Decimal(2), prepaid=False)),
)
ARRIVALS = st.lists(st.tuples(st.integers(-4, 12), st.booleans(), st.booleans()), min_size=1, max_size=6)
"""How much more or less there is, whether it is then billed, and whether that invoice is voided."""


@examples(st.sampled_from(PRICES), ARRIVALS, st.integers(-4, 12), st.integers(-9, 9))
def test_all_invoices_of_a_period_come_to_the_charge_of_all_that_was_used_in_it(
    price: Price, arrivals: list[tuple[int, bool, bool]], rest: int, late: int
) -> None:
    told, used, slices, at = subscribed(price), 0, 0, utc("2026-02-01T10:00")
    for more, is_billed, is_voided in arrivals:
        used, at = used + more, at + DAY
        if not is_billed:
            continue
        told = billed(told, slices, used, at)
        if is_voided and invoice_of(told, so_far(slices)).status is InvoiceStatus.OPEN:
            told = told.and_then(VoidInvoice(invoice_id=so_far(slices)), at=at)
        slices += 1
    used += rest
    ended(told, used, slices + 1)
    assert of_usage(invoices_of(told)) == amount_of(price, max(used, 0), Rounding.HALF_UP).amount

    told = told.and_then(renew(MARCH), at=MARCH)
    line_id = invoice_of(told, FIRST).lines[0].line_id
    found = RecountedUsage(invoice_id=FIRST, line_id=line_id, quantity=Fraction(used + late), events=5)
    told = told.and_then(counted(told, SECOND, 0, slices + 2, found), at=MARCH)
    of_second = amount_of(price, 0, Rounding.HALF_UP).amount
    assert of_usage(invoices_of(told)) - of_second == amount_of(price, max(used + late, 0), Rounding.HALF_UP).amount


@examples(st.sampled_from(PRICES), st.lists(st.integers(-4, 12), max_size=9), st.integers(1, 90), st.booleans())
def test_whatever_the_threshold_no_more_than_that_is_unbilled_after_a_look_and_the_end_bills_the_rest(
    price: Price, arrivals: list[int], minor: int, recurring: bool
) -> None:
    """The model: all comes to the price of all; a look bills once what is not billed comes to the threshold."""
    told, used, last, at = subscribed(price), 0, 0, NOW
    threshold = UsageThreshold(amount=usd(minor), recurring=recurring)
    told = told.and_then(SetUsageThreshold(subscription_id=SUBSCRIPTION_ID, threshold=threshold))
    for more in arrivals:
        used, at = used + more, at + DAY
        charge = charge_to_date(price, max(used, 0), usd(0), Rounding.HALF_UP, is_last=False).due.amount
        seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
        nth = seen.billings_so_far
        command = looked_at(seen, [SoFar(USAGE_PRICE_ID, usd(charge - last), times_billed=nth)])
        is_due = charge - last >= minor and (recurring or nth == 0)
        assert (command is not None) == is_due
        if command is not None:
            told = told.and_then(command, at=at)
            told = told.and_then(counted(told, so_far(nth), used, nth + 1), at=at)
            last = charge
    ended(told, used, len(arrivals) + 1)
    assert of_usage(invoices_of(told)) == amount_of(price, max(used, 0), Rounding.HALF_UP).amount
