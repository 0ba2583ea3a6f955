"""The AsyncAPI 3 document of the topics: what each holds, its key, its headers, and every event's schema.

Generated from the same streams and committed schemas as the bytes, so that it cannot tell another story.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.kernel.stream import Stream, Topic
from schemas.codec import LEDGER_ENTRY, USAGE_RECORDED
from schemas.committed import EventSchema, SchemaSet, committed
from schemas.generator import Json

LEDGER_TOPIC: Final = "ledger.entries.v1"
AVRO_FORMAT: Final = "application/vnd.apache.avro;version=1.12.0"
CONTENT_TYPE: Final = "application/vnd.confluent.avro"

HEADERS: Final[dict[str, str]] = {
    "ce_specversion": "CloudEvents version: 1.0.",
    "ce_id": "The event's id; the same in every redelivery. In the ledger topic: of the event that moved the money.",
    "ce_type": "The event's type: `invoice.finalized`.",
    "ce_time": "When the event is effective in business terms, RFC 3339 in UTC.",
    "ce_source": "The cell that published it.",
    "ce_subject": "`stream type/stream id`.",
    "tenant": "The tenant's id.",
    "position": "The event's position in the log, decimal.",
    "previous_position": "The position of the record before it in its partition; 0 for the first. If that is not what"
    " was read last, something was lost.",
    "incarnation": "Rises when the topic is published anew from the start: then forget the positions read before.",
    "stream_version": "The event's place in its stream, from 1 without gaps.",
    "recorded_at": "When it was written to the log, RFC 3339 in UTC.",
    "correlation": "What request all this began with.",
    "causation": "The event or command that caused it, where there is one.",
    "traceparent": "W3C trace context, where the correlation is a trace id.",
}
"""What a record's headers hold, by name (infra/kafka/records.py writes them)."""

_TOPICS: Final[dict[str, str]] = {
    Topic.BILLING.value: "Customers, catalogue, subscriptions, invoices, journal entries and test clocks.",
    Topic.PAYMENTS.value: "Payment methods, payments and refunds.",
    Topic.IDENTITY.value: "Tenants, teams, API keys, users and sessions: ids, never a secret or a name.",
    LEDGER_TOPIC: "The postings of every event that moves money, one record per event, debits equal to credits.",
}

USAGE_TOPIC: Final = "usage.events.v1"
USAGE_HEADERS: Final[dict[str, str]] = {"tenant": "The tenant's id; every event of the record is this tenant's."}
"""What a record of usage needs in its headers; others are passed over (usage/wire.py reads them)."""

DEAD_LETTERS_TOPIC: Final = "dead-letters.v1"
DEAD_LETTER: Final = "dead_letter"
DEAD_LETTER_HEADERS: Final[dict[str, str]] = {
    "dead_letter_consumer": "The consumer of ours that gave the record up.",
    "dead_letter_topic": "The topic that it came from.",
    "dead_letter_partition": "Its partition there, decimal.",
    "dead_letter_offset": "Its offset there, decimal.",
    "dead_letter_bytes": "The record's size, decimal.",
    "dead_letter_sha256": "The record's digest, hexadecimal.",
    "dead_letter_by_reference": "`true` where the record is too large to stand here: it lies where the headers say.",
    "dead_letter_error": "Why it was given up.",
    "dead_letter_attempts": "How often it was tried, decimal.",
}
"""What a dead letter's headers hold beside the record's own (infra/kafka/dead_letters.py writes them)."""

_KEY: Final[dict[str, Json]] = {
    "type": "string",
    "description": "`tenant:customer`, or `tenant:stream id` where there is no customer. Order holds per key.",
}


def document(
    streams: Mapping[str, Stream[Any]],
    *,
    prefix: str = "",
    partitions: int = 12,
    schemas: SchemaSet | None = None,
    version: str = "0.1.0",
    bootstrap: str | None = None,
) -> dict[str, Json]:
    """The document, JSON-able. `prefix` is the cell's, put before each topic's name; `bootstrap` its brokers,
    `host:port` and more of them behind commas.
    """
    known = committed() if schemas is None else schemas
    by_topic: dict[str, list[EventSchema]] = {topic: [] for topic in _TOPICS}
    for stream in streams.values():
        for event_type in stream.events:
            by_topic[stream.topic.value] += known.versions(event_type)
    by_topic[LEDGER_TOPIC] += known.versions(LEDGER_ENTRY)
    channels: dict[str, Json] = {}
    operations: dict[str, Json] = {}
    for topic, events in by_topic.items():
        name = _identifier(topic)
        channels[name] = _channel(topic, events, prefix, partitions)
        operations[f"publish_{name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": "At least once, in order per key. Skip what is at or below the position read last.",
        }
    usage, usages = _identifier(USAGE_TOPIC), known.versions(USAGE_RECORDED)
    if usages:
        channels[usage] = _usage_channel(usages, prefix)
        operations[f"take_{usage}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{usage}"},
            "summary": "What was used. Send it through the API, or produce it here: an id counts once, however often.",
        }
    dead_letters = _identifier(DEAD_LETTERS_TOPIC)
    channels[dead_letters] = _dead_letter_channel(prefix, partitions)
    operations[f"publish_{dead_letters}"] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{dead_letters}"},
        "summary": "For alarms. `tallybook dead-letters` shows, replays and dismisses what is here.",
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tallybook events",
            "version": version,
            "description": "Every fact of billing, once, in order per customer. Payloads are Avro behind Confluent's"
            " frame (a zero byte and the schema's id in four bytes); the API serves the schemas under"
            " /schema-registry.",
        },
        "servers": _servers(bootstrap),
        "defaultContentType": CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                **{_message_name(event): _message(event) for events in by_topic.values() for event in events},
                **{_message_name(event): _usage_message(event) for event in usages},
                DEAD_LETTER: _dead_letter(),
            },
            "messageTraits": {"record": _trait()},
        },
    }


