"""The AsyncAPI document tells of every event, once, on its own topic, and of the headers as they are."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import avro.schema

from domain.catalogue import STREAMS
from infra.event_store.port import Recorded
from infra.kafka.records import PREVIOUS_POSITION, HeaderWriter
from schemas.asyncapi import DEAD_LETTER, DEAD_LETTER_HEADERS, HEADERS, LEDGER_TOPIC, document
from schemas.committed import committed

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(STREAMS, prefix="cell1.", partitions=6)))


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [reference for part in node for reference in references(part)]
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [reference for part in node.values() for reference in references(part)]
    return []


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        assert isinstance(resolve(reference), dict), reference


def test_every_event_stands_on_its_streams_topic() -> None:
    events_by_address = {
        channel["address"]: [resolve(message["$ref"])["name"] for message in channel["messages"].values()]
        for channel in DOCUMENT["channels"].values()
    }
    for stream in STREAMS.values():
        assert set(stream.events) <= set(events_by_address[f"cell1.{stream.topic}"])
    assert set(events_by_address[f"cell1.{LEDGER_TOPIC}"]) == {"ledger.entry"}
    told = [name for names in events_by_address.values() for name in names if name != DEAD_LETTER]
    assert sorted(told) == sorted(schema.event_type for schema in committed().all)  # each version is a message


def test_it_says_where_the_brokers_are() -> None:
    servers = document(STREAMS, bootstrap="one:9092, two:9093")["servers"]
    assert isinstance(servers, dict)
    assert {server["host"] for server in servers.values() if isinstance(server, dict)} == {"one:9092", "two:9093"}
    assert all(server["protocol"] == "kafka" for server in DOCUMENT["servers"].values())


def test_the_dead_letters_stand_there_with_the_headers_that_they_have() -> None:
    channel = DOCUMENT["channels"]["dead_letters_v1"]
    assert channel["address"] == "cell1.dead-letters.v1"
    message = resolve(channel["messages"][DEAD_LETTER]["$ref"])
    assert set(message["headers"]["properties"]) == set(DEAD_LETTER_HEADERS)
    written = (ROOT / "infra" / "kafka" / "dead_letters.py").read_text(encoding="utf-8")
    assert set(re.findall('"(dead_letter_[a-z0-9_]+)", ', written)) == set(DEAD_LETTER_HEADERS)


def test_a_message_holds_its_committed_schema_and_id() -> None:
    for schema in committed().all:
        message = DOCUMENT["components"]["messages"][f"{schema.event_type}.v{schema.version}"]
        assert message["payload"]["schema"] == schema.schema
        assert message["x-schema-id"] == schema.id
        avro.schema.parse(json.dumps(message["payload"]["schema"]))


def test_the_headers_are_those_of_the_records() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    event = Recorded(
        position=2,
        event_id="evt_1",
        tenant_id="acme",
        stream_type="invoice",
        stream_id="in_1",
        stream_version=1,
        event_type="invoice.paid",
        schema_id=1,
        payload=b"",
        postings=None,
        partition_key="acme:cus_1",
        effective_at=now,
        recorded_at=now,
        correlation_id="0af7651916cd43dd8448eb211c80319c",
        decision=None,
        causation_id="evt_0",
        actor="key_1",
    )
    written = [*HeaderWriter(b"/cells/main", 1).write(event), (PREVIOUS_POSITION, b"1")]
    assert {name for name, _ in written} == set(HEADERS)
