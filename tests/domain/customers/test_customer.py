"""Specifications of customers."""

from dataclasses import replace

import pytest

from domain.customers import test_clock as test_clocks
from domain.customers.customer import (
    CUSTOMER,
    CustomerAlreadyExists,
    CustomerErased,
    CustomerIsDeleted,
    CustomerIsUnsettled,
    CustomerNotFound,
    CustomerUpdated,
    DefaultPaymentMethodSet,
    DeleteCustomer,
    EraseCustomer,
    SetDefaultPaymentMethod,
    UpdateCustomer,
)
from domain.customers.payment_method import DetachPaymentMethod, PaymentMethodIsDetached, PaymentMethodNotFound
from domain.invoicing.waiting_item_commands import AddWaitingItem
from domain.kernel.billing_period import UnknownTimeZone
from domain.kernel.currency import UnknownCurrency
from domain.kernel.personal_reference import PersonalDataMoved, PersonalReference
from domain.kernel.refusal import ExternalIdTaken
from domain.kernel.stream import Command
from testing.examples.streams import (
    CARD_ID,
    CLOCK_ID,
    CUSTOMER_ID,
    OTHER_CUSTOMER_ID,
    PERSONAL,
    attach_card,
    balance_credited,
    balance_drawn,
    card_attached,
    create_customer,
    customer_created,
    customer_deleted,
    frozen_clock,
    id_of,
    invoice_finalized,
    line,
)
from testing.moments import utc
from testing.specification import Claimed, given

