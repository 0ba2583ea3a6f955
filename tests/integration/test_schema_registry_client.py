"""Confluent's own client and deserializer read our payloads, with the schemas served as the API serves them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from confluent_kafka import DeserializingConsumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext, StringDeserializer

from domain.catalogue import STREAMS
from schemas import golden, registry
from schemas.asyncapi import LEDGER_TOPIC
from schemas.committed import EventSchema, committed
from testing.services import KafkaServer

PREFIX = "/schema-registry"
BROKER_TIMEOUT_S = 60.0


def answer(path: str) -> object:
    """The routes that the API mounts under /schema-registry."""
    match [unquote(part) for part in path.removeprefix(PREFIX).strip("/").split("/")]:
        case ["schemas", "ids", schema_id]:
            return registry.schema_by_id(int(schema_id))
        case ["schemas", "ids", schema_id, "subjects"]:
            return registry.subjects_by_id(int(schema_id))
        case ["schemas", "ids", schema_id, "versions"]:
            return registry.versions_by_id(int(schema_id))
        case ["subjects"]:
            return registry.subjects()
        case ["subjects", subject, "versions"]:
            return registry.versions(subject)
        case ["subjects", subject, "versions", number]:
            return registry.version(subject, number)
        case ["config", *_]:
            return registry.compatibility()
        case _:
            raise registry.RegistryError(404, 404, "HTTP 404 Not Found")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._reply(lambda: answer(urlsplit(self.path).path))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = unquote(urlsplit(self.path).path.removeprefix(f"{PREFIX}/subjects/"))
        self._reply(lambda: registry.lookup(subject, request["schema"]))

    def _reply(self, asked: Callable[[], object]) -> None:
        try:
            status, body = 200, asked()
        except registry.RegistryError as error:
            status, body = error.status, error.body
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", registry.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Quiet."""


@pytest.fixture(scope="module")
def client() -> Iterator[SchemaRegistryClient]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield SchemaRegistryClient({"url": f"http://127.0.0.1:{server.server_address[1]}{PREFIX}", "max.retries": 0})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(value: Any) -> Any:
    """Confluent's reading in the form of the golden .json files, which name the record of a union as well."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return value


def without_record_names(value: Any) -> Any:
    match value:
        case [str(name), dict(record)] if name.startswith("tallybook."):
            return without_record_names(record)
        case list():
            return [without_record_names(part) for part in value]
        case dict():
            return {key: without_record_names(part) for key, part in value.items()}
        case _:
            return value


@pytest.mark.parametrize("with_context", [False, True], ids=["alone", "as a consumer calls it"])
@pytest.mark.parametrize("schema", committed().all, ids=lambda schema: f"{schema.event_type}.v{schema.version}")
def test_confluents_deserializer_reads_our_bytes(
    client: SchemaRegistryClient, schema: EventSchema, with_context: bool
) -> None:
    payload, expected = golden_of(schema)
    context = SerializationContext("cell1.billing.events.v1", MessageField.VALUE) if with_context else None
    read = AvroDeserializer(client)(payload, context)
    assert as_json(read) == expected


@pytest.mark.parametrize("schema", committed().all[:3], ids=lambda schema: schema.event_type)
def test_the_latest_version_is_found_by_the_records_name(client: SchemaRegistryClient, schema: EventSchema) -> None:
    payload, expected = golden_of(schema)
    latest = AvroDeserializer(
        client, conf={"use.latest.version": True, "subject.name.strategy": record_subject_name_strategy}
    )
    read = latest(payload, SerializationContext("cell1.billing.events.v1", MessageField.VALUE))
    assert as_json(read) == expected


def test_the_client_lists_subjects_and_versions(client: SchemaRegistryClient) -> None:
    assert client.get_subjects() == registry.subjects()
    assert client.get_versions("tallybook.invoice.Finalized") == [1]
    latest = client.get_latest_version("tallybook.invoice.Finalized")
    schema = committed().find("invoice.finalized", 1)
    assert schema is not None
    assert latest.schema_id == schema.id
    assert latest.schema.schema_str is not None
    assert json.loads(latest.schema.schema_str) == schema.schema
    assert client.get_compatibility() == "FULL_TRANSITIVE"


def test_the_client_understands_our_refusals(client: SchemaRegistryClient) -> None:
    with pytest.raises(SchemaRegistryError) as unknown_id:
        client.get_schema(999_999)
    assert (unknown_id.value.http_status_code, unknown_id.value.error_code) == (404, 40403)
    with pytest.raises(SchemaRegistryError) as unknown_subject:
        client.get_latest_version("tallybook.nothing.Happened")
    assert unknown_subject.value.error_code == 40401
    with pytest.raises(SchemaRegistryError) as unknown_version:
        client.get_version("tallybook.invoice.Finalized", 99)
    assert unknown_version.value.error_code == 40402


def test_a_consumer_of_the_topics_reads_every_kind_of_record(
    client: SchemaRegistryClient, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    """On a real broker, with nothing of ours on the reading side."""
    samples = {
        schema.event_type: (f"{topic_prefix}{topic_of(schema)}", *golden_of(schema)) for schema in committed().all
    }
    topics = sorted({topic for topic, _, _ in samples.values()})
    servers: dict[str, str | int | float | bool] = {"bootstrap.servers": kafka_server.bootstrap}
    admin = AdminClient(servers)
    made = admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1) for topic in topics])
    for done in made.values():
        done.result(BROKER_TIMEOUT_S)
    producer = Producer(servers)
    for event_type, (topic, payload, _) in samples.items():
        producer.produce(topic, key="acme:cus_1", value=payload, headers=[("ce_type", event_type.encode())])
    assert producer.flush(BROKER_TIMEOUT_S) == 0

    consumer = DeserializingConsumer(
        {
            **servers,
            "group.id": f"{topic_prefix}team",
            "auto.offset.reset": "earliest",
            "key.deserializer": StringDeserializer(),
            "value.deserializer": AvroDeserializer(client),
        }
    )
    read: dict[str, Any] = {}
    deadline = time.monotonic() + BROKER_TIMEOUT_S
    try:
        consumer.subscribe(topics)
        while len(read) < len(samples) and time.monotonic() < deadline:
            record: Any = consumer.poll(1.0)  # the client has no types for deserialized records
            if record is not None:
                assert record.key() == "acme:cus_1"
                read[dict(record.headers())["ce_type"].decode()] = as_json(record.value())
    finally:
        consumer.close()
    assert read == {event_type: expected for event_type, (_, _, expected) in samples.items()}


def golden_of(schema: EventSchema) -> tuple[bytes, Any]:
    """The golden payload of a version, and what it says."""
    name = golden.golden_name(schema.event_type, schema.version)
    said = json.loads((golden.FOLDER / f"{name}.json").read_text())
    return (golden.FOLDER / f"{name}.bin").read_bytes(), without_record_names(said)


def topic_of(schema: EventSchema) -> str:
    """The topic that a type's events are published to."""
    for stream in STREAMS.values():
        if schema.event_type in stream.events:
            return stream.topic.value
    return LEDGER_TOPIC
