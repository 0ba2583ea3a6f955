"""A poison record stops nothing but itself: it is kept with its error, shown, and replayed by command after the fix."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from domain.kernel.stream import WorkKind
from host.embedded.databases import PostgresServer
from infra.event_store.due_work import PostgresDueWork
from infra.kafka.topics import TopicName, full_name, partition_of
from processors.invariants.findings import Invariant
from testing import forked_commands
from testing.processors_cell import Cell, open_cell, until
from testing.services import KafkaServer


@pytest.fixture(scope="module")
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    quick = {"TALLYBOOK_PROCESSORS_ATTEMPTS_MAX": "3", "TALLYBOOK_PROCESSORS_ATTEMPT_BACKOFF_MS": "20"}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **quick) as running:
        await running.start("relay", "processors")
        yield running


async def tallybook(cell: Cell, *arguments: str) -> tuple[int, str]:
    """The command line, as an operator uses it."""
    environment = {**os.environ, **cell.environment, "COLUMNS": "250"}
    done = await asyncio.to_thread(forked_commands.tallybook, environment, *arguments)
    return done.returncode, done.stdout + done.stderr


async def produce(cell: Cell, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> int:
    """Write straight into the billing topic, as nobody should; the partition."""
    kafka = cell.settings.kafka
    number = partition_of(key, kafka.partitions)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        topic = full_name(kafka.topic_prefix, TopicName.BILLING)
        await producer.send_and_wait(topic, value, key, partition=number, headers=headers)
    finally:
        await producer.stop()
    return number


async def letters(cell: Cell) -> list[tuple[int, str, str]]:
    rows = await cell.pool.fetch(
        "SELECT dead_letter_id, consumer, error FROM ops.dead_letters WHERE replayed_at IS NULL ORDER BY 1"
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def on_topic(cell: Cell, topic: TopicName) -> list[tuple[bytes, dict[str, bytes]]]:
    """Key and headers of every record of a topic."""
    kafka = cell.settings.kafka
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        name = full_name(kafka.topic_prefix, topic)
        places = [TopicPartition(name, number) for number in range(kafka.partitions)]
        consumer.assign(places)
        found: list[tuple[bytes, dict[str, bytes]]] = []
        ends = await consumer.end_offsets(places)
        while sum(ends.values()) > len(found):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.key, dict(record.headers)) for record in records]
        return found
    finally:
        await consumer.stop()


OF_BILLING = ("saga-charge", "saga-charge", "usage-looks")
"""Who keeps the garbage: whoever reads the topic keeps what says nothing, and those who want its type what says one."""


async def test_garbage_is_kept_and_the_partition_goes_on(cell: Cell) -> None:
    customer_id = await cell.customer()
    key = f"acme:{customer_id}".encode()
    await produce(cell, key, b"\xff\x00 not ours", [])
    await produce(cell, key, b"\x00\x00\x00\xff\xff nor this", [("ce_type", b"invoice.finalized"), ("ce_id", b"\xc3(")])
    invoice_id = await cell.invoice(customer_id)  # the same key, so the same partition, behind the garbage
    await cell.reaches(invoice_id, "invoice.paid")

    async def is_kept() -> bool:
        return sorted(consumer for _, consumer, _ in await letters(cell)) == list(OF_BILLING)

    await until(is_kept, "each consumer's letters")
    assert all("NotOurRecord" in error for _, _, error in await letters(cell))
    for _, headers in await on_topic(cell, TopicName.DEAD_LETTERS):
        assert headers["dead_letter_consumer"].decode() in OF_BILLING
        assert b"NotOurRecord" in headers["dead_letter_error"]
        assert headers["dead_letter_topic"] == full_name(cell.settings.kafka.topic_prefix, TopicName.BILLING).encode()
    code, output = await tallybook(cell, "dead-letters", "list")
    assert code == 0
    assert "NotOurRecord" in output
    code, output = await tallybook(cell, "dead-letters", "replay")
    assert code == 1, output
    assert "no record of ours" in output
    for number, _, _ in await letters(cell):
        assert (await tallybook(cell, "dead-letters", "dismiss", str(number)))[0] == 0
    assert await letters(cell) == []


async def test_an_event_that_the_log_does_not_have_is_kept_with_its_error(cell: Cell) -> None:
    """All headers are in order; the bytes are of a schema that nobody knows."""
    invoice_id = await cell.invoice(await cell.customer())
    await cell.reaches(invoice_id, "invoice.paid")
    records = await on_topic(cell, TopicName.BILLING)
    key, headers = next(each for each in records if each[1].get("ce_subject", b"").endswith(invoice_id.encode()))
    changed = headers | {"ce_type": b"invoice.finalized", "ce_id": b"evt_unknown"}
    await produce(cell, key, b"\x00\x7f\xff\xff\xff?", list(changed.items()))

    async def kept() -> bool:
        return any("ForeignRecord" in error for _, _, error in await letters(cell))

    await until(kept, "the letter")
    for number, _, _ in await letters(cell):
        assert (await tallybook(cell, "dead-letters", "dismiss", str(number)))[0] == 0


async def test_a_saga_whose_event_died_is_held_and_goes_on_once_it_is_replayed(cell: Cell) -> None:
    """What fails is the write of this customer's charge; mending it is dropping the trigger that refuses it."""
    customer_id = await cell.customer()
    await cell.pool.execute(
        f"""CREATE FUNCTION log.poison() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.event_type = 'payment.created' AND NEW.partition_key = 'acme:{customer_id}' THEN
                    RAISE EXCEPTION 'poisoned';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER poison BEFORE INSERT ON log.events FOR EACH ROW EXECUTE FUNCTION log.poison()"""
    )
    try:
        invoice_id = await cell.invoice(customer_id)

        async def is_held() -> bool:
            return bool(await PostgresDueWork(cell.pool).held(limit=10))

        await until(is_held, "the held work")
        assert any("poisoned" in error for _, _, error in await letters(cell))
        held = await PostgresDueWork(cell.pool).held(limit=10)
        assert [(work.kind, work.subject) for work in held] == [(WorkKind.SAGA_DEADLINE, f"charge:{invoice_id}")]
        assert "poisoned" in (held[0].last_error or "")
        # Others, and other keys of the partition, go on meanwhile.
        other = await cell.invoice(await cell.customer())
        await cell.reaches(other, "invoice.paid")
        unfinished = (await cell.check(Invariant.SAGAS))[Invariant.SAGAS]
        assert {difference.kind for difference in unfinished.named} >= {"held", "dead letter", "unfinished charge"}
        code, output = await tallybook(cell, "dead-letters", "list")
        assert code == 0
        assert "poisoned" in output
        assert f"charge:{invoice_id}" in output
        assert (await tallybook(cell, "dead-letters", "replay"))[0] == 1, "not mended yet"
        assert await letters(cell) != []
    finally:
        await cell.pool.execute("DROP TRIGGER poison ON log.events; DROP FUNCTION log.poison()")
    code, output = await tallybook(cell, "dead-letters", "replay")
    assert code == 0, output
    await cell.reaches(invoice_id, "invoice.paid")
    assert await letters(cell) == []
    assert await PostgresDueWork(cell.pool).held(limit=10) == []
    await cell.prove(Invariant.GATEWAY, Invariant.BOOKS, Invariant.LOG, Invariant.SAGAS)


