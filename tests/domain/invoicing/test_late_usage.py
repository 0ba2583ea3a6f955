"""Specifications of late usage: what comes, or is taken back, for a period that is billed already."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.invoicing.credit_note import IssueCreditNote
from domain.invoicing.crediting import left_of
from domain.invoicing.explanation import explain_billed
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.late_usage import LateReason, Part, Rerated, given_back, parts_of
from domain.invoicing.settlement import InvoiceIsCredited
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_request import (
    VOIDED_USAGE,
    BillUsage,
    CountedUsage,
    RecountedUsage,
    voided_usage_of,
)
from domain.kernel.money import sum_money
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation
from domain.pricing.amount import amount_of
from domain.pricing.breakdown import PortionKind
from domain.pricing.models import BoundedPrice, Commitment, Price
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from testing.examples.discounts import apply_to_customer, create_coupon, forever, percent, terms
from testing.examples.pricing import per_unit, percentage, volume
from testing.examples.streams import (
    CUSTOMER_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import APRIL, FEBRUARY, MARCH, period_invoice, renew
from testing.examples.taxes import BERLIN, taxed_in_germany
from testing.examples.usage import (
    METER_ID,
    OTHER_USAGE_PRICE_ID,
    TIERS,
    USAGE_PRICE_ID,
    create_meter,
    invoice_of,
    snapshot,
    usage_price,
)
from testing.specification import Claimed, Given, Result, given

FIRST, SECOND, THIRD = (period_invoice(n) for n in (1, 2, 3))


def billed_first(price: Price, quantity: int, *further: Command, until: datetime = MARCH, **customer: Any) -> Given:
    """The first period is billed, with so much, and the second is over, unless it is to be as it was before."""
    told = given(create_customer(**customer), create_meter(), *plan_on_sale(), usage_price(price=price), *further)
    told = told.and_then(subscribe(USAGE_PRICE_ID)).and_then(renew(FEBRUARY), at=FEBRUARY)
    told = told.and_then(bill(told, FIRST, quantity), at=FEBRUARY)
    return told if until == FEBRUARY else told.and_then(renew(MARCH), at=MARCH)


def bill(
    told: Given, invoice_id: str, quantity: int, *late: RecountedUsage, closing: int = 1, amounts: Sequence[int] = ()
) -> BillUsage:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.lacks_usage)
    seen = snapshot(quantity, closing)
    counted = CountedUsage(line_id=line.line_id, snapshot=seen, amounts=tuple(map(Decimal, amounts)), late=late)
    return BillUsage(invoice_id=invoice_id, counted=(counted,))


def recounted(told: Given, invoice_id: str, quantity: int, events: int = 3) -> RecountedUsage:
    line = invoice_of(told, invoice_id).lines[0]
    return RecountedUsage(invoice_id=invoice_id, line_id=line.line_id, quantity=Fraction(quantity), events=events)


def second(told: Given, quantity: int, *late: RecountedUsage) -> Result:
    return told.when(bill(told, SECOND, quantity, *late, closing=2), at=MARCH)


def late_of(invoice: Invoice) -> Sequence[InvoiceLine]:
    return [line for line in invoice.lines if line.usage is not None and line.usage.late is not None]


def test_what_came_late_is_the_difference_to_what_its_period_billed_by_its_price() -> None:
    told = billed_first(TIERS, 4)
    done = second(told, 1, recounted(told, FIRST, 7))
    (line,) = late_of(invoice_of(done, SECOND))
    assert line.usage is not None
    assert line.usage.late is not None
    assert (line.amount, line.quantity, line.kind) == (usd(70), Decimal(3), InvoiceLineKind.USAGE)
    assert (line.usage.late.invoice_id, line.usage.late.reason) == (FIRST, LateReason.LATE)
    first = invoice_of(done, FIRST).lines[0]
    assert (line.period_start, line.period_end) == (first.period_start, first.period_end)
    assert invoice_of(done, SECOND).total == usd(110 + 70)


def test_within_the_minimum_of_its_period_it_costs_nothing_and_is_told() -> None:
    told = billed_first(BoundedPrice(model=per_unit(10), minimum=usd(500)), 4)
    done = second(told, 1, recounted(told, FIRST, 7))
    (line,) = late_of(invoice_of(done, SECOND))
    assert (line.amount, line.quantity) == (usd(0), Decimal(3))


def test_what_is_known_by_now_is_explained_less_what_was_billed_before() -> None:
    told = billed_first(TIERS, 4)
    done = second(told, 1, recounted(told, FIRST, 7))
    billed = invoice_of(done, SECOND)
    for line, node in zip(billed.lines, explain_billed(billed.lines, USD).children, strict=True):
        assert sum(each.amount for each in node.children[0].children) == line.amount.amount
    portions = explain_billed(late_of(billed), USD).children[0].children[0].children
    assert [each.amount for each in portions if each.portion == "billed_before"] == [-140]


def test_of_single_events_a_late_one_that_was_the_first_is_free_in_place_of_another() -> None:
    price, meter = percentage(10, 100, free_events=1), replace(create_meter(), aggregation=Aggregation.AMOUNTS)
    told = given(create_customer(), meter, *plan_on_sale(), usage_price(price=price))
    told = told.and_then(subscribe(USAGE_PRICE_ID)).and_then(renew(FEBRUARY), at=FEBRUARY)
    told = told.and_then(bill(told, FIRST, 3_000, amounts=(1_000, 2_000)), at=FEBRUARY).and_then(renew(MARCH), at=MARCH)
    assert invoice_of(told, FIRST).total == usd(200 + 100)
    known = replace(recounted(told, FIRST, 8_000), amounts=tuple(map(Decimal, (5_000, 1_000, 2_000))))
    done = second(told, 0, known)
    (line,) = late_of(invoice_of(done, SECOND))
    assert (line.amount, line.quantity) == (usd(100 + 100), Decimal(5_000))
    assert sum(each.amount for each in explain_billed([line], USD).children[0].children[0].children) == 200


def test_what_was_taken_back_is_a_credit_of_the_line_that_billed_it() -> None:
    told = billed_first(per_unit(10), 4)
    done = second(told, 0, recounted(told, FIRST, 1, events=1))
    (line,) = late_of(invoice_of(done, SECOND))
    assert line.gives_back is not None
    assert (line.amount, line.kind, line.gives_back.invoice_id) == (usd(-30), InvoiceLineKind.CREDIT, FIRST)
    assert line.usage is not None
    assert line.usage.late is not None
    assert line.usage.late.reason is LateReason.VOIDED
    assert invoice_of(done, FIRST).unused_credits[0].amount == usd(30)
    done.when(VoidInvoice(invoice_id=FIRST), at=MARCH).then_refused(InvoiceIsCredited)


def parts_told(invoice: Invoice) -> list[list[tuple[str, int]]]:
    """Of each line of late usage its portions, once they were seen to add up to it."""
    found: list[list[tuple[str, int]]] = []
    for line, node in zip(invoice.lines, explain_billed(invoice.lines, USD).children, strict=True):
        price = node.children[0]
        if price.children:
            assert sum(each.amount for each in price.children) == line.amount.amount
        if line.usage is not None and line.usage.late is not None:
            told = [(str(each.portion), int(each.amount)) for each in price.children if each.portion is not None]
            found.append(told)
    return found


def test_a_late_credit_is_explained_as_a_late_charge_is() -> None:
    told = billed_first(TIERS, 7)
    done = second(told, 0, recounted(told, FIRST, 4, events=1))
    (parts,) = parts_told(invoice_of(done, SECOND))
    assert parts == [("tier_flat", 100), ("tier_units", 40), ("billed_before", -210)]


def test_of_several_credits_each_says_what_the_others_give_back_and_what_discounts_had_taken_off() -> None:
    """5 units at half the price, then 3 more at the whole: 6 are taken back, 3 of each line."""
    told = billed_first(per_unit(10), 5, create_coupon(terms(percent(50))), apply_to_customer())
    assert invoice_of(told, FIRST).total == usd(25)
    told = second(told, 0, recounted(told, FIRST, 8)).and_then(renew(APRIL), at=APRIL)
    assert invoice_of(told, SECOND).total == usd(30)
    done = told.when(bill(told, THIRD, 0, recounted(told, FIRST, 2), closing=3), at=APRIL)
    now = [("units", 20), ("billed_before", -80)]
    assert parts_told(invoice_of(done, THIRD)) == [
        [*now, ("given_back_elsewhere", 30)],
        [*now, ("given_back_elsewhere", 30), ("not_paid", 15)],
    ]
    assert [line.amount for line in late_of(invoice_of(done, THIRD))] == [usd(-30), usd(-15)]


def test_what_comes_to_less_than_nothing_is_billed_as_nothing_and_told() -> None:
    told = billed_first(per_unit(10), -200, until=FEBRUARY)
    (line,) = invoice_of(told, FIRST).lines
    below, units = explain_billed([line], USD).children[0].children[0].children
    assert (line.amount, line.quantity) == (usd(0), Decimal(0))
    assert (below.portion, below.quantity, below.amount) == (PortionKind.NOT_BELOW_ZERO, Fraction(-200), Fraction(0))
    assert (units.portion, units.quantity) == (PortionKind.UNITS, Fraction(0))


def test_no_more_is_given_back_than_discounts_had_left_to_be_paid_with_the_tax_it_bore() -> None:
    half = create_coupon(forever(percent(50))), create_customer(tax_location=BERLIN), apply_to_customer()
    told = given(*taxed_in_germany(), *half, create_meter(), *plan_on_sale(), usage_price(price=per_unit(100)))
    told = told.and_then(subscribe(USAGE_PRICE_ID)).and_then(renew(FEBRUARY), at=FEBRUARY)
    told = told.and_then(bill(told, FIRST, 10), at=FEBRUARY).and_then(renew(MARCH), at=MARCH)
    assert invoice_of(told, FIRST).total == usd(595)
    done = second(told, 0, recounted(told, FIRST, 0, events=0))
    assert invoice_of(done, SECOND).total == usd(-595)


def credit_note(invoice_id: str, minor: int) -> IssueCreditNote:
    return IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=invoice_id, amount=usd(minor))


@pytest.mark.parametrize(("credited", "given_back"), [(30, 20), (50, 0)])
def test_what_comes_back_is_billed_as_far_as_it_was_given_back(credited: int, given_back: int) -> None:
    """A credit note had given the rest of it back before, which is nobody's reason to bill that once more."""
    told = billed_first(per_unit(10), 5).and_then(credit_note(FIRST, credited), at=MARCH)
    told = second(told, 0, recounted(told, FIRST, 0, events=0)).and_then(renew(APRIL), at=APRIL)
    assert invoice_of(told, SECOND).total == usd(-given_back)
    done = told.when(bill(told, THIRD, 0, recounted(told, FIRST, 5), closing=3), at=APRIL)
    assert invoice_of(done, THIRD).total == usd(given_back)
    invoices = (invoice_of(done, each) for each in (FIRST, SECOND, THIRD))
    assert sum(each.total.amount for each in invoices) - credited == 50 - credited


