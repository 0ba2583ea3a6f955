"""Specifications of changes of a subscription's items: what is unused is given back, what is new is charged."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.credit_note import CreditExceedsInvoice, IssueCreditNote
from domain.invoicing.crediting import left_of
from domain.invoicing.finalization import InvoiceFinalized, VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.invoicing.settlement import InvoiceIsCredited
from domain.invoicing.state import InvoiceStatus
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.identifiers import INVOICE as INVOICE_PREFIX
from domain.kernel.identifiers import derived_id
from domain.kernel.stream import Command
from domain.pricing.models import PerUnit
from domain.subscriptions.cancellation import CancellationIsScheduled
from domain.subscriptions.change import (
    ChangeIsScheduled,
    ChangeNotAhead,
    ContradictoryChange,
    NoChangeScheduled,
    NothingChanges,
    PriceNotSubscribed,
    Proration,
    SubscriptionIsPaused,
)
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription, UnscheduleChange
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.proration import AnchorMustBeReset
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import OnlyAddOns, PriceOfAnotherPlan
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    MONTH,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, cancel_at_period_end, cancel_now, renew
from testing.moments import utc
from testing.specification import NOW, Books, Given, Result, given

SEAT, BIGGER, YEARLY, ADD_ON = id_of("price_", 5), id_of("price_", 6), id_of("price_", 7), id_of("price_", 8)
BIG_PLAN, ADD_ON_PLAN = id_of("plan_", 5), id_of("plan_", 6)
MID = utc("2026-02-14T10:00")
"""Half of [31 January, 28 February) is left."""
QUARTER_LEFT = utc("2026-02-21T10:00")
YEAR = Interval(IntervalUnit.YEAR)


def price(price_id: str, amount: int | None = None, *, plan_id: str = PLAN_ID, **facts: Any) -> CreatePrice:
    model = PerUnit(currency=USD, unit_amount=Decimal(1_000)) if amount is None else flat(amount)
    return CreatePrice(price_id=price_id, plan_id=plan_id, name=price_id[-4:], price=model, **facts)


CATALOGUE: tuple[Command, ...] = (
    *plan_on_sale(in_advance=flat(2_800), in_arrears=flat(5_600)),
    price(SEAT),
    CreatePlan(plan_id=BIG_PLAN, product_id=PRODUCT_ID, terms=PlanTerms(name="Big", interval=MONTH)),
    price(BIGGER, 8_400, plan_id=BIG_PLAN),
    price(YEARLY, 36_500, interval=YEAR),
    CreatePlan(
        plan_id=ADD_ON_PLAN, product_id=PRODUCT_ID, is_add_on=True, terms=PlanTerms(name="More", interval=MONTH)
    ),
    price(ADD_ON, 1_400, plan_id=ADD_ON_PLAN),
)


def subscribed(*price_ids: str, **facts: Any) -> Given:
    return given(create_customer(), *CATALOGUE).and_then(subscribe(*price_ids, **facts))


def change(*items: tuple[str, int | str] | str, **facts: Any) -> ChangeSubscription:
    named = tuple(
        ChangedItem(price_id=each)
        if isinstance(each, str)
        else ChangedItem(price_id=each[0], quantity=Decimal(each[1]))
        for each in items
    )
    return ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=named, **facts)


def upgrade(**facts: Any) -> ChangeSubscription:
    return change(BIGGER, plan_id=BIG_PLAN, **facts)


def after(outcome: Given) -> Given:
    """From there on, leaving it as it is for another."""
    books = outcome.books
    return Given(Books(dict(books.states), list(books.log), list(books.entries), dict(books.claims), dict(books.due)))


def invoices(outcome: Result) -> list[InvoiceFinalized]:
    return [each.event for each in outcome.books.log if isinstance(each.event, InvoiceFinalized)]


def amounts(outcome: Result) -> list[list[int]]:
    """Of each invoice its lines'."""
    return [[line.amount.amount for line in invoice.lines] for invoice in invoices(outcome)]


def state(outcome: Result) -> Any:
    return outcome.books.get(SUBSCRIPTION, SUBSCRIPTION_ID)


def waiting(outcome: Result) -> list[int]:
    return [line.amount.amount for line in state(outcome).pending]


# --- at once -----------------------------------------------------------------------------------------------------


