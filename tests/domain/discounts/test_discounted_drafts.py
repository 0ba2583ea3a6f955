"""Specifications of discounts beside drafts that wait, and of changes that give back what was discounted."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.discounts.computation import Discount
from domain.discounts.discount import DISCOUNT, DiscountEnd
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import AddInvoiceItem, RemoveInvoiceItem
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.settlement import InvoiceIsCredited
from domain.kernel.stream import Command
from domain.pricing.models import PerUnit
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
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
from testing.examples.streams import (
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    id_of,
    line,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, cancel_now, period_invoice, renew
from testing.moments import utc
from testing.specification import NOW, Given, given

HOUR = 3_600
MID = utc("2026-02-14T10:00")
"""Half of [31 January, 28 February) is left."""
SEATS = PerUnit(currency=USD, unit_amount=Decimal(2_800))
FINALIZED = FinalizeInvoice(invoice_id=period_invoice(0))


def totals(history: Given) -> list[int]:
    events = (change.event for change in history.books.log)
    return [event.total.amount for event in events if isinstance(event, InvoiceFinalized)]


def to_seats(seats: int, proration: Proration = Proration.INVOICE_NOW) -> ChangeSubscription:
    return ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=PRICE_ID, quantity=Decimal(seats)),),
        proration=proration,
    )


def half_price(*settings: Command) -> Given:
    """One seat of 28.00 a month, at half price for ever."""
    offered = given(create_customer(), *plan_on_sale(in_advance=SEATS), *settings, create_coupon(forever(percent(50))))
    return offered.and_then(subscribe(coupons=begins_with(1)))


def test_a_change_gives_back_what_discounts_left_of_the_line_and_its_charge_is_discounted_too() -> None:
    changed = half_price().when(to_seats(3), at=MID)
    assert totals(changed) == [1_400, -700 + 2_100]


def test_of_a_draft_that_waits_a_change_gives_back_what_its_discounts_are_going_to_leave() -> None:
    waits = half_price(ChangeBillingSettings(grace_s=20 * 24 * HOUR)).and_then(to_seats(3), at=MID)
    finalized = waits.when(FINALIZED, at=MID + timedelta(hours=1))
    assert totals(finalized) == [1_400]
    (change,) = [key for kind, key in finalized.books.states if kind == "invoice" and key != period_invoice(0)]
    both = finalized.when(FinalizeInvoice(invoice_id=change), at=MID + timedelta(hours=1))
    assert totals(both) == [1_400, -700 + 2_100]


@pytest.mark.parametrize(("off", "total"), [(percent(50), 1_050), (amount(6_000), -1_400)])
def test_what_a_credit_gives_back_of_a_charge_beside_it_is_paid_by_nobody_and_not_discounted(
    off: Discount, total: int
) -> None:
    """28.00, 14.00 of them given back, 28.00 for two seats of which half is given back, and 7.00: 49.00 to discount."""
    offered = given(create_customer(), *plan_on_sale(in_advance=SEATS), create_coupon(forever(off)))
    changed = (
        offered.and_then(subscribe())
        .and_then(apply_to_customer(), to_seats(2, Proration.NEXT_INVOICE), at=MID)
        .and_then(to_seats(1, Proration.NEXT_INVOICE), at=MID + timedelta(days=7))
    )
    assert totals(changed.when(renew(FEBRUARY), at=FEBRUARY)) == [2_800, total]


def test_what_prorates_and_gives_back_parts_of_a_period_uses_none_of_a_coupon() -> None:
    offered = given(create_customer(), *plan_on_sale(in_advance=SEATS), create_coupon(terms(percent(50), periods=2)))
    changed = offered.and_then(subscribe(coupons=begins_with(1))).when(to_seats(3), at=MID)
    assert totals(changed) == [1_400, -700 + 4_200]
    changed.then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1)


def test_a_credit_that_waits_bears_no_discount_of_the_line_that_it_gives_back() -> None:
    once = create_coupon(terms(percent(50)))
    waits = given(create_customer(), *plan_on_sale(in_advance=SEATS), once).and_then(subscribe(coupons=begins_with(1)))
    changed = waits.when(to_seats(3, Proration.NEXT_INVOICE), at=MID)
    assert [line.discounts for line in SUBSCRIPTION.of(changed.books, SUBSCRIPTION_ID).pending] == [(), ()]
    assert totals(changed.when(renew(FEBRUARY), at=FEBRUARY)) == [1_400, 8_400 - 700 + 4_200]


def test_a_draft_has_none_of_what_came_at_its_instant_and_after_it() -> None:
    """On a test clock time stands still: what was given back of the draft until then is all of it."""
    grace = ChangeBillingSettings(grace_s=HOUR)
    offered = given(create_customer(), *plan_on_sale(in_advance=SEATS), grace, create_coupon(forever(percent(50))))
    begun = offered.and_then(subscribe(), to_seats(3, Proration.NEXT_INVOICE), apply_to_customer())
    assert totals(begun.when(FINALIZED, at=NOW)) == [2_800]


def test_an_item_stays_on_a_draft_where_discounts_would_move_to_what_was_given_back() -> None:
    """20.00 off come off two lines alike, of which the first is then given back in part."""
    grace = ChangeBillingSettings(grace_s=20 * 24 * HOUR)
    off = create_coupon(forever(amount(2_000)))
    offered = given(create_customer(), *plan_on_sale(in_advance=SEATS), grace, off)
    item = line(2_800, line_id=id_of("il_", 9))
    begun = offered.and_then(apply_to_customer(), subscribe())
    drafted = begun.and_then(AddInvoiceItem(invoice_id=period_invoice(0), line=item))
    remove = RemoveInvoiceItem(invoice_id=period_invoice(0), line_id=item.line_id)
    credited = drafted.and_then(to_seats(2, Proration.NEXT_INVOICE), at=NOW)
    credited.when(remove).then_refused(InvoiceIsCredited, credited=1_800)


def test_a_draft_is_discounted_by_what_held_when_it_was_due_whatever_becomes_of_its_subscription() -> None:
    offered = given(create_customer(), *plan_on_sale(in_advance=SEATS), create_coupon(terms(percent(50))))
    begun = offered.and_then(ChangeBillingSettings(grace_s=HOUR), subscribe(coupons=begins_with(1)))
    begun.and_then(cancel_now(), at=NOW + timedelta(minutes=5))
    finalized = begun.when(FINALIZED, at=NOW + timedelta(hours=2))
    assert totals(finalized) == [1_400]
    finalized.then_shows(DISCOUNT, DISCOUNT_ID, periods_used=1, end_reason=DiscountEnd.SUBSCRIPTION_CANCELED)


def test_what_is_billed_together_is_discounted_once_for_the_customer_and_by_each_on_its_own_lines() -> None:
    second = id_of("sub_", 2)
    offered = given(
        create_customer(),
        *plan_on_sale(in_advance=SEATS),
        create_coupon(forever(percent(50))),
        create_coupon(terms(amount(300), periods=2), 2),
    )
    begun = offered.and_then(
        subscribe(coupons=begins_with(1), billed_together=True),
        subscribe(subscription_id=second, billed_together=True),
        apply_to_customer(2),
    )
    together = begun.when(renew(FEBRUARY), at=FEBRUARY)
    assert totals(together) == [1_400, 2_800, 1_400 + 2_800 - 300]
    together.then_shows(DISCOUNT, id_of("disc_", 2), periods_used=1, ended_at=None)
    assert totals(together.when(renew(MARCH), at=MARCH))[-1] == 1_400 + 2_800 - 300