def test_of_several_lines_each_is_given_back_as_far_as_something_is_left_of_it() -> None:
    """5 units, then 3 more with the next invoice, of which a credit note gave back 20: so 10 are left of the 30."""
    told = billed_first(per_unit(10), 5)
    told = second(told, 0, recounted(told, FIRST, 8)).and_then(credit_note(SECOND, 20), renew(APRIL), at=APRIL)
    told = told.and_then(bill(told, THIRD, 0, recounted(told, FIRST, 4), closing=3), at=APRIL)
    given_back_ = [
        (line.amount, line.gives_back and line.gives_back.invoice_id) for line in late_of(invoice_of(told, THIRD))
    ]
    assert given_back_ == [(usd(-10), SECOND), (usd(-10), FIRST)]
    may = told.books.states["subscription", SUBSCRIPTION_ID].period_end
    told = told.and_then(renew(may), at=may)
    done = told.when(bill(told, period_invoice(4), 0, recounted(told, FIRST, 0, events=0), closing=4), at=may)
    (line,) = late_of(invoice_of(done, period_invoice(4)))
    assert (line.amount, line.gives_back and line.gives_back.invoice_id) == (usd(-40), FIRST)


@examples(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60)), max_size=5),
    st.sampled_from([None, 50, 10]),
)
def test_nobody_pays_more_for_a_period_than_it_comes_to_nor_is_given_back_more_than_they_paid(
    quantity: int, told_later: list[tuple[int, int]], off: int | None
) -> None:
    """However much comes late and is taken back, and credit notes give back of it meanwhile. The model: what credit
    notes gave back stays given; so all invoices come to what the period comes to, or more by at most that much.
    """
    coupon = () if off is None else (create_coupon(forever(percent(off))), apply_to_customer())
    told = billed_first(per_unit(100), quantity, *coupon, until=FEBRUARY)
    factor = Fraction(100 - (off or 0), 100)
    noted, at = 0, FEBRUARY
    for nth, (known, minor) in enumerate(told_later, start=2):
        for invoice in _invoices(told):
            left = sum(each.left.amount for each in left_of(invoice).values())
            if invoice.status is not InvoiceStatus.DRAFT and (wanted := min(minor * 10, left)) > 0:
                note = replace(
                    credit_note(invoice.invoice_id, wanted), credit_note_id=id_of("cn_", len(told.books.log))
                )
                told.and_then(note, at=at)
                noted += wanted
        at = told.books.states["subscription", SUBSCRIPTION_ID].period_end
        told.and_then(renew(at), at=at)
        late = recounted(told, FIRST, known, nth)
        told.and_then(bill(told, period_invoice(nth), 0, late, closing=nth), at=at)
        billed = sum(each.total.amount for each in _invoices(told))
        assert known * 100 * factor <= billed <= known * 100 * factor + noted
        lefts = (
            left_of(each)[line.line_id].left
            for each in _invoices(told)
            for line in each.lines
            if line.amount.amount > 0
        )
        assert all(left.amount >= 0 for left in lefts)


