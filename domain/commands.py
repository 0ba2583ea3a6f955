"""Every command there is, and who decides it."""

from datetime import datetime
from typing import Final

from domain.catalog.commands import change_plan, change_price, change_product
from domain.catalog.plan import ArchivePlan, ChangePlanTerms, CreatePlan
from domain.catalog.price import ArchivePrice, CreatePrice
from domain.catalog.product import ArchiveProduct, ChangeProduct, CreateProduct
from domain.customers.commands import change_customer, change_payment_method, change_test_clock
from domain.customers.customer import (
    CUSTOMER,
    CreateCustomer,
    DeleteCustomer,
    EraseCustomer,
    SetDefaultPaymentMethod,
    UpdateCustomer,
    existing,
)
from domain.customers.payment_method import AttachPaymentMethod, ChangePaymentMethod, DetachPaymentMethod
from domain.customers.test_clock import AdvanceTestClock, CompleteTestClockAdvance, CreateTestClock, MoveTestClock
from domain.invoicing.commands import FinalizeInvoice, change_invoice
from domain.invoicing.invoice import DraftInvoice, PayInvoiceOutOfBand, VoidInvoice
from domain.kernel.stream import Change, Command, Decision, Handler, Streams
from domain.ledger import journal_entry as journal
from domain.ledger.journal_entry import JOURNAL_ENTRY, JournalCommand, PostJournalEntry, ReverseJournalEntry
from domain.payments.commands import (
    CancelPayment,
    CollectInvoice,
    ConfirmPayment,
    CreatePayment,
    PayInvoice,
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
    change_payment,
)
from domain.payments.refund_commands import (
    RecordRefundFailed,
    RecordRefundOutcomeUnknown,
    RecordRefundSucceeded,
    RequestRefund,
    change_refund,
)
from domain.subscriptions.commands import (
    CancelSubscription,
    CreateSubscription,
    RenewSubscription,
    change_subscription,
)


def _post_journal(command: JournalCommand, streams: Streams, now: datetime) -> Decision:
    """Postings may be about customers, who must exist."""
    events = journal.decide(command, streams.get(JOURNAL_ENTRY, command.entry_id), now)
    if isinstance(command, PostJournalEntry):
        for customer_id in {posting.customer_id: None for posting in command.postings if posting.customer_id}:
            existing(streams.get(CUSTOMER, customer_id), customer_id)
    return Decision(now, [Change(JOURNAL_ENTRY, command.entry_id, event) for event in events])


HANDLERS: Final[dict[type, Handler]] = {
    CreateCustomer: change_customer,
    UpdateCustomer: change_customer,
    SetDefaultPaymentMethod: change_customer,
    DeleteCustomer: change_customer,
    EraseCustomer: change_customer,
    AttachPaymentMethod: change_payment_method,
    ChangePaymentMethod: change_payment_method,
    DetachPaymentMethod: change_payment_method,
    CreateTestClock: change_test_clock,
    AdvanceTestClock: change_test_clock,
    MoveTestClock: change_test_clock,
    CompleteTestClockAdvance: change_test_clock,
    CreateProduct: change_product,
    ChangeProduct: change_product,
    ArchiveProduct: change_product,
    CreatePlan: change_plan,
    ChangePlanTerms: change_plan,
    ArchivePlan: change_plan,
    CreatePrice: change_price,
    ArchivePrice: change_price,
    CreateSubscription: change_subscription,
    RenewSubscription: change_subscription,
    CancelSubscription: change_subscription,
    DraftInvoice: change_invoice,
    FinalizeInvoice: change_invoice,
    VoidInvoice: change_invoice,
    PayInvoiceOutOfBand: change_invoice,
    CreatePayment: change_payment,
    ConfirmPayment: change_payment,
    CancelPayment: change_payment,
    PayInvoice: change_payment,
    CollectInvoice: change_payment,
    RecordPaymentCaptured: change_payment,
    RecordPaymentDeclined: change_payment,
    RecordPaymentActionRequired: change_payment,
    RecordPaymentOutcomeUnknown: change_payment,
    RequestRefund: change_refund,
    RecordRefundSucceeded: change_refund,
    RecordRefundFailed: change_refund,
    RecordRefundOutcomeUnknown: change_refund,
    PostJournalEntry: _post_journal,
    ReverseJournalEntry: _post_journal,
}


def decide(command: Command, streams: Streams, now: datetime) -> Decision:
    """What the command does, at its subject's business time. Raises the Refusals of the streams it touches."""
    return HANDLERS[type(command)](command, streams, now)