def test_another_plan_gives_back_what_is_unused_and_charges_the_rest_on_an_invoice_of_its_own() -> None:
    outcome = subscribed().when(upgrade(), at=MID)
    assert amounts(outcome) == [[2_800], [-1_400, 4_200]]
    credit, charge = invoices(outcome)[1].lines
    assert (credit.kind, charge.kind) == (InvoiceLineKind.CREDIT, InvoiceLineKind.PRORATED)
    assert (credit.period_start, credit.period_end) == (charge.period_start, charge.period_end) == (MID, FEBRUARY)
    assert credit.gives_back is not None
    assert (credit.gives_back.invoice_id, credit.gives_back.line_id) == (
        invoices(outcome)[0].invoice_id,
        invoices(outcome)[0].lines[0].line_id,
    )
    assert (state(outcome).terms.plan_id, state(outcome).pending) == (BIG_PLAN, ())
    assert state(outcome).latest_invoice_id == derived_id(INVOICE_PREFIX, SUBSCRIPTION_ID, "change/0")
    renewed = after(outcome).when(renew(), at=FEBRUARY)
    assert amounts(renewed)[2] == [8_400]


def test_the_line_knows_what_was_given_back_of_it_and_gives_no_more() -> None:
    outcome = subscribed().when(upgrade(), at=MID)
    paid = outcome.books.get(INVOICE, invoices(outcome)[0].invoice_id)
    assert paid is not None
    assert [each.amount for each in paid.unused_credits] == [usd(1_400)]
    again = after(outcome).when(change(PRICE_ID, plan_id=PLAN_ID), at=QUARTER_LEFT)
    assert amounts(again)[2] == [-2_100, 700]


def test_more_of_it_is_the_old_quantity_back_and_the_new_one_charged() -> None:
    outcome = subscribed(SEAT).when(change((SEAT, 3)), at=MID)
    assert amounts(outcome) == [[1_000], [-500, 1_500]]
    fewer = after(outcome).when(change((SEAT, 1)), at=QUARTER_LEFT)
    assert amounts(fewer)[2] == [-750, 250]
    assert invoices(fewer)[2].total == usd(-500)
    assert invoices(fewer)[2].applied == usd(-500), (
        "what is given back beyond what is charged is the customer's balance"
    )


def test_several_items_at_once_and_what_stays_is_left_alone() -> None:
    outcome = subscribed(PRICE_ID, SEAT).when(change(ADD_ON, (SEAT, 2)), at=MID)
    assert amounts(outcome)[1] == [-500, 1_000, 700]
    gone = after(outcome).when(change(remove=(ADD_ON, SEAT)), at=QUARTER_LEFT)
    assert amounts(gone)[2] == [-500, -350]
    assert amounts(after(gone).when(renew(), at=FEBRUARY))[3] == [2_800]


def test_in_arrears_what_was_used_of_the_old_is_billed_and_the_rest_at_the_end() -> None:
    outcome = subscribed(PRICE_ID, ARREARS_PRICE_ID).when(change(remove=(ARREARS_PRICE_ID,)), at=MID)
    assert amounts(outcome) == [[2_800], [2_800]]
    assert amounts(after(outcome).when(renew(), at=FEBRUARY))[2:] == [[2_800]]
    back = after(outcome).when(change(ARREARS_PRICE_ID), at=QUARTER_LEFT)
    assert amounts(after(back).when(renew(), at=FEBRUARY))[2:] == [[2_800, 1_400]]


# --- with the next invoice ---------------------------------------------------------------------------------------


def test_lines_wait_for_the_next_invoice_and_leave_with_it() -> None:
    outcome = subscribed().when(upgrade(proration=Proration.NEXT_INVOICE), at=MID)
    assert (amounts(outcome), waiting(outcome)) == ([[2_800]], [-1_400, 4_200])
    renewed = after(outcome).when(renew(), at=FEBRUARY)
    assert (amounts(renewed)[1], waiting(renewed)) == ([8_400, -1_400, 4_200], [])
    assert amounts(after(renewed).when(renew(), at=MARCH))[2] == [8_400]