def _channel(topic: str, events: Iterable[EventSchema], prefix: str, partitions: int) -> dict[str, Json]:
    return {
        "address": prefix + topic,
        "description": _TOPICS[topic],
        "messages": {
            _message_name(event): {"$ref": f"#/components/messages/{_message_name(event)}"} for event in events
        },
        "bindings": {
            "kafka": {
                "topic": prefix + topic,
                "partitions": partitions,
                "topicConfiguration": {"retention.ms": -1, "cleanup.policy": ["delete"]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _servers(bootstrap: str | None) -> dict[str, Json]:
    """One entry per broker that the cell's processes are told of."""
    brokers = (bootstrap or "localhost:9092").split(",")
    return {
        f"broker{number}": {"host": broker.strip(), "protocol": "kafka", "description": "A broker of this cell."}
        for number, broker in enumerate(brokers, start=1)
    }


def _usage_channel(usages: Iterable[EventSchema], prefix: str) -> dict[str, Json]:
    return {
        "address": prefix + USAGE_TOPIC,
        "description": "Events of usage, many to a record. A record stands in the partition of murmur2 of"
        " `tenant:customer`, as the Java client has it for that key, of every event in it; times are the broker's.",
        "messages": {
            _message_name(event): {"$ref": f"#/components/messages/{_message_name(event)}"} for event in usages
        },
        "bindings": {
            "kafka": {
                "topic": prefix + USAGE_TOPIC,
                "topicConfiguration": {"cleanup.policy": ["delete"]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _usage_message(event: EventSchema) -> dict[str, Json]:
    described: dict[str, Json] = {
        name: {"type": "string", "description": USAGE_HEADERS[name]} for name in USAGE_HEADERS
    }
    message = _message(event)
    del message["traits"]
    return {
        **message,
        "headers": {"type": "object", "properties": described, "required": [*USAGE_HEADERS]},
        "bindings": {
            "kafka": {
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "RecordNameStrategy",
                "bindingVersion": "0.5.0",
            }
        },
    }


def _dead_letter_channel(prefix: str, partitions: int) -> dict[str, Json]:
    name = prefix + DEAD_LETTERS_TOPIC
    return {
        "address": name,
        "description": "Records that a consumer of ours could not handle, as they were, with where they came from.",
        "messages": {DEAD_LETTER: {"$ref": f"#/components/messages/{DEAD_LETTER}"}},
        "bindings": {"kafka": {"topic": name, "partitions": partitions, "bindingVersion": "0.5.0"}},
    }


def _dead_letter() -> dict[str, Json]:
    described: dict[str, Json] = {
        name: {"type": "string", "description": about} for name, about in DEAD_LETTER_HEADERS.items()
    }
    return {
        "name": DEAD_LETTER,
        "title": "Dead letter",
        "summary": "The record's own key, value and headers, and the headers below. The value need not be one of ours.",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "properties": described, "required": [*DEAD_LETTER_HEADERS]},
        "bindings": {"kafka": {"bindingVersion": "0.5.0"}},
    }


def _message(event: EventSchema) -> dict[str, Json]:
    doc = event.schema.get("doc")
    return {
        "name": event.event_type,
        "title": event.subject,
        "summary": doc if isinstance(doc, str) else f"{event.event_type}, version {event.version}.",
        "contentType": CONTENT_TYPE,
        "payload": {"schemaFormat": AVRO_FORMAT, "schema": event.schema},
        "traits": [{"$ref": "#/components/messageTraits/record"}],
        "x-schema-id": event.id,
        "x-version": event.version,
    }


def _trait() -> dict[str, Json]:
    return {
        "headers": {
            "type": "object",
            "properties": {
                name: {"type": "string", "description": description} for name, description in HEADERS.items()
            },
        },
        "bindings": {
            "kafka": {
                "key": _KEY,
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "RecordNameStrategy",
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message_name(event: EventSchema) -> str:
    return f"{event.event_type}.v{event.version}"


def _identifier(topic: str) -> str:
    return topic.replace(".", "_").replace("-", "_")
