"""After a customer is erased, nothing that is kept anywhere says who it was; and every sum still holds."""

import asyncio
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from host.embedded.databases import PostgresServer
from infra.kafka.topics import TopicName, full_name, partition_of
from testing.cell import Whole, open_whole
from testing.processors_cell import Cell, until
from testing.services import KafkaServer

PERSON = {
    "name": "Zebulon Quxworth",
    "email": "zebulon.quxworth@example.org",
    "phone": "+49 30 77713377",
    "address": {"line1": "Quxworthgasse 9", "city": "Zebulonia", "country": "DE"},
    "metadata": {"nickname": "quxzeb"},
}
LATER = {"name": "Zebulon Quxworth-Smith", "email": "zebulon@quxworth.example"}
TRACES = ("Zebulon", "zebulon", "Quxworth", "quxworth", "quxzeb", "77713377")
EXTERNAL_ID = "crm-1"


async def test_after_erasure_no_table_and_no_topic_says_who_it_was(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> None:
    async with open_whole(postgres_server, template_database, kafka_server, services_folder, instances=1) as whole:
        await _live_and_be_erased(whole)
        await whole.at_rest()
        for trace in TRACES:
            assert await _tables_with(whole.cell, trace) == []
            assert await _topics_with(whole.cell, trace) == []
            assert await asyncio.to_thread(_files_with, whole.cell, trace) == []


async def _live_and_be_erased(whole: Whole) -> None:
    cell = whole.cell
    await whole.post("/v1/customers", {"currency": "EUR", "external_id": EXTERNAL_ID})
    customer_id, invoice_id = await whole.subscribed(PERSON, token="tok_visa", key="create")
    await cell.reaches(invoice_id, "invoice.paid")
    changed = await whole.send("PATCH", f"/v1/customers/{customer_id}", LATER, key="change")
    assert changed.body["name"] == LATER["name"]
    # Refused, and remembered with who it was about: somebody else has this external id.
    refused = await whole.post(
        "/v1/customers", {"currency": "EUR", "external_id": EXTERNAL_ID, **PERSON}, key="refused"
    )
    assert refused.status == 409
    payment = {"customer": customer_id, "amount": {"amount": 700, "currency": "EUR"}, "confirm": True}
    payment_id = (await whole.post("/v1/payments", payment)).id
    await cell.reaches(payment_id, "payment.captured")
    await whole.post("/v1/refunds", {"payment": payment_id, "amount": {"amount": 100, "currency": "EUR"}})
    await cell.reaches(payment_id, "refund.succeeded")
    await _poison(cell, f"acme:{customer_id}".encode())
    shown = await whole.send("GET", f"/v1/customers/{customer_id}")
    assert shown.status == 200
    assert shown.body["email"] == LATER["email"]

    erased = await whole.post(f"/v1/customers/{customer_id}/erase", {}, key="erase")
    assert erased.status == 200, erased.body
    assert erased.body["name"] is None

    async def forgotten() -> bool:
        told = await whole.send("GET", f"/v1/customers/{customer_id}")
        return told.body["name"] is None and told.body["erased_at"] is not None

    await until(forgotten, "the read model shows it")
    again = await whole.post("/v1/customers", {"currency": "EUR", **PERSON}, key="create")
    assert (again.status, again.body["code"]) == (410, "personal_data_erased")
    again = await whole.send("PATCH", f"/v1/customers/{customer_id}", LATER, key="change")
    assert again.status == 410
    again = await whole.post(f"/v1/customers/{customer_id}/erase", {}, key="erase")
    assert again.content == erased.content


async def _poison(cell: Cell, key: bytes) -> None:
    """A dead letter of the customer's, of every consumer of the topic; dismissed, for nobody can handle it."""
    kafka = cell.settings.kafka
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        topic = full_name(kafka.topic_prefix, TopicName.BILLING)
        await producer.send_and_wait(topic, b"?", key, partition=partition_of(key, kafka.partitions))
    finally:
        await producer.stop()

    async def buried() -> bool:
        return int(await cell.pool.fetchval("SELECT count(DISTINCT consumer) FROM ops.dead_letters")) == 2

    await until(buried, "two dead letters")
    await cell.pool.execute("UPDATE ops.dead_letters SET replayed_at = now()")


async def _tables_with(cell: Cell, trace: str) -> list[str]:
    """Tables with a row that holds the trace: as text, or as bytes, which a row shows in hexadecimal."""
    assert cell.settings.database.url is not None
    connection = await asyncpg.connect(cell.settings.database.url.get_secret_value())
    try:
        tables = await connection.fetch(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'"
        )
        assert {"log.events", "log.command_results", "log.snapshots", "vault.people", "ops.dead_letters"} <= {
            row[0] for row in tables
        }
        found = []
        for (table,) in tables:
            rows = await connection.fetchval(
                f"SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0",  # noqa: S608
                trace,
                trace.encode().hex(),
            )
            found += [table] * bool(rows)
        return found
    finally:
        await connection.close()


async def _topics_with(cell: Cell, trace: str) -> list[str]:
    """Topics with a record whose key, value or headers hold the trace."""
    kafka = cell.settings.kafka
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    found: list[str] = []
    seen = 0
    try:
        places = [
            TopicPartition(full_name(kafka.topic_prefix, topic), number)
            for topic in TopicName
            for number in range(kafka.partitions)
        ]
        consumer.assign(places)
        total = sum((await consumer.end_offsets(places)).values())
        assert total > 0
        while seen < total:
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                seen += len(records)
                for record in records:
                    parts = [record.key or b"", record.value or b"", *(value for _, value in record.headers)]
                    found += [place.topic] * any(trace.encode() in part for part in parts)
    finally:
        await consumer.stop()
    return found


def _files_with(cell: Cell, trace: str) -> list[str]:
    """Files of the roles (their logs, the gateway's store) with the trace."""
    folder = cell.settings.general.data_dir
    return [str(path) for path in folder.rglob("*") if path.is_file() and trace.encode() in path.read_bytes()]
