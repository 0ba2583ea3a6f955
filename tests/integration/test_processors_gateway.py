"""Gateway calls by processors on a real gateway: whatever becomes of a call, a payment is charged once or never."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.invoicing.finalization import VoidInvoice
from gateway_adapters.port import TransactionKind
from host.embedded.databases import PostgresServer
from processors.invariants.findings import Invariant
from testing.processors_cell import Cell, open_cell, until
from testing.services import KafkaServer


@pytest.fixture(scope="module")
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    """A relay and two processors; each test has customers of its own."""
    async with open_cell(postgres_server, template_database, kafka_server, services_folder) as running:
        await running.start("relay")
        await running.start("processors", instances=2)
        yield running


@pytest.mark.parametrize(
    ("token", "last", "unknown_first"),
    [
        ("tok_visa", "payment.captured", False),
        ("tok_slow", "payment.captured", True),
        ("tok_processing", "payment.captured", True),
        ("tok_timeout_after_charge", "payment.captured", True),
        ("tok_timeout_before_charge_then_succeed", "payment.captured", True),
        ("tok_error_after_charge", "payment.captured", True),
        ("tok_decline_insufficient_funds", "payment.declined", False),
        ("tok_decline_expired_card", "payment.declined", False),
        ("tok_processing_fails", "payment.declined", True),
        ("tok_requires_action", "payment.action_required", False),
    ],
)
async def test_an_outcome_is_found_out_and_nothing_is_charged_twice(
    cell: Cell, token: str, last: str, unknown_first: bool
) -> None:
    payment_id = await cell.pay(await cell.customer(token))
    await cell.reaches(payment_id, last)
    events = await cell.events(payment_id)
    assert events.count("payment.attempt_requested") == 1
    # A gateway that answers at once may still be silent for longer than the time-out, on a machine that is busy enough.
    assert "payment.outcome_unknown" in events or not unknown_first
    assert await cell.charged(payment_id) == (last == "payment.captured")


@pytest.mark.parametrize("token", ["tok_timeout_before_charge", "tok_error_before_charge"])
async def test_what_stays_unknown_is_asked_again_and_again_and_never_guessed(cell: Cell, token: str) -> None:
    payment_id = await cell.pay(await cell.customer(token))
    await cell.reaches(payment_id, "payment.outcome_unknown")

    async def asked_often() -> bool:
        attempts = await cell.pool.fetchval("SELECT attempts FROM log.due_work WHERE subject = $1", f"{payment_id}:1")
        return attempts is not None and attempts >= 3

    await until(asked_often, "three look-ups")
    assert (await cell.events(payment_id))[-1] == "payment.outcome_unknown"
    assert await cell.charged(payment_id) == 0
    unfinished = (await cell.check(Invariant.SAGAS))[Invariant.SAGAS]
    assert payment_id in {difference.subject for difference in unfinished.named}


async def test_a_customer_who_authenticates_is_charged(cell: Cell) -> None:
    payment_id = await cell.pay(await cell.customer("tok_requires_action"))
    await cell.reaches(payment_id, "payment.action_required")
    await cell.authenticate(payment_id)
    await cell.reaches(payment_id, "payment.captured")
    assert await cell.charged(payment_id) == 1


@pytest.mark.parametrize(
    ("token", "last", "returned"),
    [
        ("tok_visa", "refund.succeeded", 300),
        ("tok_refund_processing", "refund.succeeded", 300),
        ("tok_refund_fails", "refund.failed", 0),
    ],
)
async def test_a_refund_is_returned_once_or_fails_for_good(cell: Cell, token: str, last: str, returned: int) -> None:
    payment_id = await cell.pay(await cell.customer(token), amount=500)
    await cell.reaches(payment_id, "payment.captured")
    refund_id = await cell.refund(payment_id, amount=300)
    await cell.reaches(payment_id, last)
    refunds = [each for each in await cell.transactions(TransactionKind.REFUND) if each.reference == refund_id]
    assert sum(-refund.amount.amount for refund in refunds) == returned


async def test_refunds_asked_for_by_another_process_reach_the_gateway(cell: Cell) -> None:
    """Each processor has seen the payments that it charged; the refunds are news to all of them."""
    payments = [await cell.pay(await cell.customer()) for _ in range(6)]
    await asyncio.gather(*(cell.reaches(payment_id, "payment.captured") for payment_id in payments))
    for _ in range(2):
        await asyncio.gather(*(cell.refund(payment_id, amount=10) for payment_id in payments))
    for payment_id in payments:

        async def both(payment_id: str = payment_id) -> bool:
            return (await cell.events(payment_id)).count("refund.succeeded") == 2

        await until(both, f"two refunds of {payment_id}")


async def test_a_charge_whose_invoice_is_voided_meanwhile_is_not_made_or_goes_back(cell: Cell) -> None:
    invoice_id = await cell.invoice(await cell.customer("tok_slow"))

    async def is_charged() -> bool:
        return bool(await _payment_of(cell, invoice_id))

    await until(is_charged, "the charge is on its way")
    await cell.do(VoidInvoice(invoice_id=invoice_id))
    payment_id = await _payment_of(cell, invoice_id)

    async def is_over() -> bool:
        return (await cell.events(payment_id))[-1] in {"payment.canceled", "refund.succeeded"}

    await until(is_over, "it is given up, or what was captured is back")
    returned = {refund.reference for refund in await cell.transactions(TransactionKind.REFUND)}
    refunds = await _refunds_of(cell, payment_id)
    assert await cell.charged(payment_id) == len(refunds)
    assert refunds <= returned


async def _payment_of(cell: Cell, invoice_id: str) -> str:
    return str(
        await cell.pool.fetchval(
            "SELECT stream_id FROM log.events WHERE event_type = 'payment.created' "
            "AND position(convert_to($1, 'UTF8') IN payload) > 0",
            invoice_id,
        )
        or ""
    )


async def _refunds_of(cell: Cell, payment_id: str) -> set[str]:
    from schemas.codec import decode_event

    rows = await cell.pool.fetch(
        "SELECT payload FROM log.events WHERE stream_id = $1 AND event_type = 'refund.requested'", payment_id
    )
    return {str(getattr(decode_event(row[0]), "refund_id", "")) for row in rows}


async def test_the_gateways_record_is_ours(cell: Cell) -> None:
    await cell.prove(Invariant.GATEWAY, Invariant.BOOKS, Invariant.LOG, Invariant.KAFKA)
