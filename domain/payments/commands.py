"""Commands about payments: intents, attempts, what the gateway answered, and refunds.

What a gateway's answer means for the invoice and its subscription lands in the same batch as the answer.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.customers import customer as customers
from domain.customers import payment_method as payment_methods
from domain.customers.customer import CUSTOMER, Customer
from domain.customers.payment_method import PAYMENT_METHOD, PaymentMethodNotFound
from domain.customers.test_clock import customer_time
from domain.invoicing.commands import recovery
from domain.invoicing.invoice import (
    INVOICE,
    CollectionMethod,
    Invoice,
    InvoiceCollectionFailed,
    InvoicePaid,
    InvoiceStatus,
    payable,
)
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Event, Streams
from domain.payments import payment as payments
from domain.payments.payment import (
    PAYMENT,
    InvalidPaymentAmount,
    Payment,
    PaymentActionRequired,
    PaymentAlreadyExists,
    PaymentAttemptIsOver,
    PaymentCaptured,
    PaymentCreated,
    PaymentDeclined,
    PaymentOutcomeUnknown,
    PaymentStatus,
    awaiting_outcome,
    request_attempt,
)
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPastDue, SubscriptionStatus

NO_PAYMENT_METHOD = "no_payment_method"
"""Why collecting failed where the customer has no default payment method to charge."""

AUTHENTICATION_REQUIRED = "authentication_required"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePayment:
    """An intent of a customer's own; with `confirm` its first attempt is requested at once."""

    payment_id: str
    customer_id: str
    amount: Money
    payment_method_id: str | None = None
    description: str | None = None
    confirm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmPayment:
    """None keeps the payment method it was made with."""

    payment_id: str
    payment_method_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPayment:
    payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayInvoice:
    """Charge an open invoice now, with this method or the customer's default; refused where there is none."""

    invoice_id: str
    payment_id: str
    payment_method_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectInvoice:
    """The charge saga's step: charge the default method, or record that there is none to charge."""

    invoice_id: str
    payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPaymentCaptured:
    payment_id: str
    attempt: int
    gateway_payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPaymentDeclined:
    payment_id: str
    attempt: int
    decline_code: str
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPaymentActionRequired:
    payment_id: str
    attempt: int
    gateway_payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPaymentOutcomeUnknown:
    payment_id: str
    attempt: int
    why: str


PaymentCommand = (
    CreatePayment
    | ConfirmPayment
    | CancelPayment
    | PayInvoice
    | CollectInvoice
    | RecordPaymentCaptured
    | RecordPaymentDeclined
    | RecordPaymentActionRequired
    | RecordPaymentOutcomeUnknown
)


def change_payment(command: PaymentCommand, streams: Streams, now: datetime) -> Decision:
    match command:
        case CreatePayment():
            return _create(command, streams, now)
        case PayInvoice() | CollectInvoice():
            return _charge_invoice(command, streams, now)
    payment = payments.existing(streams.get(PAYMENT, command.payment_id), command.payment_id)
    customer = customers.existing(streams.get(CUSTOMER, payment.customer_id), payment.customer_id)
    at = customer_time(streams, customer, now)
    match command:
        case ConfirmPayment():
            changes = _confirm(command, payment, streams, at)
        case CancelPayment():
            events = payments.cancel(payment, command.payment_id, at)
            changes = [_change(payment.payment_id, event) for event in events]
        case RecordPaymentCaptured():
            changes = _captured(command, payment, streams, at)
        case RecordPaymentDeclined():
            changes = _declined(command, payment, streams, at)
        case RecordPaymentActionRequired():
            changes = _action_required(command, payment, streams, at)
        case RecordPaymentOutcomeUnknown():
            changes = _unknown(command, payment, at)
    return Decision(at, changes)


