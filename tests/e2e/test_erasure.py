"""After a customer is erased, nothing that is kept anywhere says who it was; and every sum still holds."""

from pathlib import Path

from aiokafka import AIOKafkaProducer

from host.embedded.databases import PostgresServer
from infra.kafka.topics import TopicName, full_name, partition_of
from testing.cell import Whole, open_whole
from testing.processors_cell import Cell, until
from testing.services import KafkaServer
from testing.traces import found_in, places_of, trace

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
        traces = [trace("who it was", each, guessable=True) for each in TRACES]
        found = [line async for place in places_of(whole.cell) for line in found_in(place, traces)]
        assert not found, "\n".join(found)


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
        return int(await cell.pool.fetchval("SELECT count(DISTINCT consumer) FROM ops.dead_letters")) == 3

    await until(buried, "a dead letter of each consumer")
    await cell.pool.execute("UPDATE ops.dead_letters SET replayed_at = now()")
