"""Old bytes become the newest dataclass, old readers read new bytes, and what is released cannot change."""

import io
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import fastavro
import pytest

from domain.kernel.money import Money
from domain.kernel.stream import Event
from domain.pricing.models import Flat, PerUnit
from schemas.codec import FRAME_BYTES, Codec, MalformedPayload, SchemaDrift
from schemas.committed import SchemaSet
from schemas.generate import ReleasedSchemaChanged, generated
from tests.contracts.evolving_event import (
    FIRST,
    NEWEST,
    SECOND,
    SIGNED,
    THIRD,
    V1,
    V2,
    Signed,
    SignedV1,
    SignedV2,
    facts,
    streams,
)


@pytest.mark.parametrize(("fee", "kind"), [(0, "trial"), (500, "paid")])
def test_an_event_of_the_first_version_becomes_the_newest(fee: int, kind: str) -> None:
    _, _, payload = V1.encode_event(SignedV1(**facts(fee)))
    assert NEWEST.decode_event(payload) == Signed(**facts(fee), witness=None, kind=kind)


def test_an_event_of_the_second_version_keeps_what_it_says() -> None:
    _, _, payload = V2.encode_event(SignedV2(**facts(0), witness="Ada"))
    assert NEWEST.decode_event(payload) == Signed(**facts(0), witness="Ada", kind="trial")


def test_new_events_are_written_in_the_newest_version_and_not_upcast() -> None:
    event = Signed(**facts(0), witness="Ada", kind="paid")
    event_type, schema_id, payload = NEWEST.encode_event(event)
    assert (event_type, THIRD.by_id[schema_id].version) == (SIGNED, 3)
    assert NEWEST.decode_event(payload) == event


def test_ids_of_older_versions_stay() -> None:
    for schema in SECOND.all:
        assert THIRD.by_id[schema.id] == schema
    assert [schema.version for schema in THIRD.versions(SIGNED)] == [1, 2, 3]


@pytest.mark.parametrize("version", [1, 2])
def test_a_reader_that_knows_only_an_older_version_reads_new_events(version: int) -> None:
    """What FULL_TRANSITIVE is for: another team's consumer is not stopped by our release."""
    _, schema_id, payload = NEWEST.encode_event(Signed(**facts(500), witness="Ada"))
    older = THIRD.find(SIGNED, version)
    assert older is not None
    read: Any = fastavro.schemaless_reader(
        io.BytesIO(payload[FRAME_BYTES:]), THIRD.by_id[schema_id].schema, cast("dict[str, Any]", older.schema)
    )
    assert read["contract_id"] == "c_1"
    assert read["fee"] == {"amount": 500, "currency": "USD"}
    assert set(read) == {str(field["name"]) for field in cast("list[dict[str, Any]]", older.schema["fields"])}


def test_an_upcaster_that_makes_nonsense_is_a_malformed_payload() -> None:
    broken = Codec(
        streams(Signed), schemas=THIRD, versions={SIGNED: 3}, upcasters={(SIGNED, 1): lambda event: {**event, "fee": 7}}
    )
    _, _, payload = V1.encode_event(SignedV1(**facts(1)))
    with pytest.raises(MalformedPayload):
        broken.decode_event(payload)


def test_a_released_version_refuses_another_shape() -> None:
    with pytest.raises(ReleasedSchemaChanged, match=r"VERSIONS\['contract.signed'\] = 2"):
        generated(streams(SignedV2), known=FIRST)
    with pytest.raises(ReleasedSchemaChanged):
        generated(streams(SignedV2), known=FIRST, reset_unreleased=True)


def test_a_released_type_must_stay_in_the_code() -> None:
    with pytest.raises(ReleasedSchemaChanged, match="no longer in the code"):
        generated({}, known=FIRST, reset_unreleased=True)


def test_an_unreleased_version_changes_only_on_request() -> None:
    draft = SchemaSet(replace(schema, released=False) for schema in FIRST.all)
    with pytest.raises(ReleasedSchemaChanged, match="--reset-unreleased"):
        generated(streams(SignedV2), known=draft)
    changed = generated(streams(SignedV2), known=draft, reset_unreleased=True)
    assert [schema.id for schema in changed.all] == [schema.id for schema in draft.all]
    assert changed.find(SIGNED, 1) != draft.find(SIGNED, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reworded:
    """The same fields as the first version, described in other words."""

    contract_id: str
    fee: Money
    price: Flat | PerUnit
    signed_at: datetime


def test_other_words_are_no_other_version() -> None:
    assert generated(streams(Reworded), known=FIRST).find(SIGNED, 1) == FIRST.find(SIGNED, 1)
    event = Reworded(**facts(5))
    codec = Codec(streams(Reworded), schemas=FIRST)
    assert codec.decode_event(codec.encode_event(event)[2]) == event


@pytest.mark.parametrize("versions", [{}, {SIGNED: 2}])
def test_a_dataclass_that_is_not_what_its_schema_says_writes_nothing(versions: dict[str, int]) -> None:
    drifted = Codec(streams(SignedV2), schemas=FIRST, versions=versions)
    with pytest.raises(SchemaDrift, match="make schemas"):
        drifted.encode_event(cast("Event", SignedV2(**facts(1))))


def test_an_event_type_stands_in_one_stream_only() -> None:
    twice = {**streams(Signed), "other": streams(SignedV1)["contract"]}
    with pytest.raises(ValueError, match="stands in two places"):
        Codec(twice, schemas=FIRST)
