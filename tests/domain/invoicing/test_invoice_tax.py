"""Specifications of the tax of an invoice: which rates it bears and why, what that comes to, and what it posts."""

from datetime import timedelta
from typing import Any

import pytest

from domain.customers.customer import UpdateCustomer
from domain.customers.tax_location import TaxLocation
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.explanation import ExplanationKind, explain_billed
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice
from domain.kernel.accounts import (
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    RECEIVABLE,
    REVENUE,
    TAX_PAYABLE,
    Posting,
    Side,
)
from domain.kernel.stream import Command
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.computation import TaxTreatment
from domain.tax.settings import ChangeTaxSettings, EndTaxRegistration
from testing.examples.streams import (
    CUSTOMER_ID,
    IN_ARREARS,
    INVOICE_ID,
    PERSONAL,
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
from testing.examples.subscriptions import FEBRUARY, period_invoice
from testing.examples.taxes import (
    BERLIN,
    IN_GERMANY,
    PARIS,
    QUEBEC,
    RATE_ID,
    REGISTRATION_ID,
    create_rate,
    register,
    taxed_in_germany,
)
from testing.moments import utc
from testing.specification import NOW, Given, Result, given

FINALIZE = FinalizeInvoice(invoice_id=INVOICE_ID)
VOID = VoidInvoice(invoice_id=INVOICE_ID)
GST, QST = id_of("txr_", 11), id_of("txr_", 12)


def tax_payable(amount: int, jurisdiction: str, side: Side = Side.CREDIT) -> Posting:
    return Posting(TAX_PAYABLE.code, side, usd(amount), CUSTOMER_ID, jurisdiction)


def told(*lines: InvoiceLine, by: tuple[Command, ...] = (), **customer: Any) -> Result:
    """An invoice of these lines is finalized for a customer in Berlin unless it is said where; taxed as `by` says."""
    facts = {"tax_location": BERLIN, **customer}
    return given(*(by or taxed_in_germany()), create_customer(**facts), draft(*lines)).when(FINALIZE)


def invoice(told_: Given, invoice_id: str = INVOICE_ID) -> Invoice:
    state = told_.books.states[INVOICE.name, invoice_id]
    assert isinstance(state, Invoice)
    return state


def treatments(found: Invoice) -> set[TaxTreatment]:
    return {each.tax.treatment for each in found.lines if each.tax is not None}


def test_tax_comes_on_top_and_is_posted_to_its_jurisdiction() -> None:
    done = told(line(1_000), line(500, IN_ARREARS, line_id="il_2"))
    done.then_posts(
        debit(RECEIVABLE, usd(1_785)),
        credit(DEFERRED_REVENUE, usd(1_000)),
        credit(REVENUE, usd(500)),
        tax_payable(285, "DE"),
    )
    found = invoice(done)
    assert (found.subtotal, found.total_tax, found.total) == (usd(1_500), usd(285), usd(1_785))
    assert [(each.net, each.total) for each in found.lines] == [(usd(1_000), usd(1_190)), (usd(500), usd(595))]
    assert found.tax is not None
    assert (found.tax.registration_id, found.tax.seller_number) == (REGISTRATION_ID, "DE136695976")
    (total,) = found.tax.totals
    assert (total.rate_id, total.jurisdiction, total.taxable, total.tax) == (RATE_ID, "DE", usd(1_500), usd(285))


def test_an_invoice_of_a_seller_who_is_registered_nowhere_says_nothing_of_tax() -> None:
    for by in ((), (IN_GERMANY, create_rate())):
        done = given(*by, create_customer(tax_location=BERLIN), draft()).when(FINALIZE)
        done.then_posts(debit(RECEIVABLE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000)))
        assert (invoice(done).tax, invoice(done).lines[0].tax) == (None, None)


def test_included_tax_leaves_the_total_as_it_is_shown() -> None:
    done = told(line(1_190, IN_ARREARS, tax_inclusive=True))
    done.then_posts(debit(RECEIVABLE, usd(1_190)), credit(REVENUE, usd(1_000)), tax_payable(190, "DE"))


def test_lines_that_do_not_say_so_include_tax_where_the_tenants_prices_do() -> None:
    by = taxed_in_germany("19", ChangeTaxSettings(prices_include_tax=True))
    lines = (line(1_190, IN_ARREARS), line(1_000, IN_ARREARS, line_id="il_2", tax_inclusive=False))
    told(*lines, by=by).then_posts(debit(RECEIVABLE, usd(2_380)), credit(REVENUE, usd(2_000)), tax_payable(380, "DE"))


def test_a_void_takes_the_tax_back_and_says_how_much() -> None:
    done = told(line(1_000, IN_ARREARS)).when(VOID)
    done.then_posts(credit(RECEIVABLE, usd(1_190)), debit(REVENUE, usd(1_000)), tax_payable(190, "DE", Side.DEBIT))
    (voided,) = done.done.events
    found = invoice(done)
    assert found.tax is not None
    assert getattr(voided, "tax_taken_back", None) == found.tax.totals


