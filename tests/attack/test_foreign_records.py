"""Whatever somebody else writes to our topics becomes a dead letter, and nothing stops: no process, no partition."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from domain.payments.payment import PaymentCaptured
from host.embedded.databases import PostgresServer
from infra.kafka.topics import PUBLISHED, TopicName, full_name
from processors.invariants.findings import Invariant
from projections.read_model import Projection
from schemas.codec import default_codec
from testing.processors_cell import Cell, open_cell, until
from testing.services import KafkaServer
from tests.attack.foreign_records import (
    Foreign,
    Written,
    foreign_records,
    make_topics,
    read_all,
    write,
    write_unreadable,
)


@pytest.fixture(scope="module")
async def cell(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Cell]:
    quick = {"TALLYBOOK_PROCESSORS_ATTEMPTS_MAX": "2", "TALLYBOOK_PROCESSORS_ATTEMPT_BACKOFF_MS": "20"}
    async with open_cell(postgres_server, template_database, kafka_server, services_folder, **quick) as running:
        kafka = running.settings.kafka
        await make_topics(kafka_server, kafka.topic_prefix, kafka.partitions)
        await running.start("relay", "processors", "projections")
        yield running


async def test_foreign_records_on_every_topic_stop_nothing(cell: Cell, kafka_server: KafkaServer) -> None:
    customer_id = await cell.customer()
    first = await cell.invoice(customer_id)
    await cell.reaches(first, "invoice.paid")
    await cell.prove(Invariant.READ_MODELS)
    pids = {role.name: role.pid for role in cell.supervisor.roles}
    expected: dict[str, int] = {}
    key = f"acme:{customer_id}".encode()
    prefix, partitions = cell.settings.kafka.topic_prefix, cell.settings.kafka.partitions
    published = {topic: await read_all(kafka_server, full_name(prefix, topic), partitions) for topic in PUBLISHED}
    read = {projection.topic for projection in Projection}
    for topic in TopicName:
        name = full_name(prefix, topic)
        origin = topic if topic in read else TopicName.BILLING
        model = next(record for record in published[origin] if record.key == key)
        headers = [(header, value) for header, value in model.headers if value is not None]
        records = foreign_records(key, model.value or b"", headers)
        if topic in read:
            expected[name] = len(records)
        await write(kafka_server, name, model.partition, records)
        await write(kafka_server, name, model.partition, records[:1], timestamp_ms=-(2**62))
        await write(kafka_server, name, model.partition, records[-3:], packed=False)
        await write_unreadable(kafka_server, name, model.partition)
    # Behind all of it, in the same partitions, business goes on: by Kafka, for the sweeper's actor is another.
    later = await cell.invoice(customer_id)
    await cell.reaches(later, "invoice.paid")
    assert await _started_by(cell, later) == "saga:charge"
    await cell.prove(Invariant.READ_MODELS, Invariant.BOOKS, Invariant.GATEWAY)
    assert {role.name: role.pid for role in cell.supervisor.roles} == pids, "a process ended"
    for role in cell.supervisor.roles:
        assert role.restarts == 0, role.name
    for projection in Projection:
        topic_name = full_name(cell.settings.kafka.topic_prefix, projection.topic)
        buried = await cell.pool.fetchval(
            "SELECT count(*) FROM ops.dead_letters WHERE consumer = $1 AND topic = $2",
            f"projections.{projection}",
            topic_name,
        )
        # Some are a record of ours once more, with something about it that nobody reads.
        assert buried >= expected[topic_name] * 0.7, (projection, buried, expected[topic_name])
    assert await cell.pool.fetchval("SELECT count(*) FROM read.held_keys") == 0, "no key is held for a forgery"
    assert not await cell.pool.fetchval("SELECT bool_or(held) FROM log.due_work"), "nor any work"


async def test_a_forged_event_moves_no_money(cell: Cell, kafka_server: KafkaServer) -> None:
    """A capture that nobody needs is refunded by its saga; who can write to the topic must not."""
    kafka = cell.settings.kafka
    payment_id = await cell.pay(await cell.customer())
    await cell.reaches(payment_id, "payment.captured")
    topic = full_name(kafka.topic_prefix, TopicName.PAYMENTS)
    real: list[Written] = []

    async def published() -> bool:
        for record in await read_all(kafka_server, topic, kafka.partitions):
            headers = dict(record.headers)
            if headers.get("ce_type") == b"payment.captured" and (headers["ce_subject"] or b"").endswith(
                payment_id.encode()
            ):
                real.append(record)
        return bool(real)

    await until(published, "the capture on its topic")
    codec = default_codec()
    captured = codec.decode_event(real[0].value or b"")
    assert isinstance(captured, PaymentCaptured)
    _, _, value = codec.encode_event(replace(captured, unneeded=True))
    headers = dict(real[0].headers)
    forged = [
        Foreign("its own id", real[0].key, value, list((headers | {"ce_id": b"evt_forged"}).items())),
        Foreign("the real event's id", real[0].key, value, list(headers.items())),
    ]
    await write(kafka_server, topic, real[0].partition, forged)

    async def buried() -> bool:
        return bool(
            await cell.pool.fetchval(
                "SELECT count(*) = 2 FROM ops.dead_letters WHERE consumer = 'saga-refund' "
                "AND error LIKE 'ForeignRecord%' AND record_value = $1",
                value,
            )
        )

    await until(buried, "both as dead letters")
    assert await cell.count("refund.requested") == 0


async def _started_by(cell: Cell, invoice_id: str) -> str:
    """Who issued the command that made an invoice's payment."""
    return str(
        await cell.pool.fetchval(
            "SELECT p.actor FROM log.events p JOIN log.events i ON i.event_id = p.causation_id "
            "WHERE i.stream_id = $1 AND p.event_type = 'payment.created'",
            invoice_id,
        )
    )
