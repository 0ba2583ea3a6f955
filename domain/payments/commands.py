"""What is decided about payments: intents, attempts, and what the gateway answered.

What a gateway's answer means for the invoice lands in the same batch as the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import CUSTOMER, Customer, check_currency, customer_time, open_for_business, time_of
from domain.customers.payment_method import NoPaymentMethod, PaymentMethod, usable_by
from domain.invoicing.collection import InvoiceCollectionFailed, InvoicePaymentStarted
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen, payable
from domain.invoicing.settlement import InvalidPaymentAmount
from domain.invoicing.settlement_commands import balance_applied, received
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.payments import payment as payments
from domain.payments.cancel_commands import after_giving_up, not_tried_instead
from domain.payments.cancellation import CancelReason
from domain.payments.consequences import amount_to_charge, give_up, is_unneeded
from domain.payments.decline import DeclineCode
from domain.payments.payment import (
    PAYMENT,
    Payment,
    PaymentActionRequired,
    PaymentAttemptIsOver,
    PaymentCaptured,
    PaymentCreated,
    PaymentDeclined,
    PaymentOutcomeUnknown,
    PaymentStatus,
    awaiting_outcome,
    request_attempt,
)

NO_PAYMENT_METHOD = "no_payment_method"
"""Why collecting failed where the customer has no default payment method to charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePayment:
    """An intent of a customer's own; with `confirm` its first attempt is requested at once."""

    payment_id: str
    customer_id: str
    amount: Money
    payment_method_id: str | None = None
    description: str | None = None
    confirm: bool = False
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmPayment:
    """None keeps the payment method it was made with."""

    payment_id: str
    payment_method_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayInvoice:
    """Charge what is due on an invoice now, with this method or the customer's default; refused where there is none."""

    invoice_id: str
    payment_id: str
    payment_method_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectInvoice:
    """The charge saga's step: charge the default method with what is due, or record that there is none to charge."""

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
    decline_code: DeclineCode
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


def create_payment(command: CreatePayment, streams: Streams, now: datetime) -> Decision:
    PAYMENT.check_new(streams, command.payment_id)
    customer = open_for_business(streams, command.customer_id)
    if command.amount.amount <= 0:
        raise InvalidPaymentAmount(amount=command.amount.amount)
    check_currency(customer, command.amount.currency)
    at = customer_time(streams, customer, now)
    method_id = command.payment_method_id
    if command.confirm and method_id is None:
        method_id = customer.default_payment_method_id
    if method_id is not None:
        usable_by(streams, method_id, customer.customer_id)
    created = replace(
        _created(command.payment_id, customer, None, command.amount, method_id, command.description, at),
        metadata=command.metadata,
    )
    changes = [PAYMENT.change(created)]
    if command.confirm:
        changes.append(_attempt(payments.evolve(None, created), method_id, streams, at))
    return Decision(at, changes)


def pay_invoice(command: PayInvoice, streams: Streams, now: datetime) -> Decision:
    """A payment of the invoice that waits for its customer is given up first, and this one begins when it is."""
    invoice, customer, at = _to_charge(command, streams, now)
    method_id = command.payment_method_id or customer.default_payment_method_id
    waiting = None if invoice.payment_id is None else streams.get(PAYMENT, invoice.payment_id)
    if waiting is None or not waiting.waits_for_customer:
        return Decision(at, _charge(command.payment_id, invoice, invoice.amount_due, customer, method_id, streams, at))
    created = _created(command.payment_id, customer, invoice, invoice.amount_due, method_id, None, at)
    method = _method(payments.evolve(None, created), method_id, streams)
    replaced = give_up(
        waiting,
        CancelReason.REPLACED,
        at,
        replacement_method_id=method.payment_method_id,
        replacement_payment_id=command.payment_id,
    )
    started = InvoicePaymentStarted(invoice_id=invoice.invoice_id, payment_id=command.payment_id, started_at=at)
    return Decision(at, [PAYMENT.change(created), replaced, INVOICE.change(started)])


def collect_invoice(command: CollectInvoice, streams: Streams, now: datetime) -> Decision:
    """The customer's balance, which may have grown since the invoice was finalized, pays first; the rest is charged.

    Raises InvoiceNotOpen, also of an invoice that was given up meanwhile.
    """
    invoice, customer, at = _to_charge(command, streams, now)
    if invoice.status is not InvoiceStatus.OPEN:
        raise InvoiceNotOpen(invoice=invoice.invoice_id, status=invoice.status)
    applied = balance_applied(invoice, customer, at)
    left = max(invoice.amount_due - customer.balance, Money.zero(invoice.currency)) if applied else invoice.amount_due
    if left.is_zero:
        return Decision(at, applied)
    method_id = customer.default_payment_method_id
    if method_id is None:
        return Decision(at, [*applied, _collection_failed(invoice, None, NO_PAYMENT_METHOD, at)])
    return Decision(at, [*applied, *_charge(command.payment_id, invoice, left, customer, method_id, streams, at)])


def _to_charge(
    command: PayInvoice | CollectInvoice, streams: Streams, now: datetime
) -> tuple[Invoice, Customer, datetime]:
    """The invoice, which may be paid, who pays it, and their time."""
    invoice = payable(streams, command.invoice_id)
    PAYMENT.check_new(streams, command.payment_id)
    customer = CUSTOMER.of(streams, invoice.customer_id)
    return invoice, customer, customer_time(streams, customer, now)