def _create(command: CreatePayment, streams: Streams, now: datetime) -> Decision:
    if streams.get(PAYMENT, command.payment_id) is not None:
        raise PaymentAlreadyExists(payment=command.payment_id)
    customer = customers.open_for_business(streams.get(CUSTOMER, command.customer_id), command.customer_id)
    if command.amount.amount <= 0:
        raise InvalidPaymentAmount(amount=command.amount.amount)
    at = customer_time(streams, customer, now)
    method_id = command.payment_method_id
    if command.confirm and method_id is None:
        method_id = customer.default_payment_method_id
    if method_id is not None:
        payment_methods.usable_by(streams.get(PAYMENT_METHOD, method_id), method_id, customer.customer_id)
    created = _created(command.payment_id, customer, None, command.amount, method_id, command.description, at)
    changes = [_change(command.payment_id, created)]
    if command.confirm:
        changes.append(_attempt(payments.evolve(None, created), method_id, streams, at))
    return Decision(at, changes)


def _charge_invoice(command: PayInvoice | CollectInvoice, streams: Streams, now: datetime) -> Decision:
    invoice = payable(streams.get(INVOICE, command.invoice_id), command.invoice_id)
    if streams.get(PAYMENT, command.payment_id) is not None:
        raise PaymentAlreadyExists(payment=command.payment_id)
    customer = customers.existing(streams.get(CUSTOMER, invoice.customer_id), invoice.customer_id)
    at = customer_time(streams, customer, now)
    chosen = command.payment_method_id if isinstance(command, PayInvoice) else None
    method_id = chosen or customer.default_payment_method_id
    if method_id is None and isinstance(command, CollectInvoice):
        return Decision(at, _collection_failed(invoice, None, NO_PAYMENT_METHOD, streams, at))
    created = _created(command.payment_id, customer, invoice, invoice.amount_due, method_id, None, at)
    attempt = _attempt(payments.evolve(None, created), method_id, streams, at)
    return Decision(at, [_change(command.payment_id, created), attempt])


def _created(
    payment_id: str,
    customer: Customer,
    invoice: Invoice | None,
    amount: Money,
    method_id: str | None,
    description: str | None,
    at: datetime,
) -> PaymentCreated:
    return PaymentCreated(
        payment_id=payment_id,
        customer_id=customer.customer_id,
        invoice_id=None if invoice is None else invoice.invoice_id,
        amount=amount,
        payment_method_id=method_id,
        description=description,
        test_clock_id=customer.test_clock_id,
        created_at=at,
    )


def _attempt(payment: Payment, method_id: str | None, streams: Streams, at: datetime) -> Change:
    if method_id is None:
        raise PaymentMethodNotFound(customer=payment.customer_id)
    found = streams.get(PAYMENT_METHOD, method_id)
    method = payment_methods.usable_by(found, method_id, payment.customer_id)
    return _change(payment.payment_id, request_attempt(payment, method, at))


def _confirm(command: ConfirmPayment, payment: Payment, streams: Streams, at: datetime) -> list[Change]:
    payments.check_confirmable(payment)
    if payment.invoice_id is not None:
        payable(streams.get(INVOICE, payment.invoice_id), payment.invoice_id)
    return [_attempt(payment, command.payment_method_id or payment.payment_method_id, streams, at)]


def _captured(command: RecordPaymentCaptured, payment: Payment, streams: Streams, at: datetime) -> list[Change]:
    """The invoice is paid by it; if it was settled or voided meanwhile, the money is not needed and goes back."""
    awaiting_outcome(payment, command.payment_id, command.attempt)
    invoice = None if payment.invoice_id is None else streams.get(INVOICE, payment.invoice_id)
    unneeded = invoice is not None and invoice.status is not InvoiceStatus.OPEN
    captured = PaymentCaptured(
        payment_id=payment.payment_id,
        attempt=command.attempt,
        gateway_payment_id=command.gateway_payment_id,
        amount=payment.amount,
        unneeded=unneeded,
        captured_at=at,
    )
    changes = [_change(payment.payment_id, captured)]
    if invoice is not None and not unneeded:
        paid = InvoicePaid(
            invoice_id=invoice.invoice_id, payment_id=payment.payment_id, amount=payment.amount, paid_at=at
        )
        changes += [Change(INVOICE, invoice.invoice_id, paid), *recovery(invoice, streams)]
    return changes


