"""What is decided about customers, their payment methods and test clocks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import (
    CUSTOMER,
    CreateCustomer,
    CustomerCreated,
    CustomerDeleted,
    CustomerErased,
    CustomerEvent,
    CustomerIsErased,
    CustomerIsUnsettled,
    CustomerUpdated,
    DefaultPaymentMethodSet,
    DeleteCustomer,
    EraseCustomer,
    SetDefaultPaymentMethod,
    UpdateCustomer,
    customer_time,
    open_for_business,
    time_of,
)
from domain.customers.locales import check_locale
from domain.customers.payment_method import (
    PAYMENT_METHOD,
    AttachPaymentMethod,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethodAttached,
    PaymentMethodChanged,
    PaymentMethodDetached,
    PaymentMethodForgotten,
    RecordPaymentMethodForgotten,
    attached,
    usable_by,
)
from domain.customers.tax_location import check_tax_location
from domain.customers.test_clock import (
    TEST_CLOCK,
    AdvanceTestClock,
    CancelTestClockAdvance,
    CompleteTestClockAdvance,
    CompleteTestClockDeletion,
    CreateTestClock,
    DeleteTestClock,
    MoveTestClock,
    TestClockAdvanceCanceled,
    TestClockAdvanced,
    TestClockAdvanceStarted,
    TestClockBusy,
    TestClockCreated,
    TestClockDeleted,
    TestClockDeletionStarted,
    TestClockGoesForward,
    TestClockInLiveTenant,
    TestClockMoved,
    TestClockNotDeleting,
    advancing,
    in_use,
)
from domain.kernel.billing_period import zone_of
from domain.kernel.currency import currency_code
from domain.kernel.personal_reference import PersonalDataMoved
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.tenant_mode import TenantMode
from domain.kernel.unchanged import UNCHANGED, changed


def create_customer(command: CreateCustomer, streams: Streams, now: datetime) -> Decision:
    CUSTOMER.check_new(streams, command.customer_id)
    at = now if command.test_clock_id is None else in_use(streams, command.test_clock_id).frozen_at
    zone_of(command.time_zone)
    check_locale(command.locale)
    check_tax_location(command.tax_location)
    created = CustomerCreated(
        customer_id=command.customer_id,
        external_id=command.external_id,
        currency=currency_code(command.currency),
        time_zone=command.time_zone,
        locale=command.locale,
        test_clock_id=command.test_clock_id,
        personal=command.personal,
        tax_location=command.tax_location,
        vat_id_country=command.vat_id_country,
        tax_exempt=command.tax_exempt,
        created_at=at,
    )
    return Decision(at, [CUSTOMER.change(created)])


def update_customer(command: UpdateCustomer, streams: Streams, now: datetime) -> Decision:
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    time_zone = changed(command.time_zone, customer.time_zone)
    if command.time_zone is not UNCHANGED:
        zone_of(time_zone)
    locale = changed(command.locale, customer.locale)
    check_locale(locale)
    check_tax_location(command.tax_location)
    newest = None if customer.personal is None else customer.personal.reference
    if command.personal is not None and command.based_on != newest:
        raise PersonalDataMoved(command.customer_id)
    updated = CustomerUpdated(
        customer_id=command.customer_id,
        time_zone=time_zone,
        locale=locale,
        personal=command.personal or customer.personal,
        tax_location=customer.tax_location if command.personal is None else command.tax_location,
        vat_id_country=customer.vat_id_country if command.personal is None else command.vat_id_country,
        tax_exempt=changed(command.tax_exempt, customer.tax_exempt),
    )
    before = (customer.time_zone, customer.locale, customer.personal, customer.tax_exempt)
    is_unchanged = (updated.time_zone, updated.locale, updated.personal, updated.tax_exempt) == before
    return Decision(at, [] if is_unchanged else [CUSTOMER.change(updated)])


def set_default_payment_method(command: SetDefaultPaymentMethod, streams: Streams, now: datetime) -> Decision:
    """It must be one of the customer's own."""
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    if command.payment_method_id is not None:
        usable_by(streams, command.payment_method_id, command.customer_id)
    if customer.default_payment_method_id == command.payment_method_id:
        return Decision(at, [])
    chosen = DefaultPaymentMethodSet(customer_id=command.customer_id, payment_method_id=command.payment_method_id)
    return Decision(at, [CUSTOMER.change(chosen)])


