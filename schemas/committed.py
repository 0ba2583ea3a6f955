"""The committed schemas: one .avsc per event version, and the ids that stand in front of every payload."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from schemas.generator import Json, Schema, record_name

FOLDER: Final = Path(__file__).parent / "events"
IDS_FILE: Final = "ids.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSchema:
    """One version of one event type. Its id never changes once released, nor does its schema."""

    id: int
    event_type: str
    version: int
    released: bool
    schema: Schema

    @property
    def subject(self) -> str:
        """The record's full name, the same in every version and cell (RecordNameStrategy)."""
        return record_name(self.event_type)

    @property
    def text(self) -> str:
        """The schema as its file holds it."""
        return schema_text(self.schema)


class SchemaSet:
    """All versions of all event types, found by id, or by type and version."""

    def __init__(self, schemas: Iterable[EventSchema]) -> None:
        self.all = tuple(sorted(schemas, key=lambda schema: schema.id))
        self.by_id = {schema.id: schema for schema in self.all}
        self._versions: dict[str, dict[int, EventSchema]] = {}
        for schema in self.all:
            self._versions.setdefault(schema.event_type, {})[schema.version] = schema

    def versions(self, event_type: str) -> list[EventSchema]:
        """All versions of a type, oldest first; empty for an unknown one."""
        return sorted(self._versions.get(event_type, {}).values(), key=lambda schema: schema.version)

    def find(self, event_type: str, version: int) -> EventSchema | None:
        return self._versions.get(event_type, {}).get(version)

    @property
    def event_types(self) -> list[str]:
        return sorted(self._versions)


def load(folder: Path = FOLDER) -> SchemaSet:
    """The schemas of a folder, as ids.json lists them; none where there is no such file."""
    ids = folder / IDS_FILE
    if not ids.exists():
        return SchemaSet([])
    return SchemaSet(
        EventSchema(
            id=entry["id"],
            event_type=entry["event_type"],
            version=entry["version"],
            released=entry["released"],
            schema=json.loads((folder / file_name(entry["event_type"], entry["version"])).read_text()),
        )
        for entry in json.loads(ids.read_text())["schemas"]
    )


@cache
def committed() -> SchemaSet:
    """The schemas of this release, read once."""
    return load()


def file_name(event_type: str, version: int) -> str:
    return f"{event_type}.v{version}.avsc"


def schema_text(schema: Json) -> str:
    """A schema as it is written to its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def ids_text(schemas: SchemaSet) -> str:
    """ids.json: one line per schema, so that a release reads well in a diff."""
    lines = [
        json.dumps(
            {
                "id": schema.id,
                "event_type": schema.event_type,
                "version": schema.version,
                "subject": schema.subject,
                "released": schema.released,
            }
        )
        for schema in schemas.all
    ]
    return '{"schemas": [\n  ' + ",\n  ".join(lines) + "\n]}\n"
