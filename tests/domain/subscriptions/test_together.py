"""Subscriptions that are billed together: their renewals of one instant are one invoice, whoever comes first."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.customers.consolidation import MAX_BILLED_TOGETHER, TooManyBilledTogether
from domain.customers.customer import CUSTOMER, DeleteCustomer
from domain.invoicing.billing_settings import ChangeBillingSettings
from domain.invoicing.collection import InvoiceCollectionFailed
from domain.invoicing.finalization import InvoiceFinalized, VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.invoicing.state import Invoice
from domain.kernel.identifiers import INVOICE as INVOICES
from domain.kernel.identifiers import derived_id
from domain.payments.commands import CollectInvoice
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.commands import CreateSubscription, RenewSubscription
from domain.subscriptions.preview_commands import RehearseNextInvoice
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, RenewalNotDue
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_CHARGE,
    CUSTOMER_ID,
    PRICE_ID,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, MARCH
from testing.specification import NOW, Given, given

A, B, C = (id_of("sub_", nth) for nth in (71, 72, 73))


def sharing(subscription_id: str, price_id: str = PRICE_ID, **changes: Any) -> CreateSubscription:
    return replace(subscribe(price_id), subscription_id=subscription_id, billed_together=True, **changes)


def sold() -> Given:
    return given(create_customer(), *plan_on_sale(in_advance=flat(), in_arrears=flat(300)))


def both(**changes: Any) -> Given:
    return sold().and_then(sharing(A, **changes), sharing(B, ARREARS_PRICE_ID, **changes))


def renewal(subscription_id: str) -> RenewSubscription:
    return RenewSubscription(subscription_id=subscription_id)


def invoice_of(story: Given, subscription_id: str) -> Invoice:
    latest = story.books.states[SUBSCRIPTION.name, subscription_id].latest_invoice_id
    invoice: Invoice = story.books.states[INVOICE.name, latest]
    return invoice


def issued(story: Given) -> list[InvoiceFinalized]:
    return [change.event for change in story.books.log if isinstance(change.event, InvoiceFinalized)]


@pytest.mark.parametrize("first", [A, B])
def test_renewals_of_one_instant_are_one_invoice_whichever_timer_comes_first(first: str) -> None:
    story = both().when(renewal(first), at=FEBRUARY).then_at(FEBRUARY)
    invoice = invoice_of(story, A)
    assert invoice == invoice_of(story, B)
    assert (invoice.subscription_id, invoice.further_subscription_ids) == (A, (B,))
    assert [line.amount for line in invoice.lines] == [usd(1_000), usd(300)]
    assert invoice.invoice_id == derived_id(INVOICES, A, "period/1")
    other = B if first == A else A
    story.when(renewal(other), at=FEBRUARY).then_refused(RenewalNotDue)
    assert len(issued(story)) == 2, "that of the first period, and this one"


def test_whoever_runs_late_makes_the_same_invoices() -> None:
    on_time = both().and_then(renewal(A), at=FEBRUARY).and_then(renewal(B), at=MARCH)
    late = both().and_then(renewal(B), at=MARCH + timedelta(days=2))
    assert on_time.books.states == late.books.states
    assert on_time.books.due == late.books.due


def test_what_is_not_billed_together_is_invoiced_by_itself() -> None:
    alone = replace(subscribe(), subscription_id=C)
    story = both().and_then(alone).when(renewal(A), at=FEBRUARY)
    assert invoice_of(story, C).invoice_id == derived_id(INVOICES, C, "period/0")
    paid_otherwise = sold().and_then(sharing(A), sharing(B, collection=BY_CHARGE)).when(renewal(A), at=FEBRUARY)
    assert invoice_of(paid_otherwise, A).subscription_ids == (A,)
    assert invoice_of(paid_otherwise, B).subscription_ids == (B,)
    other_day = sold().and_then(sharing(A)).and_then(sharing(B), at=NOW + timedelta(hours=1))
    renewed = other_day.when(renewal(A), at=FEBRUARY)
    assert invoice_of(renewed, A).subscription_ids == (A,)


def test_what_ends_at_the_instant_ends_with_an_invoice_of_its_own() -> None:
    ending = CancelSubscription(subscription_id=B, at_period_end=True)
    story = both().and_then(ending).when(renewal(A), at=FEBRUARY)
    assert invoice_of(story, A).subscription_ids == (A,)
    assert story.books.states[SUBSCRIPTION.name, B].status is SubscriptionStatus.CANCELED
    assert [line.amount for line in invoice_of(story, B).lines] == [usd(300)]
    assert story.books.states[CUSTOMER.name, CUSTOMER_ID].billed_together == (A,)


def test_a_customer_who_is_gone_is_billed_nothing_together() -> None:
    story = both().and_then(DeleteCustomer(customer_id=CUSTOMER_ID)).when(renewal(A), at=FEBRUARY)
    assert story.books.states[SUBSCRIPTION.name, A].status is SubscriptionStatus.CANCELED
    assert story.books.states[SUBSCRIPTION.name, B].status is SubscriptionStatus.CANCELED


def test_a_draft_is_shared_too() -> None:
    graced = ChangeBillingSettings(grace_s=3600)
    story = both().and_then(graced).when(renewal(B), at=FEBRUARY)
    draft = invoice_of(story, A)
    assert draft.subscription_ids == (A, B)
    assert draft.terms is not None
    assert draft.terms.finalizes_at == FEBRUARY + timedelta(hours=1)


@pytest.mark.parametrize("seen", [A, B])
def test_a_preview_is_the_shared_invoice(seen: str) -> None:
    previewed = both().when(RehearseNextInvoice(subscription_id=seen)).then_at(FEBRUARY).done
    happened = both().when(renewal(seen), at=FEBRUARY).done
    assert previewed.events == happened.events


def test_all_that_an_invoice_bills_is_past_due_and_recovers_with_it() -> None:
    story = sold().and_then(sharing(A, collection=BY_CHARGE), sharing(B, ARREARS_PRICE_ID, collection=BY_CHARGE))
    renewed = story.when(renewal(A), at=FEBRUARY)
    invoice_id = invoice_of(renewed, A).invoice_id
    failed = InvoiceCollectionFailed(invoice_id=invoice_id, payment_id=None, reason="no_payment_method", failed_at=NOW)
    uncollected = renewed.when(CollectInvoice(invoice_id=invoice_id, payment_id=id_of("pay_", 7)), at=FEBRUARY)
    assert replace(failed, failed_at=FEBRUARY) in uncollected.done.events
    for each in (A, B):
        assert uncollected.books.states[SUBSCRIPTION.name, each].status is SubscriptionStatus.PAST_DUE
    paid = uncollected.when(PayInvoiceOutOfBand(invoice_id=invoice_id), at=FEBRUARY)
    for each in (A, B):
        assert paid.books.states[SUBSCRIPTION.name, each].status is SubscriptionStatus.ACTIVE


def test_a_customers_shared_invoices_have_a_bound() -> None:
    many = [sharing(id_of("sub_", 100 + nth)) for nth in range(MAX_BILLED_TOGETHER)]
    full = sold().and_then(*many)
    full.when(sharing(A)).then_refused(TooManyBilledTogether, most=MAX_BILLED_TOGETHER)
    done = full.when(renewal(many[7].subscription_id), at=FEBRUARY)
    assert len(invoice_of(done, many[0].subscription_id).lines) == MAX_BILLED_TOGETHER
    ended = full.when(CancelSubscription(subscription_id=many[0].subscription_id, at_period_end=False), at=MARCH)
    ended.when(sharing(A), at=MARCH)
    assert ended.when(VoidInvoice(invoice_id=invoice_of(ended, many[1].subscription_id).invoice_id), at=MARCH).done
