"""The checks find what they are for: each invariant is broken by hand, and named."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from domain.customers.test_clock import AdvanceTestClock, CreateTestClock, MoveTestClock
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from infra.ids import new_id
from infra.kafka.topics import TopicName, full_name
from processors.invariants.findings import Checked, Invariant
from processors.invariants.log_integrity import Acknowledged, check_log
from processors.invariants.unfinished import check_unfinished
from schemas.codec import default_codec
from testing.processors_cell import Cell, open_cell
from testing.requests import TENANT, request
from testing.services import KafkaServer
from tests.integration.log_filling import new_product

AT_REST = (
    Invariant.GATEWAY,
    Invariant.BOOKS,
    Invariant.LOG,
    Invariant.KAFKA,
    Invariant.SAGAS,
    Invariant.DOCUMENTS,
)


@pytest.fixture
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    """A cell at rest: some invoices paid, a refund, a decline; its processors stopped."""
    async with open_cell(postgres_server, template_database, kafka_server, services_folder) as running:
        await running.start("relay", "processors")
        for token in ("tok_visa", "tok_visa", "tok_decline_lost_card"):
            invoice_id = await running.invoice(await running.customer(token))
            await running.reaches(invoice_id, "invoice.paid" if token == "tok_visa" else "invoice.collection_failed")
        payment_id = await running.pay(await running.customer())
        await running.reaches(payment_id, "payment.captured")
        await running.refund(payment_id, amount=100)
        await running.reaches(payment_id, "refund.succeeded")
        await running.prove(*AT_REST)
        await running.supervisor.stop("processors-0")
        yield running


async def broken(cell: Cell, invariant: Invariant) -> Checked:
    found = (await cell.check(invariant))[invariant]
    assert not found.holds
    return found


async def superuser(cell: Cell, *statements: str) -> None:
    """What nobody can do by way of the system: the log refuses changes from anybody but a server's master."""
    assert cell.settings.database.url is not None
    connection = await asyncpg.connect(cell.settings.database.url.get_secret_value())
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_is_missing_or_doubled_in_the_log_is_named(cell: Cell) -> None:
    told = await cell.writer.submit(request(new_product(1), key="k"))
    mine = Acknowledged(tenant_id=TENANT, idempotency_key="k", position=told.position, refusal_code=None)
    assert (await check_log(cell.pool, acknowledged=[mine])).holds
    for wrong in (
        Acknowledged(tenant_id=TENANT, idempotency_key=new_id("k_"), position=1, refusal_code=None),
        Acknowledged(tenant_id=TENANT, idempotency_key="k", position=told.position - 1, refusal_code=None),
        Acknowledged(tenant_id=TENANT, idempotency_key="k", position=told.position, refusal_code="no"),
    ):
        assert (await check_log(cell.pool, acknowledged=[wrong])).differences == 1
    for tampered in ("NULL", "decision || '\\x00'"):
        change = f"UPDATE log.events SET decision = {tampered} WHERE position = 1"  # noqa: S608  from this file
        await superuser(cell, "CREATE TABLE kept AS SELECT decision FROM log.events WHERE position = 1", change)
        found = await broken(cell, Invariant.LOG)
        assert {each.kind for each in found.named} == {"decision"}
        restore = "UPDATE log.events SET decision = (SELECT decision FROM kept) WHERE position = 1"
        await superuser(cell, restore, "DROP TABLE kept")
    await superuser(cell, "DELETE FROM log.command_results WHERE idempotency_key = 'k'")
    found = await broken(cell, Invariant.LOG)
    assert {(each.kind, each.subject) for each in found.named} == {("no command", f"position {told.position}")}
    await superuser(cell, f"DELETE FROM log.events WHERE position = {told.position - 1}")  # noqa: S608  a number
    found = await broken(cell, Invariant.LOG)
    assert {"gap", "lost"} <= {each.kind for each in found.named}


async def test_a_charge_that_only_one_side_knows_is_named(cell: Cell) -> None:
    store = cell.settings.general.data_dir / "gateway" / "sandbox.sqlite3"
    await cell.supervisor.stop("gateway-0")
    with contextlib.closing(sqlite3.connect(store)) as gateway, gateway:
        gateway.execute("UPDATE transactions SET amount = amount + 1 WHERE seq = (SELECT min(seq) FROM transactions)")
        gateway.execute("UPDATE transactions SET reference = 'x:1' WHERE seq = (SELECT max(seq) FROM transactions)")
    (again,) = await cell.supervisor.start("gateway")
    url = f"http://127.0.0.1:{again.port}"
    cell.settings = replace(cell.settings, gateway=cell.settings.gateway.model_copy(update={"url": url}))
    await cell.supervisor.wait_ready(again.name)
    found = await broken(cell, Invariant.GATEWAY)
    assert {each.kind for each in found.named} == {"not the same", "missing here", "missing there"}