@pytest.mark.parametrize("ends", [cancel_now(), PauseSubscription(subscription_id=SUBSCRIPTION_ID)])
def test_whatever_is_billed_next_takes_them_along(ends: Command) -> None:
    outcome = subscribed().when(upgrade(proration=Proration.NEXT_INVOICE), at=MID).when(ends, at=QUARTER_LEFT)
    assert (amounts(outcome)[1], waiting(outcome)) == ([-1_400, 4_200], [])


def test_changes_at_one_moment_net_out() -> None:
    outcome = subscribed().when(upgrade(proration=Proration.NEXT_INVOICE), at=MID)
    back = after(outcome).when(change(PRICE_ID, plan_id=PLAN_ID, proration=Proration.NEXT_INVOICE), at=MID)
    assert waiting(back) == []
    paid = back.books.get(INVOICE, invoices(back)[0].invoice_id)
    assert paid is not None
    assert paid.unused_credits == ()
    other = after(outcome).when(
        change((SEAT, 4), PRICE_ID, plan_id=PLAN_ID, remove=(), proration=Proration.NEXT_INVOICE), at=MID
    )
    assert waiting(other) == [2_000]


def test_a_credit_for_what_waits_leaves_with_it_and_holds_once_it_is_billed() -> None:
    later = Proration.NEXT_INVOICE
    outcome = (
        subscribed(PRICE_ID, YEARLY)
        .when(change(remove=(YEARLY,), proration=later), at=NOW)
        .when(change(YEARLY, proration=later), at=MID)
    )
    (charge,) = (line for line in state(outcome).pending if line.amount.amount > 0)
    fewer = after(outcome).when(change(remove=(YEARLY,), proration=later), at=QUARTER_LEFT)
    credit = state(fewer).pending[-1]
    assert credit.gives_back.line_id == charge.line_id
    assert credit.gives_back.invoice_id is None
    renewed = after(fewer).when(renew(), at=FEBRUARY)
    bill = invoices(renewed)[-1]
    assert bill.lines[-1].gives_back is not None
    assert bill.lines[-1].gives_back.invoice_id == bill.invoice_id
    kept = renewed.books.get(INVOICE, bill.invoice_id)
    assert kept is not None
    left = left_of(kept)
    assert (left[charge.line_id].left, left[credit.line_id].left) == (charge.amount + credit.amount, usd(0))


def renewed_with_a_credit_beside_its_charge(*settings: Command) -> Result:
    later = Proration.NEXT_INVOICE
    return (
        subscribed(PRICE_ID)
        .and_then(*settings)
        .and_then(change(YEARLY, proration=later), at=MID)
        .and_then(change(remove=(YEARLY,), proration=later), at=QUARTER_LEFT)
        .when(renew(FEBRUARY), at=FEBRUARY)
    )


def test_a_whole_invoice_with_a_credit_for_a_line_beside_it_can_be_credited() -> None:
    bill = renewed_with_a_credit_beside_its_charge()
    (_, invoice) = invoices(bill)
    assert len(invoice.lines) == 3
    whole = IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=invoice.invoice_id)
    bill.when(whole, at=FEBRUARY).then_shows(INVOICE, invoice.invoice_id, amount_credited=invoice.total)


def test_a_draft_with_a_credit_for_a_line_beside_it_can_be_taken_back() -> None:
    drafted = renewed_with_a_credit_beside_its_charge(ChangeBillingSettings(grace_s=3_600))
    (draft,) = [each for each in drafted.books.states.values() if getattr(each, "status", None) == InvoiceStatus.DRAFT]
    assert len(draft.lines) == 3
    voided = drafted.when(VoidInvoice(invoice_id=draft.invoice_id), at=FEBRUARY)
    voided.then_shows(INVOICE, draft.invoice_id, status=InvoiceStatus.VOID)


# --- nothing, or another schedule --------------------------------------------------------------------------------


def test_without_proration_the_running_period_stays_as_it_was_billed() -> None:
    outcome = subscribed(PRICE_ID, ARREARS_PRICE_ID).when(
        upgrade(proration=Proration.NONE, remove=(ARREARS_PRICE_ID,)), at=MID
    )
    assert amounts(outcome) == [[2_800]]
    assert amounts(after(outcome).when(renew(), at=FEBRUARY))[1] == [8_400, 5_600]