@pytest.mark.parametrize(
    ("customer", "treatment", "total"),
    [
        ({"tax_exempt": True}, TaxTreatment.EXEMPT, 1_000),
        ({"tax_location": PARIS, "vat_id_country": "FR"}, TaxTreatment.REVERSE_CHARGE, 1_000),
        ({"tax_location": None, "vat_id_country": "FR"}, TaxTreatment.REVERSE_CHARGE, 1_000),
        ({"tax_location": PARIS, "vat_id_country": "BE"}, TaxTreatment.NOT_REGISTERED, 1_000),
        ({"tax_location": PARIS}, TaxTreatment.NOT_REGISTERED, 1_000),
        ({"vat_id_country": "DE"}, TaxTreatment.TAXED, 1_190),
        ({"tax_location": TaxLocation(country="CH")}, TaxTreatment.NOT_REGISTERED, 1_000),
        ({"tax_location": None}, TaxTreatment.TAXED, 1_190),
    ],
)
def test_the_customers_place_and_status_decide_what_is_charged_and_the_invoice_says_why(
    customer: dict[str, Any], treatment: TaxTreatment, total: int
) -> None:
    found = invoice(told(line(1_000, IN_ARREARS), **customer))
    assert (treatments(found), found.total) == ({treatment}, usd(total))
    assert found.tax is not None
    (of_all,) = found.tax.totals
    assert (of_all.treatment, of_all.taxable, of_all.tax) == (treatment, usd(1_000), usd(total - 1_000))
    assert found.tax.is_assumed is (customer == {"tax_location": None})


IN_FRANCE = (create_rate("20", "FR", id_of("txr_", 4)), register("FR", id_of("txreg_", 4), number="FR83404833048"))


def test_under_the_reverse_charge_the_seller_is_known_by_the_number_of_their_own_country() -> None:
    """Also where they are registered in the customer's country: they owe nothing there (Directive 2006/112/EC, 226)."""
    by = taxed_in_germany("19", *IN_FRANCE)
    business = invoice(told(line(1_000, IN_ARREARS), by=by, tax_location=PARIS, vat_id_country="FR")).tax
    consumer = invoice(told(line(1_000, IN_ARREARS), by=by, tax_location=PARIS)).tax
    assert business is not None
    assert consumer is not None
    assert (business.registration_id, business.seller_number) == (REGISTRATION_ID, "DE136695976")
    assert (consumer.registration_id, consumer.seller_number) == (id_of("txreg_", 4), "FR83404833048")
    assert [each.jurisdiction for each in business.totals] == ["FR"]


def test_a_seller_who_is_not_registered_in_their_own_country_has_no_number_under_the_reverse_charge() -> None:
    """The customer owes the tax all the same: that follows from where the two are established."""
    found = invoice(told(line(1_000, IN_ARREARS), by=(IN_GERMANY, *IN_FRANCE), tax_location=PARIS, vat_id_country="FR"))
    assert found.tax is not None
    assert (treatments(found), found.total) == ({TaxTreatment.REVERSE_CHARGE}, usd(1_000))
    assert (found.tax.registration_id, found.tax.seller_number) == (None, None)


def test_an_inclusive_line_keeps_its_amount_where_no_tax_is_due() -> None:
    found = invoice(told(line(1_190, IN_ARREARS, tax_inclusive=True), tax_location=PARIS, vat_id_country="FR"))
    assert (found.total, found.lines[0].net) == (usd(1_190), usd(1_190))


def test_taxes_on_top_of_each_other_are_owed_to_each_jurisdiction() -> None:
    by = (
        IN_GERMANY,
        create_rate("5", "CA", GST, kind="gst"),
        create_rate("9.975", "CA", QST, kind="qst", region="QC"),
        register("CA"),
    )
    done = told(line(10_000, IN_ARREARS), by=by, tax_location=QUEBEC)
    done.then_posts(
        debit(RECEIVABLE, usd(11_498)),
        credit(REVENUE, usd(10_000)),
        tax_payable(500, "CA"),
        tax_payable(998, "CA-QC"),
    )


def test_a_products_category_has_its_own_rate() -> None:
    reduced = create_rate("7", rate_id=id_of("txr_", 2), category="books")
    lines = (line(1_000, IN_ARREARS, tax_category="books"), line(1_000, IN_ARREARS, line_id="il_2"))
    found = invoice(told(*lines, by=taxed_in_germany("19", reduced)))
    assert [each.total for each in found.lines] == [usd(1_070), usd(1_190)]


def test_the_rate_is_that_of_the_customers_own_date() -> None:
    """19 % until 30 June, 16 % from 1 July in Tokyo, where it is July nine hours earlier."""
    lower = create_rate("16", rate_id=id_of("txr_", 2), valid_from=utc("2026-07-01T00:00").date())
    for at, total in ((utc("2026-06-30T14:59"), 1_190), (utc("2026-06-30T15:00"), 1_160)):
        customer = create_customer(tax_location=BERLIN, time_zone="Asia/Tokyo")
        done = given(*taxed_in_germany("19", lower), customer, draft(line(1_000, IN_ARREARS))).when(FINALIZE, at)
        assert invoice(done).total == usd(total)


