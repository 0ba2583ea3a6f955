"""Specifications of an invoice whose tax is computed outside: it waits, and nothing is finalized untaxed."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from domain.customers.customer import UpdateCustomer
from domain.customers.tax_location import TaxLocation
from domain.discounts.discount import DiscountApplied
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_note import InvoiceNotCreditable, IssueCreditNote
from domain.invoicing.draft import AddInvoiceItem, InvoiceDrafted, InvoiceNotDraft
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided, VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.invoicing.state import Invoice, InvoiceStatus, WaitingFor
from domain.invoicing.tax_request import (
    FinalizeWithTax,
    InvoiceAwaitsNoTax,
    InvoiceTaxRequested,
    InvoiceTaxUnanswered,
    RecordTaxUnanswered,
)
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE, REVENUE, TAX_PAYABLE, Posting, Side
from domain.kernel.money import sum_money, times
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.pricing.models import PerUnit
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.computation import TaxTreatment
from domain.tax.remote import TaxAnswerUnfit, TaxCalculator
from domain.tax.settings import ChangeTaxSettings
from testing.examples.discounts import apply_to_customer, create_coupon
from testing.examples.streams import (
    CUSTOMER_ID,
    IN_ARREARS,
    INVOICE_ID,
    PERSONAL,
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
    balance_credited,
    create_customer,
    credit,
    debit,
    draft,
    id_of,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.taxes import BERLIN, PARIS, answer_to, create_rate, register, taxed_in_germany
from testing.specification import NOW, Given, Result, given

REMOTE = ChangeTaxSettings(calculator=TaxCalculator.REMOTE)
FINALIZE = FinalizeInvoice(invoice_id=INVOICE_ID)
BY_TABLE = FinalizeInvoice(invoice_id=INVOICE_ID, by_table=True)
VOID = VoidInvoice(invoice_id=INVOICE_ID)
TAX = WorkKind.INVOICE_TAX


def waiting(*lines: InvoiceLine, by: tuple[Command, ...] = (), **customer: Any) -> Result:
    """An invoice of these lines is to be finalized for a customer in Berlin, and a calculator outside is to say its
    tax.
    """
    facts = {"tax_location": BERLIN, **customer}
    return given(*taxed_in_germany(), REMOTE, create_customer(**facts), *by, draft(*lines)).when(FINALIZE)


def invoice(told: Given, invoice_id: str = INVOICE_ID) -> Invoice:
    found = told.books.states[INVOICE.name, invoice_id]
    assert isinstance(found, Invoice)
    return found


def answered(told: Given, *percents: str, invoice_id: str = INVOICE_ID) -> FinalizeWithTax:
    """The answer to what the invoice waits for."""
    found = invoice(told, invoice_id)
    assert found.tax_request is not None
    answer = answer_to(question_of(found), *percents)
    return FinalizeWithTax(invoice_id=invoice_id, attempt=found.tax_request.attempt, answer=answer)


def unanswered(reason: str, attempt: int = 1) -> RecordTaxUnanswered:
    return RecordTaxUnanswered(invoice_id=INVOICE_ID, attempt=attempt, reason=reason)


def tax_payable(amount: int) -> Posting:
    return Posting(TAX_PAYABLE.code, Side.CREDIT, usd(amount), CUSTOMER_ID, "DE")


def test_an_invoice_becomes_a_draft_that_waits_for_its_tax_and_nothing_is_posted() -> None:
    done = waiting(line(1_000))
    (asked,) = done.done.events
    assert isinstance(asked, InvoiceTaxRequested)
    done.then_posts()
    done.then_schedules(Schedule(TAX, INVOICE_ID, after_ms=0))
    found = invoice(done)
    assert (found.status, found.waiting_for, found.number) == (InvoiceStatus.DRAFT, WaitingFor.TAX, None)
    question = question_of(found)
    assert (question.place, question.seller_country, question.on) == (BERLIN, "DE", NOW.date())
    assert [(each.line_id, each.amount) for each in question.lines] == [(found.lines[0].line_id, usd(1_000))]


def test_the_answer_finalizes_it_as_of_the_instant_of_which_it_was_to_be() -> None:
    told = waiting(line(1_000))
    done = told.when(answered(told, "16"), at=NOW + timedelta(days=3))
    done.then_at(NOW)
    done.then_posts(debit(RECEIVABLE, usd(1_160)), credit(DEFERRED_REVENUE, usd(1_000)), tax_payable(160))
    done.then_finishes(Finish(TAX, INVOICE_ID))
    found = invoice(done)
    assert (found.status, found.waiting_for, found.finalized_at) == (InvoiceStatus.OPEN, None, NOW)
    assert found.tax is not None
    (total,) = found.tax.totals
    assert (total.percent, total.jurisdiction, total.taxable, total.tax) == (Decimal(16), "DE", usd(1_000), usd(160))
    assert (found.tax.calculation_id, found.tax.seller_number) == ("txc_1", "DE136695976")
    assert found.lines[0].tax is not None
    assert found.lines[0].tax.shares[0].rate_id == total.rate_id


def test_an_invoice_is_taxed_once() -> None:
    told = waiting(line(1_000))
    again = answered(told, "20")
    told.when(answered(told)).when(again).then_refused(InvoiceAwaitsNoTax, status="open")


def test_included_tax_leaves_the_total_and_a_deduction_bears_its_tax() -> None:
    told = waiting(line(1_190, IN_ARREARS, tax_inclusive=True), line(-500, IN_ARREARS, line_id="il_2"))
    done = told.when(answered(told))
    done.then_posts(debit(RECEIVABLE, usd(595)), credit(REVENUE, usd(500)), tax_payable(95))


def test_an_answer_that_does_not_fit_changes_nothing() -> None:
    told = waiting(line(1_000))
    right = answered(told)
    wrong = replace(right, answer=replace(right.answer, total=usd(191)))
    told.when(wrong).then_refused(TaxAnswerUnfit, reason="total")
    told.when(right).then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.OPEN)


def test_where_no_tax_is_owed_nobody_is_asked() -> None:
    for customer, treatment in (
        ({"tax_exempt": True}, TaxTreatment.EXEMPT),
        ({"tax_location": PARIS, "vat_id_country": "FR"}, TaxTreatment.REVERSE_CHARGE),
        ({"tax_location": TaxLocation(country="US")}, TaxTreatment.NOT_REGISTERED),
    ):
        found = invoice(waiting(line(1_000), **customer))
        assert found.status is InvoiceStatus.OPEN
        assert found.lines[0].tax is not None
        assert found.lines[0].tax.treatment is treatment
        assert found.tax_request is None


def test_why_it_waits_is_said_once_for_each_reason() -> None:
    told = waiting(line(1_000)).when(unanswered("timed_out"))
    told.then(InvoiceTaxUnanswered(invoice_id=INVOICE_ID, reason="timed_out", tried_at=NOW))
    again = told.when(unanswered("timed_out"))
    again.then_nothing()
    other = again.when(unanswered("unreadable"))
    assert invoice(other).tax_request is not None
    assert invoice(other).tax_request.unanswered == "unreadable"  # type: ignore[union-attr]
    other.when(answered(other)).when(unanswered("late")).then_refused(InvoiceAwaitsNoTax)


def test_finalizing_it_again_asks_anew_by_where_the_customer_is_now() -> None:
    told = waiting(line(1_000), by=(create_rate("20", "FR", id_of("txr_", 2)), register("FR", id_of("txreg_", 2))))
    early = answered(told)
    moved = UpdateCustomer(customer_id=CUSTOMER_ID, tax_location=PARIS, personal=PERSONAL)
    again = told.and_then(unanswered("refused"), moved).when(FINALIZE, at=NOW + timedelta(hours=1))
    again.then_schedules(Schedule(TAX, INVOICE_ID, after_ms=0))
    found = invoice(again)
    assert found.tax_request is not None
    assert (found.tax_request.attempt, found.tax_request.unanswered) == (2, None)
    assert question_of(found).place == PARIS
    again.when(early).then_refused(InvoiceAwaitsNoTax)
    done = again.when(answered(again, "20"))
    done.then_at(NOW)
    assert invoice(done).total == usd(1_200)


def test_by_the_table_it_is_finalized_without_an_answer() -> None:
    for told in (waiting(line(1_000)).when(BY_TABLE, at=NOW + timedelta(days=9)),):
        told.then_at(NOW)
        told.then_posts(debit(RECEIVABLE, usd(1_190)), credit(DEFERRED_REVENUE, usd(1_000)), tax_payable(190))
        told.then_finishes(Finish(TAX, INVOICE_ID))
        tax = invoice(told).tax
        assert tax is not None
        assert tax.calculation_id is None
    at_once = given(*taxed_in_germany(), REMOTE, create_customer(tax_location=BERLIN), draft(line(1_000)))
    assert invoice(at_once.when(BY_TABLE)).status is InvoiceStatus.OPEN


def test_once_the_table_computes_again_finalizing_it_again_is_by_the_table() -> None:
    told = waiting(line(1_000)).and_then(ChangeTaxSettings(calculator=TaxCalculator.TABLE))
    assert invoice(told.when(FINALIZE)).total == usd(1_190)


def test_a_draft_that_waits_for_its_tax_is_not_changed_paid_or_credited() -> None:
    told = waiting(line(1_000))
    told.when(AddInvoiceItem(invoice_id=INVOICE_ID, line=line(1, line_id="il_2"))).then_refused(InvoiceNotDraft)
    told.when(PayInvoiceOutOfBand(invoice_id=INVOICE_ID)).then_refused(InvoiceNotOpen).then_tells("waits for its tax")
    note = IssueCreditNote(credit_note_id=id_of("cn_"), invoice_id=INVOICE_ID)
    told.when(note).then_refused(InvoiceNotCreditable)


def test_voided_while_it_waits_it_takes_no_number_and_nobody_is_asked_any_more() -> None:
    told = waiting(line(1_000))
    late = answered(told)
    done = told.when(VOID)
    (voided,) = done.done.events
    assert isinstance(voided, InvoiceVoided)
    done.then_posts()
    done.then_finishes(Finish(TAX, INVOICE_ID))
    done.when(late).then_refused(InvoiceAwaitsNoTax)
    assert invoice(done).waiting_for is None


def test_a_timer_that_comes_late_asks_as_of_its_own_time_and_not_twice() -> None:
    drafts = ChangeBillingSettings(grace_s=3_600)
    customer = create_customer(tax_location=BERLIN)
    billed = given(*taxed_in_germany(), REMOTE, drafts, *plan_on_sale(), customer).when(subscribe())
    subscription = billed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    drafted = subscription.latest_invoice_id
    ends_at = NOW + timedelta(hours=1)
    by_timer = FinalizeInvoice(invoice_id=drafted, due_at=ends_at)
    asked = billed.when(by_timer, at=ends_at + timedelta(days=1))
    asked.then_at(ends_at)
    asked.then_finishes(Finish(WorkKind.INVOICE_FINALIZATION, drafted))
    asked.when(by_timer, at=ends_at + timedelta(days=2)).then_refused(InvoiceNotDraft)
    assert invoice(asked.when(answered(asked, invoice_id=drafted)), drafted).finalized_at == ends_at


def test_what_a_subscription_bills_waits_and_its_periods_go_on() -> None:
    told = given(*taxed_in_germany(), REMOTE, *plan_on_sale(), create_customer(tax_location=BERLIN)).when(subscribe())
    assert [type(each) for each in told.done.events][-2:] == [InvoiceDrafted, InvoiceTaxRequested]
    first = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    renewed = told.when(RenewSubscription(subscription_id=SUBSCRIPTION_ID), at=first.period_end)
    second = renewed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    assert second.latest_invoice_id != first.latest_invoice_id
    late = renewed.when(answered(renewed, invoice_id=second.latest_invoice_id), at=first.period_end)
    assert invoice(late, second.latest_invoice_id).number == "INV-000001", "whoever is answered first is numbered first"
    early = late.when(answered(late, invoice_id=first.latest_invoice_id), at=first.period_end)
    assert invoice(early, first.latest_invoice_id).finalized_at == first.period_start


def test_a_discount_is_used_once_and_taxed_after() -> None:
    told = waiting(line(1_000), by=(create_coupon(), apply_to_customer()))
    uses = [each for each in told.done.events if isinstance(each, DiscountApplied)]
    assert len(uses) == 1
    found = invoice(told)
    left = usd(1_000) - uses[0].amount
    assert [each.amount for each in question_of(found).lines] == [left]
    done = told.when(FINALIZE)
    done.then_schedules(Schedule(TAX, INVOICE_ID, after_ms=0))
    final = done.when(answered(done))
    assert not [each for each in final.done.events if isinstance(each, DiscountApplied)]
    assert invoice(final).total == left + usd(left.amount * 19 // 100)


def test_the_customers_balance_pays_of_it_once_the_tax_is_known() -> None:
    told = waiting(line(1_000)).and_then(balance_credited(1_500))
    done = told.when(answered(told))
    finalized = next(each for each in done.done.events if isinstance(each, InvoiceFinalized))
    assert finalized.applied == usd(1_190)
    assert invoice(done).status is InvoiceStatus.PAID


def test_what_a_change_gives_back_bears_the_tax_that_was_answered_and_is_not_asked_about() -> None:
    seats = plan_on_sale(in_advance=PerUnit(currency=USD, unit_amount=Decimal(1_000)))
    told = given(*taxed_in_germany(), REMOTE, *seats, create_customer(tax_location=BERLIN)).when(subscribe())
    first = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    paid = told.and_then(answered(told, "16", invoice_id=first.latest_invoice_id))
    halfway = first.period_start + (first.period_end - first.period_start) / 2
    more = ChangedItem(price_id=PRICE_ID, quantity=Decimal(3))
    changed = paid.when(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(more,)), at=halfway)
    second = changed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].latest_invoice_id
    waits = invoice(changed, second)
    credit_line = next(each for each in waits.lines if each.gives_back is not None)
    assert credit_line.line_id not in {each.line_id for each in question_of(waits).lines}
    final = invoice(changed.when(answered(changed, "19", invoice_id=second), at=halfway), second)
    assert final.tax is not None
    by_percent = {total.percent: total for total in final.tax.totals}
    assert by_percent.keys() == {Decimal(16), Decimal(19)}
    given_back = by_percent[Decimal(16)]
    assert given_back.taxable == credit_line.amount
    assert given_back.tax == times(credit_line.amount, Decimal("0.16"), Rounding.HALF_UP)
    assert final.total == sum_money((each.total for each in final.lines), USD)
    of_first = invoice(paid, first.latest_invoice_id).tax
    assert of_first is not None
    assert given_back.rate_id == of_first.totals[0].rate_id


FOUR = (RequestedItem(price_id=PRICE_ID, quantity=Decimal(4)),)


def held_back(calculator: TaxCalculator = TaxCalculator.REMOTE) -> tuple[Given, str, str]:
    """Four seats of which two are given back while the invoice that billed them waits for its tax: both invoices."""
    seats = plan_on_sale(in_advance=PerUnit(currency=USD, unit_amount=Decimal(1_000)))
    told = given(*taxed_in_germany(), REMOTE, *seats, create_customer(tax_location=BERLIN))
    told = told.when(subscribe(items=FOUR))
    first = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].latest_invoice_id
    fewer = ChangedItem(price_id=PRICE_ID, quantity=Decimal(2))
    if calculator is not TaxCalculator.REMOTE:
        told = told.and_then(ChangeTaxSettings(calculator=calculator))
    changed = told.when(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(fewer,)), at=NOW)
    return changed, first, changed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].latest_invoice_id


def given_back(told: Given, second: str) -> Invoice:
    """What gives all four seats back and bills two: it bears the tax that the four bore."""
    found = invoice(told, second)
    assert found.number is not None
    (credited,) = [each for each in found.lines if each.gives_back is not None]
    assert (credited.amount, credited.total) == (usd(-4_000), usd(-4_640))
    return found


def test_what_gives_back_a_line_that_waits_for_its_tax_bears_what_that_was_answered_then() -> None:
    told, first, second = held_back()
    late = answered(told, "19", invoice_id=second)
    told = told.when(answered(told, "16", invoice_id=first))
    assert invoice(told, first).total == usd(4_640)
    assert given_back(told.when(late), second).total == usd(-4_640 + 2_380)


def test_nothing_is_due_of_a_draft_of_less_than_nothing() -> None:
    told, _, second = held_back()
    assert (invoice(told, second).total, invoice(told, second).amount_due) == (usd(-2_000), usd(0))


def test_by_the_table_it_is_finalized_behind_what_it_gives_back() -> None:
    told, first, second = held_back()
    by_table = told.when(FinalizeInvoice(invoice_id=second, by_table=True))
    assert (invoice(by_table, first).number, invoice(by_table, second).number) == ("INV-000001", "INV-000002")
    assert (invoice(by_table, first).total, invoice(by_table, second).total) == (usd(4_760), usd(-2_380))


def test_by_the_table_it_gives_back_what_was_answered() -> None:
    told, first, second = held_back()
    told = told.when(answered(told, "16", invoice_id=first))
    own = told.when(FinalizeInvoice(invoice_id=second, by_table=True))
    assert given_back(own, second).total == usd(-4_640 + 2_380)


def test_what_the_table_bills_at_once_finalizes_what_it_gives_back_first() -> None:
    told, first, second = held_back(TaxCalculator.TABLE)
    assert (invoice(told, first).finalized_at, invoice(told, first).total) == (NOW, usd(4_760))
    assert invoice(told, second).total == usd(-2_380)


def test_a_draft_is_asked_about_before_its_time_where_it_is_given_back() -> None:
    seats = plan_on_sale(in_advance=PerUnit(currency=USD, unit_amount=Decimal(1_000)))
    drafts = ChangeBillingSettings(grace_s=3_600)
    told = given(*taxed_in_germany(), REMOTE, drafts, *seats, create_customer(tax_location=BERLIN)).when(subscribe())
    first = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].latest_invoice_id
    assert invoice(told, first).waiting_for is None
    told.and_then(ChangeBillingSettings(grace_s=0))
    more = ChangedItem(price_id=PRICE_ID, quantity=Decimal(3))
    changed = told.when(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(more,)), at=NOW)
    second = changed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].latest_invoice_id
    assert [invoice(changed, each).waiting_for for each in (first, second)] == [WaitingFor.TAX, WaitingFor.TAX]


def test_what_waited_for_the_next_invoice_bears_the_tax_that_is_known_by_then() -> None:
    """The customer has become exempt between the two."""
    seats = plan_on_sale(in_advance=PerUnit(currency=USD, unit_amount=Decimal(1_000)))
    drafts = ChangeBillingSettings(grace_s=3_600)
    customer = create_customer(tax_location=BERLIN)
    told = given(*taxed_in_germany(), drafts, *seats, customer).when(subscribe(items=FOUR))
    first = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    fewer = ChangedItem(price_id=PRICE_ID, quantity=Decimal(2))
    order = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(fewer,), proration=Proration.NEXT_INVOICE)
    told = told.when(order, at=NOW).when(FinalizeInvoice(invoice_id=first.latest_invoice_id))
    told.and_then(ChangeBillingSettings(grace_s=0), UpdateCustomer(customer_id=CUSTOMER_ID, tax_exempt=True))
    renewed = told.when(RenewSubscription(subscription_id=SUBSCRIPTION_ID), at=first.period_end)
    found = invoice(renewed, renewed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].latest_invoice_id)
    (credited,) = [each for each in found.lines if each.gives_back is not None]
    assert (credited.amount, credited.total) == (usd(-4_000), usd(-4_760)), "as the draft was billed, exempt or not"