def test_another_interval_wants_a_new_anchor_and_its_period_begins_at_once() -> None:
    subscribed().when(change(YEARLY, remove=(PRICE_ID,)), at=MID).then_refused(
        AnchorMustBeReset, interval="year", count=1
    )
    outcome = subscribed().when(change(YEARLY, remove=(PRICE_ID,), resets_anchor=True), at=MID)
    assert amounts(outcome)[1] == [36_500, -1_400]
    now = state(outcome)
    assert (now.anchor_at, now.period_start, now.period_end) == (MID, MID, utc("2027-02-14T10:00"))
    renewed = after(outcome).when(renew(), at=utc("2027-02-14T10:00"))
    assert amounts(renewed)[2] == [36_500]
    assert state(renewed).period_end == utc("2028-02-14T10:00")


def test_at_the_end_of_the_period_another_interval_is_another_schedule() -> None:
    outcome = subscribed().when(change(YEARLY, remove=(PRICE_ID,), proration=Proration.PERIOD_END), at=MID)
    assert (amounts(outcome), state(outcome).scheduled.at) == ([[2_800]], FEBRUARY)
    renewed = after(outcome).when(renew(), at=FEBRUARY)
    assert amounts(renewed)[1] == [36_500]
    assert (state(renewed).scheduled, state(renewed).period_end) == (None, utc("2027-02-28T10:00"))


def test_an_item_of_a_longer_interval_begins_with_what_is_left_of_its_period() -> None:
    outcome = subscribed().when(change(YEARLY), at=MID)
    share = Fraction(365 - 14, 365)
    (line,) = invoices(outcome)[1].lines
    assert (line.amount.amount, line.pricing and line.pricing.share) == (round(36_500 * share), share)
    assert state(outcome).longer[0].end == utc("2027-01-31T10:00")


def test_where_the_anchor_is_reset_what_was_used_in_arrears_is_billed_once_by_its_days() -> None:
    """Half of the period is used, of what is subscribed to already; what is new owes nothing for it."""
    outcome = subscribed(PRICE_ID, ARREARS_PRICE_ID).when(change(SEAT, resets_anchor=True), at=MID)
    assert amounts(outcome)[1] == [2_800, 1_000, -1_400, 2_800]
    calls = subscribed(PRICE_ID).when(change(ARREARS_PRICE_ID, resets_anchor=True), at=MID)
    assert amounts(calls)[1] == [2_800, -1_400]
    later = calls.when(renew(), at=utc("2026-03-14T10:00"))
    assert amounts(later)[2] == [2_800, 5_600]


# --- scheduled ---------------------------------------------------------------------------------------------------


def test_at_the_period_s_end_what_was_owed_for_it_is_billed_by_the_old_and_the_new_begins() -> None:
    outcome = subscribed(PRICE_ID, ARREARS_PRICE_ID).when(
        upgrade(remove=(ARREARS_PRICE_ID,), proration=Proration.PERIOD_END), at=MID
    )
    renewed = after(outcome).when(renew(), at=FEBRUARY)
    assert amounts(renewed)[1] == [8_400, 5_600]
    assert state(renewed).terms.plan_id == BIG_PLAN


def test_on_a_date_the_timer_changes_it_as_if_somebody_had_then() -> None:
    outcome = subscribed().when(upgrade(effective_at=MID))
    assert outcome.done.scheduled[0].due_at == MID
    passed = after(outcome).when(renew(MID), at=MID)
    assert amounts(passed) == amounts(subscribed().when(upgrade(), at=MID))


def test_a_scheduled_change_is_taken_back_or_stands_in_the_way() -> None:
    outcome = subscribed().when(upgrade(proration=Proration.PERIOD_END), at=MID)
    after(outcome).when(change(ADD_ON), at=MID).then_refused(
        ChangeIsScheduled, subscription=SUBSCRIPTION_ID, effective_at="2026-02-28T10:00:00Z"
    )
    undone = after(outcome).when(UnscheduleChange(subscription_id=SUBSCRIPTION_ID), at=MID)
    assert state(undone).scheduled is None
    assert amounts(after(undone).when(renew(), at=FEBRUARY))[1] == [2_800]
    after(undone).when(UnscheduleChange(subscription_id=SUBSCRIPTION_ID), at=MID).then_refused(
        NoChangeScheduled, subscription=SUBSCRIPTION_ID
    )


