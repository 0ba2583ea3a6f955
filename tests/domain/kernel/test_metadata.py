"""Specifications of metadata: changed key by key, in whatever state their resource is."""

from dataclasses import fields

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from domain.catalog.product import (
    PRODUCT,
    ArchiveProduct,
    ChangeProduct,
    CreateProduct,
    ProductIsArchived,
    ProductMetadataSet,
    ProductNotFound,
    ProductVersionAdded,
)
from domain.catalogue import STREAMS
from domain.commands import ChangeMetadata
from domain.customers.customer import EraseCustomer
from domain.customers.test_clock import AdvanceTestClock, MoveTestClock
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceMetadataSet
from domain.kernel.metadata import MAX_METADATA_KEYS, MetadataChange, TooManyMetadataKeys, with_change
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundMetadataSet
from domain.payments.refund_commands import ChangeRefundMetadata, RefundNotFound, RequestRefund
from testing.examples.streams import (
    CLOCK_ID,
    CUSTOMER_ID,
    INVOICE_ID,
    PAYMENT_ID,
    PRODUCT_ID,
    attempt_requested,
    create_customer,
    customer_created,
    draft,
    frozen_clock,
    payment_captured,
    payment_created,
)
from testing.moments import utc
from testing.specification import given

ORDER = (("channel", "web"), ("order", "4711"))
CREATE = CreateProduct(product_id=PRODUCT_ID, name="Phone", metadata=ORDER)
REFUND_ID = "re_1"
keys = st.text("abc", min_size=1, max_size=2)
texts = st.text("xy", max_size=2)
kept = st.dictionaries(keys, texts).map(lambda pairs: with_change((), pairs))


def change(named: MetadataChange, **changes: object) -> ChangeMetadata:
    named_too = {"stream": PRODUCT, "stream_id": PRODUCT_ID, **changes}
    return ChangeMetadata(change=named, **named_too)  # type: ignore[arg-type]


@over(kept, st.dictionaries(keys, st.none() | texts))
def test_keys_that_are_named_are_set_or_taken_away_and_the_others_stay(
    before: tuple[tuple[str, str], ...], named: dict[str, str | None]
) -> None:
    after = dict(with_change(before, named))
    assert after == {key: value for key, value in {**dict(before), **named}.items() if value}


@over(kept)
def test_nothing_in_place_of_all_takes_all_away_and_an_empty_change_none(before: tuple[tuple[str, str], ...]) -> None:
    assert with_change(before, None) == ()
    assert with_change(before, {}) == before


@over(st.permutations(ORDER))
def test_metadata_are_the_same_in_whatever_order_they_are_named(pairs: list[tuple[str, str]]) -> None:
    assert with_change((), dict(pairs)) == ORDER


def test_there_are_at_most_so_many_keys() -> None:
    full = with_change((), {str(number): "x" for number in range(MAX_METADATA_KEYS)})
    assert len(with_change(full, {"0": None, "one more": "x"})) == MAX_METADATA_KEYS
    with pytest.raises(TooManyMetadataKeys):
        with_change(full, {"one more": "x"})


def test_a_change_tells_the_metadata_as_they_are_from_then_on() -> None:
    (
        given(CREATE)
        .when(change({"order": "4712", "channel": None}))
        .then(ProductMetadataSet(product_id=PRODUCT_ID, metadata=(("order", "4712"),)))
        .then_shows(PRODUCT, PRODUCT_ID, version=1, metadata=(("order", "4712"),))
        .when(change({"order": "4712", "channel": ""}))
        .then_nothing()
        .when(change(None))
        .then(ProductMetadataSet(product_id=PRODUCT_ID, metadata=()))
    )
    given().when(change({})).then_refused(ProductNotFound)


def test_what_changes_along_with_metadata_changes_with_them_or_not_at_all() -> None:
    rename = ChangeProduct(product_id=PRODUCT_ID, name="Telephone")
    renamed = ProductVersionAdded(
        product_id=PRODUCT_ID, version=2, name="Telephone", description=None, tax_category=None
    )
    given(CREATE).when(change({"order": None}, along_with=rename)).then(
        renamed, ProductMetadataSet(product_id=PRODUCT_ID, metadata=(("channel", "web"),))
    )
    archived = given(CREATE, ArchiveProduct(product_id=PRODUCT_ID))
    archived.when(change({"order": None}, along_with=rename)).then_refused(ProductIsArchived)
    archived.when(change({"order": None})).then(
        ProductMetadataSet(product_id=PRODUCT_ID, metadata=(("channel", "web"),))
    )


def test_an_invoice_keeps_its_metadata_when_it_is_finalized_and_they_may_change_after_its_end() -> None:
    (
        given(create_customer(), draft(metadata=ORDER), FinalizeInvoice(invoice_id=INVOICE_ID))
        .when(VoidInvoice(invoice_id=INVOICE_ID))
        .then_shows(INVOICE, INVOICE_ID, metadata=ORDER)
        .when(change({"channel": None}, stream=INVOICE, stream_id=INVOICE_ID))
        .then(InvoiceMetadataSet(invoice_id=INVOICE_ID, metadata=(("order", "4711"),)))
        .then_posts()
    )


def test_metadata_change_at_the_time_of_their_customer() -> None:
    moved = utc("2026-06-01")
    (
        given(frozen_clock(), customer_created(test_clock_id=CLOCK_ID), draft(metadata=ORDER))
        .and_then(AdvanceTestClock(clock_id=CLOCK_ID, to=moved), MoveTestClock(clock_id=CLOCK_ID, advance=1, to=moved))
        .when(change(None, stream=INVOICE, stream_id=INVOICE_ID))
        .then_at(moved)
    )


def test_a_refund_has_metadata_of_its_own_in_its_payments_stream() -> None:
    (
        given(
            customer_created(),
            payment_created(metadata=(("cart", "1"),), invoice_id=None),
            attempt_requested(),
            payment_captured(),
            RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, metadata=ORDER),
            EraseCustomer(customer_id=CUSTOMER_ID),
        )
        .when(ChangeRefundMetadata(refund_id=REFUND_ID, payment_id=PAYMENT_ID, change={"order": None}))
        .then(RefundMetadataSet(refund_id=REFUND_ID, payment_id=PAYMENT_ID, metadata=(("channel", "web"),)))
        .then_posts()
        .then_schedules()
        .then_shows(PAYMENT, PAYMENT_ID, metadata=(("cart", "1"),))
        .when(ChangeRefundMetadata(refund_id=REFUND_ID, payment_id=PAYMENT_ID, change={"order": None}))
        .then_nothing()
        .when(ChangeRefundMetadata(refund_id="re_unknown", payment_id=PAYMENT_ID, change={}))
        .then_refused(RefundNotFound)
    )


def test_no_metadata_of_a_customer_are_in_the_log() -> None:
    customer = STREAMS["customer"]
    assert customer.metadata_set is None
    assert "metadata" not in {each.name for event in customer.events.values() for each in fields(event)}