def _charge(
    payment_id: str,
    invoice: Invoice,
    amount: Money,
    customer: Customer,
    method_id: str | None,
    streams: Streams,
    at: datetime,
) -> list[Change]:
    created = _created(payment_id, customer, invoice, amount, method_id, None, at)
    payment = payments.evolve(None, created)
    return [
        PAYMENT.change(created),
        PAYMENT.change(request_attempt(payment, _method(payment, method_id, streams), amount, at)),
    ]


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
    method = _method(payment, method_id, streams)
    return PAYMENT.change(request_attempt(payment, method, amount_to_charge(payment, streams), at))


def _method(payment: Payment, method_id: str | None, streams: Streams) -> PaymentMethod:
    """What is to be charged. Raises NoPaymentMethod, PaymentMethodNotFound, PaymentMethodIsDetached."""
    if method_id is None:
        raise NoPaymentMethod(customer=payment.customer_id)
    return usable_by(streams, method_id, payment.customer_id)


def confirm_payment(command: ConfirmPayment, streams: Streams, now: datetime) -> Decision:
    """What is owed on an invoice may always be paid; any other payment is business, and a deleted customer has none."""
    payment = PAYMENT.of(streams, command.payment_id)
    at = time_of(streams, payment.customer_id, now)
    method_id = command.payment_method_id or payment.payment_method_id
    if not payment.waits_for_customer:
        payments.check_confirmable(payment)
    if payment.invoice_id is None:
        open_for_business(streams, payment.customer_id)
    else:
        payable(streams, payment.invoice_id)
    if payment.waits_for_customer:
        method = _method(payment, method_id, streams)
        replaced = give_up(payment, CancelReason.REPLACED, at, replacement_method_id=method.payment_method_id)
        return Decision(at, [replaced])
    return Decision(at, [_attempt(payment, method_id, streams, at)])


def record_payment_captured(command: RecordPaymentCaptured, streams: Streams, now: datetime) -> Decision:
    """What is due on the invoice is paid by it, and what is above that is the customer's balance; if it was settled or
    voided meanwhile, the money is not needed and goes back."""
    payment = awaiting_outcome(streams, command.payment_id, command.attempt)
    at = time_of(streams, payment.customer_id, now)
    invoice = None if payment.invoice_id is None else INVOICE.of(streams, payment.invoice_id)
    paid: list[Change] = []
    surplus = nothing = Money.zero(payment.amount.currency)
    if invoice is not None and not invoice.is_settled:
        paid = received(invoice, payment.amount, payment.payment_id, at)
        surplus = max(payment.amount - invoice.amount_due, nothing)
    captured = PaymentCaptured(
        payment_id=payment.payment_id,
        attempt=command.attempt,
        gateway_payment_id=command.gateway_payment_id,
        amount=payment.amount,
        unneeded=is_unneeded(payment, streams),
        surplus=surplus,
        captured_at=at,
    )
    return Decision(at, [PAYMENT.change(captured), *paid, *not_tried_instead(payment, streams, at)])


def record_payment_declined(command: RecordPaymentDeclined, streams: Streams, now: datetime) -> Decision:
    payment = awaiting_outcome(streams, command.payment_id, command.attempt)
    at = time_of(streams, payment.customer_id, now)
    declined = PAYMENT.change(
        PaymentDeclined(
            payment_id=payment.payment_id,
            attempt=command.attempt,
            code=command.decline_code,
            retryable=command.retryable,
            declined_at=at,
        )
    )
    return Decision(at, [declined, *after_giving_up(payment, declined, streams, at)])


def record_payment_action_required(command: RecordPaymentActionRequired, streams: Streams, now: datetime) -> Decision:
    """Said once per attempt, and again after an unknown outcome."""
    payment = awaiting_outcome(streams, command.payment_id, command.attempt)
    at = time_of(streams, payment.customer_id, now)
    if payment.status is PaymentStatus.REQUIRES_ACTION and not payment.outcome_unknown:
        raise PaymentAttemptIsOver(payment=payment.payment_id, attempt=command.attempt, status=payment.status)
    required = PaymentActionRequired(
        payment_id=payment.payment_id,
        attempt=command.attempt,
        gateway_payment_id=command.gateway_payment_id,
        required_at=at,
    )
    return Decision(at, [PAYMENT.change(required)])


def record_payment_outcome_unknown(command: RecordPaymentOutcomeUnknown, streams: Streams, now: datetime) -> Decision:
    """Said once per attempt; the due work goes on asking."""
    payment = awaiting_outcome(streams, command.payment_id, command.attempt)
    at = time_of(streams, payment.customer_id, now)
    if payment.outcome_unknown:
        raise PaymentAttemptIsOver(payment=payment.payment_id, attempt=command.attempt, status="outcome_unknown")
    unknown = PaymentOutcomeUnknown(
        payment_id=payment.payment_id, attempt=command.attempt, why=command.why, noticed_at=at
    )
    return Decision(at, [PAYMENT.change(unknown)])


def _collection_failed(invoice: Invoice, payment_id: str | None, reason: str, at: datetime) -> Change:
    """The invoice stays open."""
    return INVOICE.change(
        InvoiceCollectionFailed(invoice_id=invoice.invoice_id, payment_id=payment_id, reason=reason, failed_at=at)
    )


HANDLERS: Final[Mapping[type, Handler]] = {
    CreatePayment: create_payment,
    ConfirmPayment: confirm_payment,
    PayInvoice: pay_invoice,
    CollectInvoice: collect_invoice,
    RecordPaymentCaptured: record_payment_captured,
    RecordPaymentDeclined: record_payment_declined,
    RecordPaymentActionRequired: record_payment_action_required,
    RecordPaymentOutcomeUnknown: record_payment_outcome_unknown,
}