def _declined(command: RecordPaymentDeclined, payment: Payment, streams: Streams, at: datetime) -> list[Change]:
    awaiting_outcome(payment, command.payment_id, command.attempt)
    declined = PaymentDeclined(
        payment_id=payment.payment_id,
        attempt=command.attempt,
        code=command.decline_code,
        retryable=command.retryable,
        declined_at=at,
    )
    return [
        _change(payment.payment_id, declined),
        *_invoice_uncollected(payment, command.decline_code, streams, at),
    ]


def _action_required(
    command: RecordPaymentActionRequired, payment: Payment, streams: Streams, at: datetime
) -> list[Change]:
    """Said once per attempt, and again after an unknown outcome."""
    awaiting_outcome(payment, command.payment_id, command.attempt)
    if payment.status is PaymentStatus.REQUIRES_ACTION and not payment.outcome_unknown:
        raise PaymentAttemptIsOver(payment=payment.payment_id, attempt=command.attempt, status=payment.status)
    required = PaymentActionRequired(
        payment_id=payment.payment_id,
        attempt=command.attempt,
        gateway_payment_id=command.gateway_payment_id,
        required_at=at,
    )
    return [
        _change(payment.payment_id, required),
        *_invoice_uncollected(payment, AUTHENTICATION_REQUIRED, streams, at),
    ]


def _unknown(command: RecordPaymentOutcomeUnknown, payment: Payment, at: datetime) -> list[Change]:
    """Said once per attempt; the due work goes on asking."""
    awaiting_outcome(payment, command.payment_id, command.attempt)
    if payment.outcome_unknown:
        raise PaymentAttemptIsOver(payment=payment.payment_id, attempt=command.attempt, status="outcome_unknown")
    unknown = PaymentOutcomeUnknown(
        payment_id=payment.payment_id, attempt=command.attempt, why=command.why, noticed_at=at
    )
    return [_change(payment.payment_id, unknown)]


def _invoice_uncollected(payment: Payment, reason: str, streams: Streams, at: datetime) -> list[Change]:
    """An attempt of the customer's own, on an invoice that is paid by hand, was no collection of ours."""
    if payment.invoice_id is None:
        return []
    invoice = streams.get(INVOICE, payment.invoice_id)
    if (
        invoice is None
        or invoice.status is not InvoiceStatus.OPEN
        or invoice.collection is not CollectionMethod.CHARGE_AUTOMATICALLY
    ):
        return []
    return _collection_failed(invoice, payment.payment_id, reason, streams, at)


def _collection_failed(
    invoice: Invoice, payment_id: str | None, reason: str, streams: Streams, at: datetime
) -> list[Change]:
    """The invoice stays open; its subscription is past due until it is settled."""
    failed = InvoiceCollectionFailed(invoice_id=invoice.invoice_id, payment_id=payment_id, reason=reason, failed_at=at)
    changes = [Change(INVOICE, invoice.invoice_id, failed)]
    if invoice.subscription_id is None:
        return changes
    subscription = streams.get(SUBSCRIPTION, invoice.subscription_id)
    if (
        subscription is None
        or subscription.status is SubscriptionStatus.CANCELED
        or invoice.invoice_id in subscription.past_due_invoice_ids
    ):
        return changes
    past_due = SubscriptionPastDue(subscription_id=subscription.subscription_id, invoice_id=invoice.invoice_id)
    return [*changes, Change(SUBSCRIPTION, subscription.subscription_id, past_due)]


def _change(payment_id: str, event: Event) -> Change:
    return Change(PAYMENT, payment_id, event)
