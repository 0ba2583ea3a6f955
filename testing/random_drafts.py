"""Random histories of drafts: what renewals draft, items that come and go, and what waits for the next invoice."""

from collections.abc import Iterator
from decimal import Decimal

from domain.catalog.price import BillingTiming
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import AddInvoiceItem, ChangeDraft, RemoveInvoiceItem
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.state import InvoiceStatus
from domain.invoicing.tax_request import FinalizeWithTax, RecordTaxUnanswered
from domain.invoicing.waiting_item_commands import AddWaitingItem, RemoveWaitingItem
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.taxes import answer_to
from testing.histories import USD, History


def drafted(history: History, tenant: str, subscription_id: str, usd: Money) -> Iterator[Command]:
    """What the renewal drafted, if it did: most of it comes to the end of its time."""
    subscription = history.state(tenant, SUBSCRIPTION, subscription_id)
    draft = history.state(tenant, INVOICE, subscription.latest_invoice_id or "none")
    if draft is None or draft.status is not InvoiceStatus.DRAFT:
        return
    yield from changes_of_draft(history, draft.customer_id, draft.invoice_id, usd)
    if usd.amount % 5 < 3 and draft.terms.finalizes_at is not None:
        history.now = max(history.now, draft.terms.finalizes_at)
    if usd.amount % 5 < 4:
        yield FinalizeInvoice(invoice_id=draft.invoice_id)
    yield from waiting_for_tax(history, tenant, draft.invoice_id, usd)


def waiting_for_tax(history: History, tenant: str, invoice_id: str, usd: Money) -> Iterator[Command]:
    """What becomes of a draft whose tax is asked for, if it is one: most of the time an answer comes in the end."""
    draft = history.state(tenant, INVOICE, invoice_id)
    if draft is None or draft.awaited_tax is None:
        return
    attempt, answer = draft.awaited_tax.attempt, answer_to(question_of(draft), str(usd.amount % 30))
    yield RecordTaxUnanswered(invoice_id=invoice_id, attempt=attempt, reason="timed_out")
    match usd.amount % 7:
        case 0:
            yield VoidInvoice(invoice_id=invoice_id)
        case 1:
            yield FinalizeInvoice(invoice_id=invoice_id, by_table=True)
        case _:
            yield FinalizeWithTax(invoice_id=invoice_id, attempt=attempt, answer=answer)


def sharing(history: History, customer_id: str, plan_id: str, price_id: str, usd: Money) -> Iterator[Command]:
    """Two subscriptions whose renewals share invoices; of some pairs one ends at once."""
    if usd.amount % 4:
        return
    pair = [history.new_id("sub_") for _ in "12"]
    for subscription_id in pair:
        yield CreateSubscription(
            subscription_id=subscription_id,
            customer_id=customer_id,
            plan_id=plan_id,
            items=(RequestedItem(price_id=price_id),),
            billed_together=True,
        )
    if usd.amount % 3 == 0:
        yield CancelSubscription(subscription_id=pair[1], at_period_end=False)


def changes_of_draft(history: History, customer_id: str, invoice_id: str, usd: Money) -> Iterator[Command]:
    """Items come and go, on the draft and for the next invoice."""
    items = tuple(
        InvoiceLine(
            line_id=history.new_id("il_"),
            description=f"Item {nth}",
            amount=Money(usd.amount % (70 * nth) - 60, USD),
            quantity=Decimal(nth),
            timing=BillingTiming.IN_ARREARS,
        )
        for nth in (1, 2, 3, 4)
    )
    for item in items[:2]:
        yield AddInvoiceItem(invoice_id=invoice_id, line=item)
    for item in items[2:]:
        yield AddWaitingItem(customer_id=customer_id, line=item)
    if usd.amount % 2:
        yield RemoveInvoiceItem(invoice_id=invoice_id, line_id=items[0].line_id)
        yield RemoveWaitingItem(customer_id=customer_id, item_id=items[2].line_id)
    yield ChangeDraft(invoice_id=invoice_id, memo=f"Order {usd.amount}", days_until_due=usd.amount % 90)