def test_a_volume_price_may_come_to_less_for_more() -> None:
    told = billed_first(volume((5, 10, 0), (None, 5, 0)), 5)
    (line,) = late_of(invoice_of(second(told, 0, recounted(told, FIRST, 6)), SECOND))
    assert (line.amount, line.quantity) == (usd(-20), Decimal(1))


def test_what_comes_between_two_closings_of_one_invoice_is_billed_once() -> None:
    """A change leaves two windows of the meter on the next invoice; each closing tells what it knows of the first."""
    told = billed_first(per_unit(10), 4, usage_price(OTHER_USAGE_PRICE_ID, per_unit(1)), until=FEBRUARY)
    swap = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=OTHER_USAGE_PRICE_ID),),
        remove=(USAGE_PRICE_ID,),
        proration=Proration.NONE,
    )
    told = told.and_then(swap, at=FEBRUARY + timedelta(days=9)).and_then(renew(MARCH), at=MARCH)
    windows = sorted(
        (line for line in invoice_of(told, SECOND).lines if line.lacks_usage), key=lambda line: str(line.period_end)
    )
    counted = [
        CountedUsage(line_id=line.line_id, snapshot=snapshot(1, closing), late=(recounted(told, FIRST, 5 + closing),))
        for closing, line in enumerate(windows, start=2)
    ]
    assert len(counted) == 2
    for order in (counted, counted[::-1]):
        done = told.when(BillUsage(invoice_id=SECOND, counted=tuple(order)), at=MARCH)
        (line,) = late_of(invoice_of(done, SECOND))
        assert (line.amount, line.quantity) == (usd(40), Decimal(4))
        assert [each.quantity for each in invoice_of(done, FIRST).rerated] == [Fraction(8)]


