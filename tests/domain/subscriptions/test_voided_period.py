"""A void invoice is final: its period is not billed again by the subscription, but by a one-off invoice, if at all."""

from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE, REVENUE
from domain.subscriptions.subscription import RenewalNotDue
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    IN_ADVANCE,
    IN_ARREARS,
    INVOICE_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    create_customer,
    credit,
    debit,
    draft,
    flat,
    id_of,
    line,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, period_invoice, renew
from testing.specification import NOW, Claimed, Given, given

FINALIZE = FinalizeInvoice(invoice_id=INVOICE_ID)


def subscribed() -> Given:
    """To a price in advance and one in arrears."""
    catalogue = plan_on_sale(in_advance=flat(1_000), in_arrears=flat(300))
    return given(create_customer(), *catalogue, subscribe(PRICE_ID, ARREARS_PRICE_ID))


def of_the_product(line: InvoiceLine) -> tuple[object, ...]:
    """What a line says of what it bills, but for how it is sold."""
    return line.product_id, line.tax_category, line.timing, line.amount, line.period_start, line.period_end


def test_a_voided_period_is_not_billed_again_and_the_next_one_is() -> None:
    (
        subscribed()
        .and_then(VoidInvoice(invoice_id=period_invoice(0)))
        .when(renew())
        .then_refused(RenewalNotDue)
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_claims(Claimed("subscription.period", f"{SUBSCRIPTION_ID}:1", SUBSCRIPTION_ID))
        .then_shows(INVOICE, period_invoice(0), status=InvoiceStatus.VOID)
    )


def test_a_one_off_invoice_bills_the_same_of_the_voided_periods() -> None:
    """It says the same of product and service period, and the books are what they were before the void."""
    history = subscribed().and_then(renew(FEBRUARY), at=FEBRUARY)
    voided = history.books.states["invoice", period_invoice(1)]
    again = (
        line(1_000, IN_ADVANCE, product_id=PRODUCT_ID, period_start=FEBRUARY, period_end=MARCH),
        line(300, IN_ARREARS, product_id=PRODUCT_ID, period_start=NOW, period_end=FEBRUARY, line_id=id_of("il_", 2)),
    )
    outcome = (
        history.when(VoidInvoice(invoice_id=period_invoice(1)), at=FEBRUARY)
        .then_posts(credit(RECEIVABLE, usd(1_300)), debit(DEFERRED_REVENUE, usd(1_000)), debit(REVENUE, usd(300)))
        .and_then(draft(*again), at=FEBRUARY)
        .when(FINALIZE, at=FEBRUARY)
        .then_posts(debit(RECEIVABLE, usd(1_300)), credit(DEFERRED_REVENUE, usd(1_000)), credit(REVENUE, usd(300)))
        .then_claims()
    )
    billed = outcome.books.states["invoice", INVOICE_ID]
    assert [of_the_product(each) for each in billed.lines] == [of_the_product(each) for each in voided.lines]
