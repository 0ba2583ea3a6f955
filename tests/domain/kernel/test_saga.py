"""What follows from a saga's declaration: its deadline, its names, and what it may not say."""

from dataclasses import replace

import pytest

from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoicePaid
from domain.kernel.saga import SagaState
from domain.payments.charge_saga import CHARGE_SAGA
from domain.payments.refund_saga import REFUND_SAGA
from domain.sagas import SAGAS
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import INVOICE_ID, PAYMENT_ID, invoice_paid, payment_captured


def test_a_saga_is_named_by_its_subject_whatever_event_of_it_is_looked_at() -> None:
    assert CHARGE_SAGA.id_of(invoice_paid()) == f"charge:{INVOICE_ID}"
    assert REFUND_SAGA.id_of(payment_captured(unneeded=True)) == f"refund:{PAYMENT_ID}"
    assert len({saga.name for saga in SAGAS}) == len(SAGAS)


def test_its_events_are_known_by_their_business_names() -> None:
    assert CHARGE_SAGA.started_by == "invoice.finalized"
    assert CHARGE_SAGA.states["invoice.voided"] is SagaState.CANCELED


def test_events_of_other_streams_are_refused() -> None:
    with pytest.raises(TypeError, match="not of its streams"):
        replace(CHARGE_SAGA, streams=(SUBSCRIPTION,))
    with pytest.raises(TypeError, match="not of its streams"):
        replace(REFUND_SAGA, moves={InvoicePaid: SagaState.SUCCEEDED})


def test_a_deadline_stands_in_one_stream_s_batches() -> None:
    with pytest.raises(TypeError, match="several streams"):
        replace(CHARGE_SAGA, streams=(INVOICE, SUBSCRIPTION))


def test_a_name_that_no_table_can_have_is_refused() -> None:
    with pytest.raises(TypeError, match="underscores"):
        replace(CHARGE_SAGA, name="giving-up")
