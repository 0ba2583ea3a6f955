"""Commands about customers, their payment methods and their test clock that read more than one stream."""

from datetime import datetime

from domain.customers import customer as customers
from domain.customers import payment_method as payment_methods
from domain.customers import test_clock as test_clocks
from domain.customers.customer import CUSTOMER, CreateCustomer, CustomerCommand, SetDefaultPaymentMethod
from domain.customers.payment_method import (
    PAYMENT_METHOD,
    AttachPaymentMethod,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethodCommand,
)
from domain.customers.test_clock import TEST_CLOCK, TestClockCommand, business_time, customer_time
from domain.kernel.stream import Change, Decision, Streams


def change_customer(command: CustomerCommand, streams: Streams, now: datetime) -> Decision:
    """A customer's default payment method must be one of their own."""
    current = streams.get(CUSTOMER, command.customer_id)
    if isinstance(command, CreateCustomer):
        at = business_time(streams, command.test_clock_id, now)
    else:
        at = customer_time(streams, customers.existing(current, command.customer_id), now)
    if isinstance(command, SetDefaultPaymentMethod) and command.payment_method_id is not None:
        method = streams.get(PAYMENT_METHOD, command.payment_method_id)
        payment_methods.usable_by(method, command.payment_method_id, command.customer_id)
    events = customers.decide(command, current, at)
    return Decision(at, [Change(CUSTOMER, command.customer_id, event) for event in events])


def change_payment_method(command: PaymentMethodCommand, streams: Streams, now: datetime) -> Decision:
    """Attaching may make it the default; detaching the default leaves the customer without one."""
    current = streams.get(PAYMENT_METHOD, command.payment_method_id)
    match command:
        case AttachPaymentMethod():
            customer_id = command.customer_id
        case ChangePaymentMethod() | DetachPaymentMethod():
            customer_id = payment_methods.existing(current, command.payment_method_id).customer_id
    customer = customers.existing(streams.get(CUSTOMER, customer_id), customer_id)
    at = customer_time(streams, customer, now)
    default: str | None = customer.default_payment_method_id
    match command:
        case AttachPaymentMethod():
            customers.open_for_business(customer, customer_id)
            if command.make_default:
                default = command.payment_method_id
        case DetachPaymentMethod() if default == command.payment_method_id:
            default = None
    changes = [
        Change(PAYMENT_METHOD, command.payment_method_id, event)
        for event in payment_methods.decide(command, current, at)
    ]
    if default != customer.default_payment_method_id:
        changes.append(
            Change(
                CUSTOMER,
                customer_id,
                customers.DefaultPaymentMethodSet(customer_id=customer_id, payment_method_id=default),
            )
        )
    return Decision(at, changes)


def change_test_clock(command: TestClockCommand, streams: Streams, now: datetime) -> Decision:
    """A test clock's own events are effective in real time: it is not itself on a clock."""
    events = test_clocks.decide(command, streams.get(TEST_CLOCK, command.clock_id), now)
    return Decision(now, [Change(TEST_CLOCK, command.clock_id, event) for event in events])