def test_a_voided_invoice_bills_no_late_usage_any_more_and_the_next_one_does() -> None:
    told = billed_first(per_unit(10), 4)
    told = second(told, 0, recounted(told, FIRST, 7))
    told = told.when(VoidInvoice(invoice_id=SECOND), at=MARCH).and_then(renew(APRIL), at=APRIL)
    third = told.when(bill(told, THIRD, 0, recounted(told, FIRST, 8, events=4), closing=3), at=APRIL)
    assert [line.amount for line in late_of(invoice_of(third, THIRD))] == [usd(40)]


def test_what_several_voided_invoices_billed_of_a_period_is_billed_by_the_next_with_its_quantity() -> None:
    told = billed_first(per_unit(10), 4)
    told = second(told, 0, recounted(told, FIRST, 7)).and_then(renew(APRIL), at=APRIL)
    told = told.and_then(bill(told, THIRD, 0, recounted(told, FIRST, 9, events=4), closing=3), at=APRIL)
    told = told.and_then(VoidInvoice(invoice_id=SECOND), VoidInvoice(invoice_id=THIRD), at=APRIL)
    may = told.books.states["subscription", SUBSCRIPTION_ID].period_end
    told = told.and_then(renew(may), at=may)
    done = told.when(bill(told, period_invoice(4), 0, recounted(told, FIRST, 9, events=4), closing=4), at=may)
    (line,) = late_of(invoice_of(done, period_invoice(4)))
    assert (line.amount, line.quantity) == (usd(50), Decimal(5))
    assert line.usage is not None
    assert line.usage.late is not None
    assert line.usage.late.reason is LateReason.LATE