def test_a_pause_holds_up_a_change_and_its_end_lets_it_through() -> None:
    paused = (
        subscribed()
        .when(upgrade(effective_at=QUARTER_LEFT))
        .when(PauseSubscription(subscription_id=SUBSCRIPTION_ID), at=MID)
    )
    resumed = after(paused).when(ResumeSubscription(subscription_id=SUBSCRIPTION_ID), at=utc("2026-02-24T10:00"))
    assert state(resumed).terms.plan_id == PLAN_ID
    changed = after(resumed).when(renew(), at=utc("2026-02-24T10:00"))
    assert state(changed).terms.plan_id == BIG_PLAN
    assert amounts(changed)[1] == [-400, 1_200]


# --- before and after --------------------------------------------------------------------------------------------


def test_before_its_first_period_nothing_is_billed() -> None:
    outcome = subscribed(trial_days=30).when(upgrade(), at=MID)
    assert (amounts(outcome), state(outcome).status) == ([], SubscriptionStatus.TRIALING)
    assert amounts(after(outcome).when(renew(), at=utc("2026-03-02T10:00"))) == [[8_400]]


def test_what_a_voided_invoice_billed_is_not_given_back_and_what_its_credits_gave_back_is_there_again() -> None:
    first = subscribed()
    voided = VoidInvoice(invoice_id=invoices(after(first).when(renew(), at=FEBRUARY))[0].invoice_id)
    assert amounts(after(first).when(voided).when(upgrade(), at=MID))[1] == [4_200]
    changed = after(first).when(upgrade(), at=MID)
    after(changed).when(voided, at=MID).then_refused(InvoiceIsCredited, invoice=voided.invoice_id, credited=1_400)
    undone = after(changed).when(VoidInvoice(invoice_id=invoices(changed)[1].invoice_id), at=MID)
    paid = undone.books.get(INVOICE, invoices(changed)[0].invoice_id)
    assert paid is not None
    assert paid.unused_credits == ()


def test_a_credit_note_and_a_change_never_give_back_more_than_the_line_billed() -> None:
    paid = subscribed()
    invoice_id = invoices(after(paid).when(renew(), at=FEBRUARY))[0].invoice_id
    noted = after(paid).when(note(invoice_id, 2_000), at=MID)
    assert amounts(after(noted).when(upgrade(), at=MID))[1] == [-800, 4_200]
    changed = after(paid).when(upgrade(), at=MID)
    after(changed).when(note(invoice_id, 1_401), at=MID).then_refused(CreditExceedsInvoice, wanted=1_401, left=1_400)
    assert after(changed).when(note(invoice_id, 1_400), at=MID).done


def note(invoice_id: str, amount: int) -> IssueCreditNote:
    return IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=invoice_id, amount=usd(amount))


# --- refused -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_changed_so_is_refused() -> None:
    one = subscribed()
    after(one).when(change(PRICE_ID)).then_refused(NothingChanges, subscription=SUBSCRIPTION_ID)
    after(one).when(change(remove=(SEAT,))).then_refused(PriceNotSubscribed, price=SEAT).then_is_about("remove.0")
    after(one).when(change(BIGGER)).then_refused(PriceOfAnotherPlan, price=BIGGER, plan=PLAN_ID, belongs_to=BIG_PLAN)
    after(one).when(change(ADD_ON, remove=(PRICE_ID,))).then_refused(OnlyAddOns, plan=PLAN_ID)
    after(one).when(upgrade(effective_at=NOW)).then_refused(
        ChangeNotAhead, effective_at="2026-01-31T10:00:00Z", now="2026-01-31T10:00:00Z"
    )
    after(one).when(upgrade(effective_at=MID, proration=Proration.PERIOD_END)).then_refused(
        ContradictoryChange, effective_at="2026-02-14T10:00:00Z"
    )
    after(one).and_then(PauseSubscription(subscription_id=SUBSCRIPTION_ID)).when(upgrade()).then_refused(
        SubscriptionIsPaused, subscription=SUBSCRIPTION_ID
    )
    after(one).and_then(cancel_at_period_end()).when(upgrade()).then_refused(
        CancellationIsScheduled, subscription=SUBSCRIPTION_ID, cancel_at="2026-02-28T10:00:00Z"
    )