async def test_a_held_refund_is_ended_by_an_operator_who_says_what_it_rests_on(cell: Cell) -> None:
    payment_id = await cell.pay(await cell.customer())
    await cell.reaches(payment_id, "payment.captured")
    ending = ("--evidence", "support case 4711", "--by", "ada")
    await cell.gateway_says("PUT", "/faults", {"rate_limit": 1.0, "rate_limit_retry_after_ms": 60_000})
    try:
        subject = f"{payment_id}/{await cell.refund(payment_id)}"
        assert (await tallybook(cell, "dead-letters", "end-refund", subject, "--not-returned", *ending))[0] == 1
        cause = await cell.pool.fetchval("SELECT caused_by_event_id FROM log.due_work WHERE subject = $1", subject)
        await PostgresDueWork(cell.pool).hold_caused_by(cause, WorkKind.REFUND_GATEWAY_CALL, error="not known there")
        for both in ((), ("--not-returned", "--returned-as", "rf_1")):
            assert (await tallybook(cell, "dead-letters", "end-refund", subject, *both, *ending))[0] == 2
        code, output = await tallybook(cell, "dead-letters", "end-refund", subject, "--not-returned", *ending)
        assert code == 0, output
    finally:
        await cell.gateway_says("DELETE", "/faults")
    assert (await cell.events(payment_id))[-1] == "refund.failed"
    assert await PostgresDueWork(cell.pool).held(limit=10) == []


async def test_held_work_runs_again_once_it_is_released(cell: Cell) -> None:
    payment_id = await cell.pay(await cell.customer("tok_requires_action"))
    await cell.reaches(payment_id, "payment.action_required")
    attempt = f"{payment_id}:1"
    cause = await cell.pool.fetchval("SELECT caused_by_event_id FROM log.due_work WHERE subject = $1", attempt)
    await PostgresDueWork(cell.pool).hold_caused_by(cause, WorkKind.PAYMENT_GATEWAY_CALL, error="looked at by hand")
    await cell.authenticate(payment_id)
    assert "looked at by hand" in (await tallybook(cell, "dead-letters", "list"))[1]
    assert (await tallybook(cell, "dead-letters", "release", "pay_unknown"))[0] == 1
    assert (await tallybook(cell, "dead-letters", "release", attempt, "--tenant", "other"))[0] == 1
    assert "payment.captured" not in await cell.events(payment_id)
    code, output = await tallybook(cell, "dead-letters", "release", attempt)
    assert code == 0, output
    await cell.reaches(payment_id, "payment.captured")