async def test_a_record_that_is_not_the_logs_is_named(cell: Cell) -> None:
    kafka = cell.settings.kafka
    position: int = await cell.pool.fetchval("SELECT position FROM relay.state")
    await cell.supervisor.stop("relay-0")
    row = await cell.pool.fetchrow("SELECT topic, partition, position FROM relay.published ORDER BY topic LIMIT 1")
    assert row is not None
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        headers = {
            "ce_id": "evt_x",
            "ce_type": "product.created",
            "ce_time": "2026-01-01T00:00:00+00:00",
            "ce_subject": "product/x",
            "tenant": TENANT,
            "position": str(position),
            "previous_position": str(row["position"] - 1),
            "incarnation": "1",
            "stream_version": "1",
            "recorded_at": "2026-01-01T00:00:00+00:00",
            "correlation": "c",
        }
        await cell.pool.execute("UPDATE relay.state SET position = position + 1")
        headers["position"] = str(position + 1)
        topic = full_name(kafka.topic_prefix, TopicName.BILLING)
        sent = [(name, value.encode()) for name, value in headers.items()]
        await producer.send_and_wait(topic, b"{}", b"acme:x", partition=row["partition"], headers=sent)
    finally:
        await producer.stop()
    found = await broken(cell, Invariant.KAFKA)
    assert {"gap", "no such event"} <= {each.kind for each in found.named}


async def test_an_entry_that_does_not_balance_in_what_people_read_is_named(cell: Cell) -> None:
    await cell.start("projections")
    await cell.prove(Invariant.BOOKS, Invariant.READ_MODELS)
    table = await cell.pool.fetchval("SELECT table_version FROM read.models WHERE name = 'account_days'")
    await superuser(
        cell,
        f"UPDATE read.account_days_v{table} SET debit = debit + 1 "  # noqa: S608
        f"WHERE ctid = (SELECT min(ctid) FROM read.account_days_v{table})",
    )
    assert {each.kind for each in (await broken(cell, Invariant.BOOKS)).named} == {"trial balance"}
    assert {each.subject for each in (await broken(cell, Invariant.READ_MODELS)).named} == {"read.account_days"}


async def test_an_advance_that_comes_on_is_under_way_however_long_it_takes(cell: Cell) -> None:
    clock_id, start = new_id("clock_"), datetime(2026, 1, 1, tzinfo=UTC)
    await cell.do(CreateTestClock(clock_id=clock_id, name="a year", frozen_at=start, mode=TenantMode.TEST))
    began = await cell.do(AdvanceTestClock(clock_id=clock_id, to=start + timedelta(days=365)))
    long_ago = "recorded_at = recorded_at - interval '1 hour'"
    await superuser(cell, f"UPDATE log.events SET {long_ago} WHERE position = {began.position}")  # noqa: S608
    a_minute, codec = timedelta(minutes=1), default_codec()
    assert not (await check_unfinished(cell.pool, codec, grace=a_minute)).holds, "an hour without a step"
    await cell.do(MoveTestClock(clock_id=clock_id, advance=1, to=start + timedelta(days=31)))
    found = await check_unfinished(cell.pool, codec, grace=a_minute)
    assert found.holds, found.named
    assert not (await check_unfinished(cell.pool, codec)).holds, "at rest it would be finished"


async def test_books_that_tell_another_story_than_the_documents_are_named(cell: Cell) -> None:
    by_hand = CollectionMethod.SEND_INVOICE
    customer = await cell.customer()
    await cell.invoice(customer, finalize=False)
    await cell.invoice(customer, collection=by_hand)
    await cell.do(VoidInvoice(invoice_id=await cell.invoice(customer, collection=by_hand)))
    await cell.do(PayInvoiceOutOfBand(invoice_id=await cell.invoice(customer, collection=by_hand)))
    await cell.prove(Invariant.DOCUMENTS)
    await superuser(
        cell,
        "UPDATE log.events SET postings = NULL "
        "WHERE position = (SELECT min(position) FROM log.events WHERE event_type = 'invoice.finalized')",
    )
    found = {each.kind: each.detail for each in (await broken(cell, Invariant.DOCUMENTS)).named}
    assert set(found) == {"receivable", "receivable of an invoice", "revenue of an invoice"}
    assert found["receivable"].endswith("the documents 0: what is due on invoices")


async def test_a_saga_whose_work_was_lost_is_still_named(cell: Cell) -> None:
    """The log alone shows it: the row that would have driven it is gone."""
    invoice_id = await cell.invoice(await cell.customer())
    payment_id = await cell.pay(await cell.customer())
    await superuser(cell, "DELETE FROM log.due_work")
    found = await broken(cell, Invariant.SAGAS)
    assert {(each.kind, each.subject) for each in found.named} == {
        ("unfinished charge", f"charge:{invoice_id}"),
        ("unfinished payment", payment_id),
    }