EXTERNAL = Claimed("customer.external_id", "crm-7", CUSTOMER_ID)
UPDATE = UpdateCustomer(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo")
SET_DEFAULT = SetDefaultPaymentMethod(customer_id=CUSTOMER_ID, payment_method_id=CARD_ID)
DELETE = DeleteCustomer(customer_id=CUSTOMER_ID)
ERASE = EraseCustomer(customer_id=CUSTOMER_ID)


def default_set(payment_method_id: str | None) -> DefaultPaymentMethodSet:
    return DefaultPaymentMethodSet(customer_id=CUSTOMER_ID, payment_method_id=payment_method_id)


def erased() -> CustomerErased:
    return CustomerErased(customer_id=CUSTOMER_ID, erased_at=customer_deleted().deleted_at)


def test_a_customer_is_created_with_a_reference_to_their_personal_data() -> None:
    (
        given()
        .when(create_customer(time_zone="Europe/Berlin", personal=PERSONAL))
        .then(customer_created(time_zone="Europe/Berlin", personal=PERSONAL))
        .then_posts()
        .then_claims()
        .then_schedules()
    )


def test_an_external_id_is_claimed() -> None:
    (
        given()
        .when(create_customer(external_id="crm-7"))
        .then(customer_created(external_id="crm-7"))
        .then_claims(EXTERNAL)
        .when(create_customer(customer_id=OTHER_CUSTOMER_ID, external_id="crm-7"))
        .then_refused(ExternalIdTaken, external_id="crm-7")
    )


def test_an_external_id_is_free_again_once_its_customer_is_deleted() -> None:
    (
        given(create_customer(external_id="crm-7"))
        .when(DELETE)
        .then(customer_deleted())
        .then_frees(EXTERNAL)
        .when(create_customer(customer_id=OTHER_CUSTOMER_ID, external_id="crm-7"))
        .then_claims(EXTERNAL._replace(owner=OTHER_CUSTOMER_ID))
    )


def test_erasing_a_deleted_customer_does_not_free_what_is_somebody_elses_by_now() -> None:
    (
        given(create_customer(external_id="crm-7"), DELETE)
        .and_then(create_customer(customer_id=OTHER_CUSTOMER_ID, external_id="crm-7"))
        .when(ERASE)
        .then(erased())
        .then_frees()
    )


def test_a_customer_is_created_once_in_a_known_currency_and_time_zone() -> None:
    given(create_customer()).when(create_customer()).then_refused(CustomerAlreadyExists, customer=CUSTOMER_ID)
    given().when(create_customer(currency="usd")).then_refused(UnknownCurrency)
    given().when(create_customer(time_zone="Mars/Olympus")).then_refused(UnknownTimeZone)


def test_a_customer_on_a_test_clock_is_created_at_its_time() -> None:
    frozen_at = utc("2031-02-03")
    (
        given(frozen_clock(frozen_at))
        .when(create_customer(test_clock_id=CLOCK_ID))
        .then(customer_created(test_clock_id=CLOCK_ID, created_at=frozen_at))
        .then_at(frozen_at)
    )
    given().when(create_customer(test_clock_id=CLOCK_ID)).then_refused(
        test_clocks.TestClockNotFound, test_clock=CLOCK_ID
    )


def test_an_update_tells_all_changeable_facts_and_leaves_out_what_is_none() -> None:
    renewed = PersonalReference(reference=id_of("pd_", 2), commitment=bytes(32))
    (
        given(create_customer(personal=PERSONAL))
        .when(UPDATE)
        .then(CustomerUpdated(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo", personal=PERSONAL, tax_location=None))
        .when(UpdateCustomer(customer_id=CUSTOMER_ID, personal=renewed, based_on=PERSONAL.reference))
        .then(CustomerUpdated(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo", personal=renewed, tax_location=None))
    )


@pytest.mark.parametrize("based_on", [None, id_of("pd_", 3)])
def test_a_revision_made_from_another_than_the_newest_is_to_be_made_again(based_on: str | None) -> None:
    renewed = PersonalReference(reference=id_of("pd_", 2), commitment=bytes(32))
    with pytest.raises(PersonalDataMoved):
        given(create_customer(personal=PERSONAL)).when(
            UpdateCustomer(customer_id=CUSTOMER_ID, personal=renewed, based_on=based_on)
        )


def test_an_update_that_changes_nothing_does_nothing() -> None:
    given(create_customer(), UPDATE).when(UPDATE).then_nothing()
    given(create_customer()).when(UpdateCustomer(customer_id=CUSTOMER_ID)).then_nothing()


def test_an_update_to_an_unknown_time_zone_is_refused() -> None:
    wrong = UpdateCustomer(customer_id=CUSTOMER_ID, time_zone="Mars/Olympus")
    given(create_customer()).when(wrong).then_refused(UnknownTimeZone)


def test_a_default_payment_method_is_set_once_and_taken_away() -> None:
    none = SetDefaultPaymentMethod(customer_id=CUSTOMER_ID, payment_method_id=None)
    (
        given(create_customer(), attach_card())
        .when(SET_DEFAULT)
        .then(default_set(CARD_ID))
        .when(SET_DEFAULT)
        .then_nothing()
        .when(none)
        .then(default_set(None))
        .when(none)
        .then_nothing()
    )


def test_only_ones_own_attached_payment_method_can_be_the_default() -> None:
    detached = DetachPaymentMethod(payment_method_id=CARD_ID)
    given(create_customer()).when(SET_DEFAULT).then_refused(PaymentMethodNotFound, payment_method=CARD_ID)
    given(create_customer(), card_attached(customer_id=OTHER_CUSTOMER_ID)).when(SET_DEFAULT).then_refused(
        PaymentMethodNotFound
    )
    given(create_customer(), attach_card(), detached).when(SET_DEFAULT).then_refused(PaymentMethodIsDetached)


def test_deleting_twice_does_nothing() -> None:
    given(create_customer(), DELETE).when(DELETE).then_nothing()


def test_who_has_a_balance_is_deleted_only_by_whoever_says_that_it_stays_theirs() -> None:
    owed = given(create_customer(), balance_credited(500))
    owed.when(DELETE).then_refused(CustomerIsUnsettled, balance=500, waiting_items=0)
    owed.when(replace(DELETE, leaves_unsettled=True)).then(customer_deleted()).then_posts()
    given(create_customer(), balance_credited(500)).when(ERASE).then(customer_deleted(), erased()).then_posts()
    given(create_customer(), balance_credited(500), balance_drawn(500)).when(DELETE).then(customer_deleted())


def test_who_has_items_that_wait_to_be_billed_is_not_deleted_by_the_way() -> None:
    waiting = given(create_customer(), AddWaitingItem(customer_id=CUSTOMER_ID, line=line(500)))
    waiting.when(DELETE).then_refused(CustomerIsUnsettled, balance=0, waiting_items=1)
    waiting.when(replace(DELETE, leaves_unsettled=True)).then(customer_deleted())


def test_who_owes_something_is_deleted_and_it_stays_owed() -> None:
    given(create_customer(), invoice_finalized()).when(DELETE).then(customer_deleted()).then_posts()


def test_erasing_deletes_first_and_forgets_the_reference() -> None:
    (
        given(create_customer(external_id="crm-7", personal=PERSONAL))
        .when(ERASE)
        .then(customer_deleted(), erased())
        .then_frees(EXTERNAL)
        .then_shows(CUSTOMER, CUSTOMER_ID, personal=None)
        .when(ERASE)
        .then_nothing()
    )
    given(create_customer(), DELETE).when(ERASE).then(erased())


@pytest.mark.parametrize("command", [UPDATE, SET_DEFAULT])
def test_a_deleted_customer_is_not_changed(command: Command) -> None:
    given(create_customer(), attach_card(), DELETE).when(command).then_refused(CustomerIsDeleted, customer=CUSTOMER_ID)


@pytest.mark.parametrize("command", [UPDATE, SET_DEFAULT, DELETE, ERASE])
def test_an_unknown_customer_is_not_found(command: Command) -> None:
    given(card_attached()).when(command).then_refused(CustomerNotFound, customer=CUSTOMER_ID)