def test_tax_is_owed_from_the_registrations_first_day_until_before_its_end() -> None:
    until = NOW.date() + timedelta(days=10)
    by = (
        IN_GERMANY,
        create_rate(),
        register(valid_from=NOW.date()),
        EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=until),
    )
    for days, total in ((-1, 1_000), (0, 1_190), (9, 1_190), (10, 1_000)):
        at = NOW + timedelta(days=days)
        done = given(*by, create_customer(tax_location=BERLIN), draft(line(1_000, IN_ARREARS))).when(FINALIZE, at)
        assert invoice(done).total == usd(total), days


def test_the_customers_balance_pays_of_the_total_with_tax() -> None:
    saved = given(*taxed_in_germany(), create_customer(tax_location=BERLIN), balance_credited(1_100))
    saved.and_then(draft(line(1_000, IN_ARREARS))).when(FINALIZE).then_posts(
        debit(RECEIVABLE, usd(90)),
        debit(CUSTOMER_BALANCE, usd(1_100)),
        credit(REVENUE, usd(1_000)),
        tax_payable(190, "DE"),
    )


def test_a_deduction_takes_its_tax_with_it() -> None:
    done = told(line(1_000, IN_ARREARS), line(-400, IN_ARREARS, line_id="il_2"))
    done.then_posts(debit(RECEIVABLE, usd(714)), credit(REVENUE, usd(600)), tax_payable(114, "DE"))


def test_a_subscription_keeps_whether_its_prices_include_tax() -> None:
    """The tenant's own choice, later, is for what is subscribed to later."""
    by = taxed_in_germany("19", ChangeTaxSettings(prices_include_tax=True))
    sold = given(*by, create_customer(tax_location=BERLIN), *plan_on_sale(), subscribe())
    sold.and_then(ChangeTaxSettings(prices_include_tax=False))
    renewed = sold.when(RenewSubscription(subscription_id=SUBSCRIPTION_ID), FEBRUARY)
    (item,) = renewed.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID].terms.items
    found = invoice(renewed, period_invoice(1))
    assert (item.tax_inclusive, found.total, found.total_tax) == (True, usd(1_000), usd(160))


def test_a_timer_that_runs_late_bills_each_period_at_the_rate_of_its_own_day() -> None:
    raised = create_rate("25", rate_id=id_of("txr_", 2), valid_from=utc("2026-03-01T00:00").date())
    sold = given(*taxed_in_germany("19", raised), create_customer(tax_location=BERLIN), *plan_on_sale(), subscribe())
    late = sold.when(RenewSubscription(subscription_id=SUBSCRIPTION_ID), utc("2026-04-15T10:00"))
    assert [invoice(late, period_invoice(index)).total for index in (0, 1, 2)] == [usd(1_190), usd(1_190), usd(1_250)]


def test_a_customers_exemption_and_vat_id_are_facts_of_theirs() -> None:
    exempt = given(*taxed_in_germany(), create_customer(tax_location=BERLIN)).when(
        UpdateCustomer(customer_id=CUSTOMER_ID, tax_exempt=True)
    )
    assert exempt.done.events
    exempt.when(UpdateCustomer(customer_id=CUSTOMER_ID, tax_exempt=True)).then_nothing()
    moved = exempt.when(
        UpdateCustomer(customer_id=CUSTOMER_ID, tax_location=PARIS, vat_id_country="FR", personal=PERSONAL)
    )
    state = moved.books.states["customer", CUSTOMER_ID]
    assert (state.tax_exempt, state.vat_id_country, state.tax_location) == (True, "FR", PARIS)


def test_an_explanation_adds_the_tax_to_each_line() -> None:
    found = invoice(told(line(1_000, IN_ARREARS), line(1_190, IN_ARREARS, line_id="il_2", tax_inclusive=True)))
    tree = explain_billed(found.lines, USD)
    on_top, included = tree.children
    assert tree.amount == found.total.amount == 2_380
    assert [each.kind for each in on_top.children] == [ExplanationKind.PRICE, ExplanationKind.TAX]
    assert sum(each.amount for each in on_top.children) == on_top.amount == 1_190
    assert [each.kind for each in included.of_which] == [ExplanationKind.TAX_INCLUDED]


def test_vector_25_each_rate_is_taken_once_on_the_sum_and_split() -> None:
    lines = (line(6_833, IN_ARREARS), line(6_833, IN_ARREARS, line_id="il_2"))
    found = invoice(told(*lines, by=taxed_in_germany("20")))
    assert (found.total_tax, found.total) == (usd(2_733), usd(16_399))
    assert [each.total - each.net for each in found.lines] == [usd(1_367), usd(1_366)]


def test_a_rate_of_nothing_is_a_rate() -> None:
    found = invoice(told(line(1_000, IN_ARREARS), by=taxed_in_germany("0")))
    assert (treatments(found), found.total) == ({TaxTreatment.TAXED}, usd(1_000))