def test_invoices_that_were_voided_with_usage_are_found_by_their_meter() -> None:
    told = billed_first(per_unit(10), 4)
    voided = second(told, 0, recounted(told, FIRST, 7)).when(VoidInvoice(invoice_id=SECOND), at=MARCH)
    assert voided_usage_of(CUSTOMER_ID, METER_ID) == f"{CUSTOMER_ID}:{METER_ID}:"
    voided.then_claims(Claimed(VOIDED_USAGE, f"{CUSTOMER_ID}:{METER_ID}:{SECOND}", SECOND))


def test_a_period_that_two_closings_of_one_invoice_tell_of_is_rated_once_with_what_the_last_one_says() -> None:
    told = given(create_customer(), create_meter(), *plan_on_sale(), usage_price(price=per_unit(10)))
    told = told.and_then(usage_price(OTHER_USAGE_PRICE_ID, price=per_unit(10)), subscribe(USAGE_PRICE_ID))
    told = told.and_then(renew(FEBRUARY), at=FEBRUARY).and_then(bill(told, FIRST, 4), at=FEBRUARY)
    swap = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=OTHER_USAGE_PRICE_ID),),
        remove=(USAGE_PRICE_ID,),
        proration=Proration.NEXT_INVOICE,
    )
    told = told.and_then(swap, at=FEBRUARY + timedelta(days=9)).and_then(renew(MARCH), at=MARCH)
    waiting = sorted((line for line in invoice_of(told, SECOND).lines if line.lacks_usage), key=_began)
    counted = tuple(
        CountedUsage(line_id=line.line_id, snapshot=snapshot(1, closing), late=(recounted(told, FIRST, quantity),))
        for line, closing, quantity in zip(waiting, (2, 3), (5, 7), strict=True)
    )
    done = told.when(BillUsage(invoice_id=SECOND, counted=counted), at=MARCH)
    assert [line.amount for line in late_of(invoice_of(done, SECOND))] == [usd(30)]
    assert [each.amount for each in invoice_of(done, FIRST).rerated] == [usd(30)]


def _began(line: InvoiceLine) -> str:
    return str(line.period_start)


def test_what_an_earlier_closing_told_says_nothing_once_a_later_one_has_rated_the_period() -> None:
    told = billed_first(per_unit(10), 4)
    done = told.when(bill(told, SECOND, 0, recounted(told, FIRST, 7), closing=3), at=MARCH)
    third = done.and_then(renew(APRIL), at=APRIL)
    before = third.when(bill(third, THIRD, 0, recounted(third, FIRST, 5), closing=2), at=APRIL)
    assert late_of(invoice_of(before, THIRD)) == []


def test_of_a_voided_invoice_nothing_is_late() -> None:
    told = billed_first(per_unit(10), 4).and_then(VoidInvoice(invoice_id=FIRST), at=MARCH)
    assert late_of(invoice_of(second(told, 1, recounted(told, FIRST, 7)), SECOND)) == []


