"""Periods that several invoices bill, of which the last one is voided: those before it stay, and so what was used until
then is still rated again.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.explanation import explain_billed
from domain.invoicing.finalization import InvoiceIsRatedAgain, VoidInvoice
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.late_usage import InvoiceUsageCutShort
from domain.invoicing.state import InvoiceStatus
from domain.invoicing.usage_request import BillUsage, CountedUsage, RecountedUsage
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import sum_money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import explain
from domain.pricing.models import BoundedPrice, Price
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar
from testing.examples.pricing import package, per_unit, volume
from testing.examples.streams import SUBSCRIPTION_ID, USD, create_customer, plan_on_sale, subscribe, usd
from testing.examples.subscriptions import APRIL, FEBRUARY, MARCH, period_invoice, renew
from testing.examples.usage import TIERS, USAGE_PRICE_ID, create_meter, invoice_of, invoices_of, snapshot, usage_price
from testing.specification import NOW, Given, Result, given

FIRST, SECOND, THIRD = (period_invoice(n) for n in (1, 2, 3))
DAY = timedelta(days=1)
SLICES = tuple(derived_id(INVOICE, SUBSCRIPTION_ID, f"usage/{nth}") for nth in range(3))


def billed(price: Price, *quantities: int, grace_s: int = 0) -> Given:
    """The usage of the first period is billed so far, each time with so much, and the period is over, whose invoice has
    so much time as a draft.
    """
    told = given(create_customer(), create_meter(), *plan_on_sale(), usage_price(price=price))
    told = told.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=UsageThreshold(amount=usd(1))))
    for nth, quantity in enumerate(quantities):
        at = NOW + (nth + 1) * DAY
        told = told.and_then(so_far(told), at=at)
        told = told.and_then(counted(told, SLICES[nth], quantity, nth + 1), at=at)
    if grace_s:
        told = told.and_then(ChangeBillingSettings(grace_s=grace_s), at=FEBRUARY)
    return told.and_then(renew(FEBRUARY), at=FEBRUARY)


def so_far(told: Given) -> BillUsageSoFar:
    seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    return BillUsageSoFar(
        subscription_id=SUBSCRIPTION_ID,
        price_ids=(USAGE_PRICE_ID,),
        period_index=seen.period_index,
        changes=seen.changes,
        billings_so_far=seen.billings_so_far,
    )


def counted(told: Given | Result, invoice_id: str, quantity: int, closing: int, *late: RecountedUsage) -> BillUsage:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.lacks_usage)
    found = CountedUsage(line_id=line.line_id, snapshot=snapshot(quantity, closing), late=late)
    return BillUsage(invoice_id=invoice_id, counted=(found,))


def known(told: Given | Result, invoice_id: str, quantity: int) -> RecountedUsage:
    """What the time that an invoice billed has come to by now."""
    line_id = invoice_of(told, invoice_id).lines[0].line_id
    return RecountedUsage(invoice_id=invoice_id, line_id=line_id, quantity=Fraction(quantity), events=1)


def late_of(told: Given | Result, invoice_id: str) -> Sequence[InvoiceLine]:
    lines = invoice_of(told, invoice_id).lines
    return [line for line in lines if line.usage is not None and line.usage.late is not None]


def second(told: Given | Result, *late: RecountedUsage, closing: int = 9) -> Result:
    """The invoice of the second period, in which nothing is used."""
    told.and_then(renew(MARCH), at=MARCH)
    return told.when(counted(told, SECOND, 0, closing, *late), at=MARCH)


@pytest.mark.parametrize("is_counted", [True, False])
def test_what_is_taken_back_of_what_a_valid_invoice_billed_is_given_back(is_counted: bool) -> None:
    told = billed(per_unit(10), 20)
    if is_counted:
        told = told.and_then(counted(told, FIRST, 35, 2), at=FEBRUARY)
    voided = told.when(VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    line_ids = (invoice_of(told, SLICES[0]).lines[0].line_id,)
    assert invoice_of(voided, SLICES[0]).cut_short == line_ids
    done = second(voided, known(voided, SLICES[0], 15))
    (line,) = late_of(done, SECOND)
    assert line.gives_back is not None
    assert line.usage is not None
    assert line.usage.late is not None
    assert (line.amount, line.kind, line.gives_back.invoice_id) == (usd(-50), InvoiceLineKind.CREDIT, SLICES[0])
    assert (line.usage.late.quantity, line.usage.late.billed_before) == (Fraction(-5), usd(200))
    assert invoice_of(done, SLICES[0]).unused_credits[0].amount == usd(50)


def test_the_voided_invoice_says_in_the_others_stream_that_its_period_ends_there() -> None:
    told = billed(per_unit(10), 20)
    line_id = invoice_of(told, SLICES[0]).lines[0].line_id
    said = InvoiceUsageCutShort(
        invoice_id=SLICES[0], line_ids=(line_id,), voided_invoice_id=FIRST, cut_short_at=FEBRUARY
    )
    voided = told.when(VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    assert said in [change.event for change in voided.done.changes]


def test_what_came_late_for_the_time_of_the_valid_invoice_is_billed_and_what_was_used_since_given_up() -> None:
    told = billed(TIERS, 4)
    told = told.and_then(counted(told, FIRST, 50, 2), VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    done = second(told, known(told, SLICES[0], 7), known(told, FIRST, 53))
    (line,) = late_of(done, SECOND)
    assert (line.amount, line.quantity, line.period_end) == (usd(70), Decimal(3), NOW + DAY)


def test_nothing_is_raised_to_what_the_voided_rest_of_the_period_had_promised() -> None:
    told = billed(BoundedPrice(model=per_unit(10), minimum=usd(500)), 20).and_then(
        VoidInvoice(invoice_id=FIRST), at=FEBRUARY
    )
    done = second(told, known(told, SLICES[0], 21))
    (line,) = late_of(done, SECOND)
    assert line.amount == usd(10)
    nodes = explain_billed(invoice_of(done, SECOND).lines, USD).children
    for each, node in zip(invoice_of(done, SECOND).lines, nodes, strict=True):
        assert sum(child.amount for child in node.children[0].children) == each.amount.amount


def test_a_period_that_runs_or_that_a_later_invoice_bills_is_not_rated_by_its_slices() -> None:
    told = billed(per_unit(10), 20, 30)
    told = told.and_then(counted(told, FIRST, 35, 3), at=FEBRUARY)
    assert late_of(second(told, known(told, SLICES[0], 15), known(told, SLICES[1], 25)), SECOND) == []


def test_of_several_the_last_that_is_not_void_ends_the_period() -> None:
    told = billed(per_unit(10), 5, 10, 15)
    told = told.and_then(VoidInvoice(invoice_id=SLICES[2]), VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    assert [invoice_of(told, each).cut_short != () for each in SLICES] == [False, True, False]
    told = told.and_then(VoidInvoice(invoice_id=SLICES[1]), at=FEBRUARY)
    assert [invoice_of(told, each).cut_short != () for each in SLICES] == [True, True, False]
    done = second(told, *(known(told, each, 3) for each in SLICES))
    assert [(line.amount, line.usage.late.invoice_id) for line in late_of(done, SECOND)] == [  # type: ignore[union-attr]
        (usd(-20), SLICES[0])
    ]


def test_one_that_a_later_invoice_rated_again_is_voided_behind_that() -> None:
    told = billed(per_unit(10), 20)
    told = told.and_then(counted(told, FIRST, 35, 2), at=FEBRUARY)
    told = second(told, known(told, FIRST, 40)).when(VoidInvoice(invoice_id=FIRST), at=MARCH)
    told.then_refused(InvoiceIsRatedAgain, invoice=FIRST, by=SECOND)
    told = told.and_then(VoidInvoice(invoice_id=SECOND), VoidInvoice(invoice_id=FIRST), renew(APRIL), at=APRIL)
    done = told.when(counted(told, THIRD, 0, 10, known(told, SLICES[0], 22)), at=APRIL)
    assert [line.amount for line in late_of(done, THIRD)] == [usd(20)]


def drafted_and_rated_again() -> Given:
    """The last invoice of a period is counted and has time as a draft; one of usage so far rates the period again."""
    told = billed(per_unit(10), 20, grace_s=3 * 86_400)
    told = told.and_then(counted(told, FIRST, 35, 2), at=FEBRUARY)
    told = told.and_then(so_far(told), at=FEBRUARY + DAY)
    return told.and_then(counted(told, SLICES[1], 1, 3, known(told, FIRST, 40)), at=FEBRUARY + DAY)


def test_a_draft_that_a_later_invoice_rated_again_is_voided_behind_that_as_if_it_were_finalized() -> None:
    drafted = drafted_and_rated_again()
    assert invoice_of(drafted, FIRST).status is InvoiceStatus.DRAFT
    refused = drafted.when(VoidInvoice(invoice_id=FIRST), at=FEBRUARY + DAY)
    refused.then_refused(InvoiceIsRatedAgain, invoice=FIRST, by=SLICES[1])
    told = drafted.and_then(VoidInvoice(invoice_id=SLICES[1]), VoidInvoice(invoice_id=FIRST), at=FEBRUARY + DAY)
    assert invoice_of(told, SLICES[0]).cut_short == (invoice_of(told, SLICES[0]).lines[0].line_id,)


def test_a_test_clock_that_is_deleted_ends_such_a_draft_though_what_rated_it_again_stays() -> None:
    drafted = drafted_and_rated_again()
    ended = drafted.when(VoidInvoice(invoice_id=FIRST, ends_with_clock=True), at=FEBRUARY + DAY)
    assert invoice_of(ended, FIRST).status is InvoiceStatus.VOID
    assert invoice_of(ended, SLICES[0]).cut_short == (), "what is rated stays with the invoice that did"


PRICES = (
    TIERS,
    per_unit(10),
    package(100, 4),
    volume((5, 10, 0), (None, 5, 0)),
    BoundedPrice(model=per_unit(10), minimum=usd(60)),
    BoundedPrice(model=per_unit(10), maximum=usd(80)),
)


@examples(
    st.sampled_from(PRICES),
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=3),
    st.booleans(),
    st.integers(-9, 9),
)
def test_what_stands_is_the_price_of_what_is_known_of_the_time_until_the_last_valid_invoice(
    price: Price, slices: list[tuple[int, bool]], is_counted: bool, late: int
) -> None:
    """Of each slice: how much more it bills, and whether it is voided once the period is over, before the last one."""
    sums = [sum(more for more, _ in slices[: nth + 1]) for nth in range(len(slices))]
    told: Any = billed(price, *sums)
    if is_counted:
        told = told.and_then(counted(told, FIRST, sums[-1] + 5, 8), at=FEBRUARY)
    for nth, (_, is_void) in enumerate(slices):
        invoice = invoice_of(told, SLICES[nth])
        if is_void and invoice.status is InvoiceStatus.OPEN and not invoice.unused_credits:
            told = told.and_then(VoidInvoice(invoice_id=SLICES[nth]), at=FEBRUARY)
    if invoice_of(told, FIRST).status is InvoiceStatus.PAID:
        return  # nothing was due of it
    told = told.and_then(VoidInvoice(invoice_id=FIRST), at=FEBRUARY)
    valid = [nth for nth in range(len(slices)) if invoice_of(told, SLICES[nth]).status is not InvoiceStatus.VOID]
    before = stands(told)
    done = second(told, *(known(told, SLICES[nth], max(sums[nth] + late, 0)) for nth in range(len(slices))))
    more = stands(done) - before
    if not valid:
        assert more == 0
        return
    last = valid[-1]
    amounts = [invoice_of(told, SLICES[nth]).lines[0].amount.amount for nth in range(last + 1)]
    most = sum(amounts[nth] for nth in valid)
    now = explain(price, max(sums[last] + late, 0), Rounding.HALF_UP, period_is_over=False).amount.amount
    assert more == max(now - sum(amounts), -most), "no more is given back than what is valid billed"


def stands(told: Given | Result) -> int:
    """What the invoices that are not void come to for the first period."""
    lines = (
        line
        for each in invoices_of(told)
        if each.status is not InvoiceStatus.VOID
        for line in each.lines
        if each.invoice_id in (FIRST, *SLICES) or (line.usage is not None and line.usage.late is not None)
    )
    return sum_money((line.amount for line in lines), USD).amount
