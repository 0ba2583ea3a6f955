"""The committed schemas are what the code says, can be read by every older and newer reader, and so can their bytes."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import avro.compatibility
import avro.schema
import pytest

from domain.catalogue import STREAMS
from schemas import generate, golden
from schemas.codec import FRAME_BYTES, Codec, event_classes
from schemas.committed import FOLDER, EventSchema, SchemaSet, committed, load
from schemas.generator import Json, record_name
from schemas.shapes import record_of
from schemas.versions import UPCASTERS, VERSIONS
from tests.contracts import evolving_event as evolution

CODEC = Codec(STREAMS)
GOLDEN = sorted(path.stem for path in golden.FOLDER.glob("*.bin"))


def apache(schema: Json) -> avro.schema.Schema:
    return avro.schema.parse(json.dumps(schema))


def can_read(reader: Json, writer: Json) -> bool:
    checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker  # the package has no types
    result = checker().get_compatibility(apache(reader), apache(writer))
    return bool(result.compatibility is avro.compatibility.SchemaCompatibilityType.compatible)


def incompatible_pairs(schemas: SchemaSet) -> list[str]:
    """Every two versions of a type, both ways: FULL_TRANSITIVE."""
    return [
        f"{event_type}: version {reader.version} cannot read version {writer.version}"
        for event_type in schemas.event_types
        for reader, writer in itertools.permutations(schemas.versions(event_type), 2)
        if not can_read(reader.schema, writer.schema)
    ]


def test_the_committed_files_are_what_the_code_generates() -> None:
    known = generate.generated(STREAMS, known=load())
    assert generate.differences(generate.files_of(STREAMS, known, FOLDER.parent)) == []


@pytest.mark.parametrize("schema", committed().all, ids=lambda schema: f"{schema.event_type}.v{schema.version}")
def test_apaches_parser_accepts_the_schema(schema: EventSchema) -> None:
    parsed = apache(schema.schema)
    assert isinstance(parsed, avro.schema.RecordSchema)
    assert parsed.fullname == schema.subject
    assert can_read(schema.schema, schema.schema)


def test_every_version_is_fully_compatible_with_all_others() -> None:
    assert incompatible_pairs(committed()) == []
    assert incompatible_pairs(evolution.THIRD) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ({"name": "a", "type": "string"}, {"name": "b", "type": "string"}),
        ({"name": "a", "type": "string"}, {"name": "a", "type": "long"}),
        ({"name": "a", "type": "long"}, {"name": "a", "type": ["null", "long"], "default": None}),
    ],
    ids=["renamed", "another type", "may now be missing"],
)
def test_the_check_finds_a_change_that_stops_a_reader(was: Json, becomes: Json) -> None:
    def event(version: int, field: Json) -> EventSchema:
        schema: dict[str, Json] = {"type": "record", "name": "X", "namespace": "n", "fields": [field]}
        return EventSchema(id=version, event_type="n.x", version=version, released=True, schema=schema)

    assert incompatible_pairs(SchemaSet([event(1, was), event(2, becomes)])) != []


def test_ids_are_unique_and_every_type_has_all_versions_up_to_the_one_written() -> None:
    schemas = committed()
    assert len(schemas.by_id) == len(schemas.all)
    assert set(schemas.event_types) == set(event_classes(STREAMS))
    for event_type in schemas.event_types:
        newest = VERSIONS.get(event_type, 1)
        assert [schema.version for schema in schemas.versions(event_type)] == list(range(1, newest + 1))
    assert len({schema.subject for schema in schemas.all}) == len(schemas.event_types)


def test_every_upcaster_starts_from_an_older_version_of_a_known_type() -> None:
    for event_type, version in UPCASTERS:
        assert 1 <= version < VERSIONS.get(event_type, 1)


def test_every_version_has_golden_bytes() -> None:
    assert [golden.golden_name(s.event_type, s.version) for s in sorted(committed().all, key=lambda s: s.event_type)] \
        == GOLDEN  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes_still_say_the_same(name: str) -> None:
    payload = (golden.FOLDER / f"{name}.bin").read_bytes()
    schema = committed().by_id[int.from_bytes(payload[1:FRAME_BYTES])]
    assert golden.golden_name(schema.event_type, schema.version) == name
    assert golden.golden_json(schema, payload) == (golden.FOLDER / f"{name}.json").read_text()
    event = CODEC.decode_event(payload)
    cls = event_classes(STREAMS)[schema.event_type]
    assert type(event) is cls
    if schema.version == VERSIONS.get(schema.event_type, 1):
        assert event == golden.sample(record_of(cls, record_name(schema.event_type)), schema.event_type)
        assert CODEC.encode_event(event)[2] == payload


def test_a_second_run_changes_nothing_and_a_release_freezes(tmp_path: Path) -> None:
    streams = evolution.streams(evolution.SignedV1)
    first = generate.generated(streams)
    assert generate.write(generate.files_of(streams, first, tmp_path)) != []
    again = generate.generated(streams, known=load(tmp_path / "events"))
    assert generate.write(generate.files_of(streams, again, tmp_path)) == []
    frozen = SchemaSet(replace(schema, released=True) for schema in again.all)
    changed = generate.write(generate.files_of(streams, frozen, tmp_path))
    assert changed == [tmp_path / "events" / "ids.json"]
    with pytest.raises(generate.ReleasedSchemaChanged):
        generate.generated(evolution.streams(evolution.SignedV2), known=load(tmp_path / "events"))


def test_golden_bytes_of_an_older_version_are_kept(tmp_path: Path) -> None:
    old_streams, new_streams = evolution.streams(evolution.SignedV1), evolution.streams(evolution.SignedV2)
    generate.write(generate.files_of(old_streams, evolution.FIRST, tmp_path))
    old = (tmp_path / "golden" / "contract.signed.v1.bin").read_bytes()
    generate.write(generate.files_of(new_streams, evolution.SECOND, tmp_path))
    assert (tmp_path / "golden" / "contract.signed.v1.bin").read_bytes() == old
    event = evolution.V2.decode_event(old)
    assert isinstance(event, evolution.SignedV2)
    assert event.witness is None


def test_a_file_that_nothing_asks_for_is_a_difference(tmp_path: Path) -> None:
    streams = evolution.streams(evolution.SignedV1)
    files = generate.files_of(streams, evolution.FIRST, tmp_path)
    generate.write(files)
    stray = tmp_path / "events" / "contract.signed.v9.avsc"
    stray.write_text("{}")
    assert generate.differences(files) == [stray]