def test_what_came_for_a_period_of_the_same_invoice_is_not_late() -> None:
    told = given(create_customer(), create_meter(), *plan_on_sale(), usage_price(price=per_unit(10)))
    told = told.and_then(subscribe(USAGE_PRICE_ID, starts_at=FEBRUARY - timedelta(days=28)), at=MARCH)
    invoice = next(state for (kind, _), state in told.books.states.items() if kind == "invoice")
    first, last = invoice.lines
    late = RecountedUsage(invoice_id=invoice.invoice_id, line_id=first.line_id, quantity=Fraction(5), events=2)
    counted = (
        CountedUsage(line_id=first.line_id, snapshot=snapshot(4)),
        CountedUsage(line_id=last.line_id, snapshot=snapshot(1, 2), late=(late,)),
    )
    done = told.when(BillUsage(invoice_id=invoice.invoice_id, counted=counted), at=MARCH)
    assert [line.amount for line in invoice_of(done, invoice.invoice_id).lines] == [usd(50), usd(10)]


PRICES = (
    TIERS,
    per_unit(10),
    volume((5, 10, 0), (None, 5, 0)),
    BoundedPrice(model=per_unit(10), minimum=usd(60)),
    BoundedPrice(model=per_unit(10), commitment=Commitment(amount=usd(60), overage_factor=Decimal(2), prepaid=False)),
)


@examples(
    st.sampled_from(PRICES),
    st.lists(st.lists(st.integers(-3, 9), max_size=4), min_size=2, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_each_period_comes_to_what_one_bill_with_all_that_is_known_would_say(
    price: Price, said: list[list[int]], voids: list[bool]
) -> None:
    """`said[n][k]` is used, or taken back, of period k and told when period n is closed: the model is one bill a period
    with all of it.
    """
    told: Any = given(create_customer(), create_meter(), *plan_on_sale(), usage_price(price=price))
    told.and_then(subscribe(USAGE_PRICE_ID))
    known: list[int] = []
    boundary = FEBRUARY
    for n, used in enumerate(said):
        told.and_then(renew(), at=boundary)
        known.append(0)
        for k, quantity in enumerate(used[: n + 1]):
            known[k] += quantity
        late = [recounted(told, period_invoice(k + 1), known[k], n) for k, quantity in enumerate(used[:n]) if quantity]
        told.and_then(bill(told, period_invoice(n + 1), known[n], *late, closing=n + 1), at=boundary)
        boundary = told.books.states["subscription", next(iter(_subscriptions(told)))].period_end
    for k, quantity in enumerate(known):
        billed = sum_money((line.amount for each in _invoices(told) for line in _of_period(each, k)), USD)
        assert billed == amount_of(price, max(quantity, 0), Rounding.HALF_UP), (k, quantity)


def _subscriptions(told: Given) -> list[str]:
    return [stream_id for kind, stream_id in told.books.states if kind == "subscription"]


def _invoices(told: Given) -> list[Invoice]:
    return [state for (kind, _), state in told.books.states.items() if kind == "invoice"]


def _of_period(invoice: Invoice, k: int) -> list[InvoiceLine]:
    of = period_invoice(k + 1)
    return [
        line
        for line in invoice.lines
        if line.usage is not None and (line.usage.late.invoice_id if line.usage.late else invoice.invoice_id) == of
    ]


def rerated(amount: int, by: str, of: str | None = None) -> Rerated:
    return Rerated(
        line_id="il",
        by_invoice_id=by,
        by_line_id="il",
        amount=usd(amount),
        quantity=Fraction(0),
        events=0,
        of_invoice_id=of,
        of_line_id=None if of is None else "il",
    )


def test_the_last_that_was_billed_is_given_back_first() -> None:
    parts = parts_of(
        [Part("a", "il", usd(100))], [rerated(50, "b"), rerated(-20, "c", of="b"), rerated(10, "d"), rerated(-10, "d")]
    )
    assert parts == [Part("a", "il", usd(100)), Part("b", "il", usd(30))]
    assert given_back(parts, usd(70)) == [Part("b", "il", usd(30)), Part("a", "il", usd(40))]
    assert sum_money((part.amount for part in given_back(parts, usd(999))), USD) == usd(130)