def delete_customer(command: DeleteCustomer, streams: Streams, now: datetime) -> Decision:
    """Raises CustomerIsUnsettled, as nobody looks for what is owed to somebody who is gone. What they owe is no reason:
    it is found among open invoices.
    """
    customer = CUSTOMER.of(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    if customer.deleted_at is not None:
        return Decision(at, [])
    if not command.leaves_unsettled and (customer.waiting_items or not customer.balance.is_zero):
        raise CustomerIsUnsettled(
            customer=customer.customer_id, balance=customer.balance.amount, waiting_items=len(customer.waiting_items)
        )
    return Decision(at, [CUSTOMER.change(CustomerDeleted(customer_id=command.customer_id, deleted_at=at))])


def erase_customer(command: EraseCustomer, streams: Streams, now: datetime) -> Decision:
    """Whoever is erased is deleted, too, whatever is owed to them: the law gives them the right."""
    customer = CUSTOMER.of(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    events: list[CustomerEvent] = []
    if customer.deleted_at is None:
        events.append(CustomerDeleted(customer_id=command.customer_id, deleted_at=at))
    if customer.erased_at is None:
        events.append(CustomerErased(customer_id=command.customer_id, erased_at=at))
    return Decision(at, [CUSTOMER.change(event) for event in events])


def attach_payment_method(command: AttachPaymentMethod, streams: Streams, now: datetime) -> Decision:
    """A deleted customer may still owe something, and pay it with a new card; of an erased one nothing is kept."""
    customer = CUSTOMER.of(streams, command.customer_id)
    if customer.erased_at is not None:
        raise CustomerIsErased(customer=command.customer_id)
    at = customer_time(streams, customer, now)
    PAYMENT_METHOD.check_new(streams, command.payment_method_id)
    new = PaymentMethodAttached(
        payment_method_id=command.payment_method_id,
        customer_id=command.customer_id,
        kind=command.kind,
        gateway=command.gateway,
        token_reference=command.token_reference,
        details=command.details,
        metadata=command.metadata,
        created_at=at,
    )
    changes = [PAYMENT_METHOD.change(new)]
    if command.make_default:
        chosen = DefaultPaymentMethodSet(customer_id=command.customer_id, payment_method_id=command.payment_method_id)
        changes.append(CUSTOMER.change(chosen))
    return Decision(at, changes)


def change_payment_method(command: ChangePaymentMethod, streams: Streams, now: datetime) -> Decision:
    method = attached(streams, command.payment_method_id)
    at = time_of(streams, method.customer_id, now)
    token_reference = changed(command.token_reference, method.token_reference)
    if method.token_reference == token_reference:
        return Decision(at, [])
    renewed = PaymentMethodChanged(
        payment_method_id=command.payment_method_id, token_reference=token_reference, details=command.details
    )
    return Decision(at, [PAYMENT_METHOD.change(renewed)])


def detach_payment_method(command: DetachPaymentMethod, streams: Streams, now: datetime) -> Decision:
    """Detaching the default leaves the customer without one."""
    method = PAYMENT_METHOD.of(streams, command.payment_method_id)
    customer = CUSTOMER.of(streams, method.customer_id)
    at = customer_time(streams, customer, now)
    if method.detached_at is not None:
        return Decision(at, [])
    gone = PaymentMethodDetached(payment_method_id=command.payment_method_id, detached_at=at)
    changes = [PAYMENT_METHOD.change(gone)]
    if customer.default_payment_method_id == command.payment_method_id:
        none_left = DefaultPaymentMethodSet(customer_id=customer.customer_id, payment_method_id=None)
        changes.append(CUSTOMER.change(none_left))
    return Decision(at, changes)


def record_payment_method_forgotten(command: RecordPaymentMethodForgotten, streams: Streams, now: datetime) -> Decision:
    method = PAYMENT_METHOD.of(streams, command.payment_method_id)
    at = time_of(streams, method.customer_id, now)
    forgotten = PaymentMethodForgotten(payment_method_id=method.payment_method_id, forgotten_at=at)
    return Decision(at, [PAYMENT_METHOD.change(forgotten)])


# A test clock's own events are effective in real time: it is not itself on a clock.


def create_test_clock(command: CreateTestClock, streams: Streams, now: datetime) -> Decision:
    if command.mode is not TenantMode.TEST:
        raise TestClockInLiveTenant()
    TEST_CLOCK.check_new(streams, command.clock_id)
    created = TestClockCreated(
        clock_id=command.clock_id, name=command.name, metadata=command.metadata, frozen_at=command.frozen_at
    )
    return Decision(now, [TEST_CLOCK.change(created)])


def advance_test_clock(command: AdvanceTestClock, streams: Streams, now: datetime) -> Decision:
    clock = in_use(streams, command.clock_id)
    if clock.advancing_to is not None:
        raise TestClockBusy(test_clock=command.clock_id)
    if command.to <= clock.frozen_at:
        raise TestClockGoesForward(frozen_time=clock.frozen_at, wanted=command.to)
    return Decision(now, [TEST_CLOCK.change(TestClockAdvanceStarted(clock_id=command.clock_id, to=command.to))])


def move_test_clock(command: MoveTestClock, streams: Streams, now: datetime) -> Decision:
    clock, goal = advancing(streams, command.clock_id, command.advance)
    to = min(command.to, goal)
    if to <= clock.frozen_at:
        return Decision(now, [])
    return Decision(now, [TEST_CLOCK.change(TestClockMoved(clock_id=command.clock_id, frozen_at=to))])


def complete_test_clock_advance(command: CompleteTestClockAdvance, streams: Streams, now: datetime) -> Decision:
    _, goal = advancing(streams, command.clock_id, command.advance)
    return Decision(now, [TEST_CLOCK.change(TestClockAdvanced(clock_id=command.clock_id, frozen_at=goal))])


def cancel_test_clock_advance(command: CancelTestClockAdvance, streams: Streams, now: datetime) -> Decision:
    """The goal becomes the instant that is reached; the runner finishes what is due at it, and completes the advance.

    So whatever the runner decides at the same time is either before this or goes no further.
    """
    clock, goal = advancing(streams, command.clock_id)
    if goal == clock.frozen_at:
        return Decision(now, [])
    canceled = TestClockAdvanceCanceled(clock_id=command.clock_id, frozen_at=clock.frozen_at)
    return Decision(now, [TEST_CLOCK.change(canceled)])


def delete_test_clock(command: DeleteTestClock, streams: Streams, now: datetime) -> Decision:
    """An advance that is under way ends with it. What lives on the clock is ended by the work that this schedules."""
    clock = TEST_CLOCK.of(streams, command.clock_id)
    if clock.is_deleting:
        return Decision(now, [])
    return Decision(now, [TEST_CLOCK.change(TestClockDeletionStarted(clock_id=command.clock_id))])


def complete_test_clock_deletion(command: CompleteTestClockDeletion, streams: Streams, now: datetime) -> Decision:
    clock = TEST_CLOCK.of(streams, command.clock_id)
    if not clock.is_deleting:
        raise TestClockNotDeleting(test_clock=command.clock_id)
    if clock.deleted_at is not None:
        return Decision(now, [])
    return Decision(now, [TEST_CLOCK.change(TestClockDeleted(clock_id=command.clock_id, deleted_at=now))])


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateCustomer: create_customer,
    UpdateCustomer: update_customer,
    SetDefaultPaymentMethod: set_default_payment_method,
    DeleteCustomer: delete_customer,
    EraseCustomer: erase_customer,
    AttachPaymentMethod: attach_payment_method,
    ChangePaymentMethod: change_payment_method,
    DetachPaymentMethod: detach_payment_method,
    RecordPaymentMethodForgotten: record_payment_method_forgotten,
    CreateTestClock: create_test_clock,
    AdvanceTestClock: advance_test_clock,
    MoveTestClock: move_test_clock,
    CompleteTestClockAdvance: complete_test_clock_advance,
    CancelTestClockAdvance: cancel_test_clock_advance,
    DeleteTestClock: delete_test_clock,
    CompleteTestClockDeletion: complete_test_clock_deletion,
}
