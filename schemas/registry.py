"""The read-only part of the Confluent schema-registry protocol, as functions from the committed schemas to JSON values.

Deserializers (Confluent's in any language, kcat, Kafka UIs) look a schema up by the id in front of a payload; that
alone makes them work. Subjects are the records' full names (RecordNameStrategy): a topic holds many kinds of
events, and its name carries its cell's prefix, which must not change what a schema is called.
Mounted under /schema-registry by the API. Each function raises RegistryError, with the registry's own codes.
"""

import json
from typing import Final, Literal

from schemas.committed import EventSchema, SchemaSet, committed
from schemas.generator import Json

CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
MAX_VERSION: Final = 2**31 - 1


class RegistryError(Exception):
    """The answer "no" in the registry's form: an HTTP status, and a body with the protocol's error code."""

    def __init__(self, status: int, error_code: int, message: str) -> None:
        self.status = status
        self.error_code = error_code
        self.message = message
        super().__init__(message)

    @property
    def body(self) -> dict[str, Json]:
        return {"error_code": self.error_code, "message": self.message}


class SubjectNotFound(RegistryError):
    """40401."""

    def __init__(self, subject: str) -> None:
        super().__init__(404, 40401, f"Subject '{subject}' not found.")


class VersionNotFound(RegistryError):
    """40402."""

    def __init__(self, version: int) -> None:
        super().__init__(404, 40402, f"Version {version} not found.")


class SchemaNotFound(RegistryError):
    """40403."""

    def __init__(self, schema_id: int | None) -> None:
        super().__init__(404, 40403, "Schema not found" if schema_id is None else f"Schema {schema_id} not found")


class InvalidSchema(RegistryError):
    """42201."""

    def __init__(self) -> None:
        super().__init__(422, 42201, "The schema is not valid JSON")


class InvalidVersion(RegistryError):
    """42202."""

    def __init__(self, version: str) -> None:
        super().__init__(
            422,
            42202,
            f"The specified version '{version[:32]}' is not a valid version id."
            f' Allowed values are between [1, {MAX_VERSION}] and the string "latest"',
        )


def schema_by_id(schema_id: int, *, schemas: SchemaSet | None = None) -> dict[str, Json]:
    """GET /schemas/ids/{id}. Raises SchemaNotFound."""
    return {"schema": _compact(_by_id(schema_id, schemas))}


def subjects_by_id(schema_id: int, *, schemas: SchemaSet | None = None) -> list[str]:
    """GET /schemas/ids/{id}/subjects. Raises SchemaNotFound."""
    return [_by_id(schema_id, schemas).subject]


def versions_by_id(schema_id: int, *, schemas: SchemaSet | None = None) -> list[dict[str, Json]]:
    """GET /schemas/ids/{id}/versions. Raises SchemaNotFound."""
    schema = _by_id(schema_id, schemas)
    return [{"subject": schema.subject, "version": schema.version}]


def schema_types() -> list[str]:
    """GET /schemas/types."""
    return ["AVRO"]


def subjects(*, schemas: SchemaSet | None = None) -> list[str]:
    """GET /subjects, sorted."""
    return sorted({schema.subject for schema in _all(schemas).all})


def versions(subject: str, *, schemas: SchemaSet | None = None) -> list[int]:
    """GET /subjects/{subject}/versions, oldest first. Raises SubjectNotFound."""
    return [schema.version for schema in _by_subject(subject, schemas)]


def version(subject: str, number: int | str, *, schemas: SchemaSet | None = None) -> dict[str, Json]:
    """GET /subjects/{subject}/versions/{number}; "latest" and -1 are the newest.

    Raises SubjectNotFound, VersionNotFound, InvalidVersion.
    """
    wanted = _version_number(number)
    known = _by_subject(subject, schemas)
    found = known[-1:] if wanted == "latest" else [schema for schema in known if schema.version == wanted]
    if not found:
        raise VersionNotFound(wanted if isinstance(wanted, int) else 0)
    (schema,) = found
    return {"subject": subject, "version": schema.version, "id": schema.id, "schema": _compact(schema)}


def lookup(subject: str, schema: str, *, schemas: SchemaSet | None = None) -> dict[str, Json]:
    """POST /subjects/{subject}: which version this schema is; nothing is registered. Readers of "latest" ask.

    `schema` is the text in the request's body. Raises SubjectNotFound, SchemaNotFound (no version of the subject is
    this one), InvalidSchema (it is not JSON).
    """
    known = _by_subject(subject, schemas)
    try:
        wanted: Json = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidSchema from error
    for found in known:
        if found.schema == wanted:
            return version(subject, found.version, schemas=schemas)
    raise SchemaNotFound(None)


def compatibility() -> dict[str, Json]:
    """GET /config and GET /config/{subject}: what CI proves of every version."""
    return {"compatibilityLevel": "FULL_TRANSITIVE"}


def mode() -> dict[str, Json]:
    """GET /mode and GET /mode/{subject}."""
    return {"mode": "READONLY"}


def _version_number(number: int | str) -> int | Literal["latest"]:
    if number in ("latest", "-1", -1):
        return "latest"
    text = str(number)
    # Digits of other scripts satisfy str.isdigit; a version never has more than ten digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= MAX_VERSION):
        raise InvalidVersion(text)
    return int(text)


def _all(schemas: SchemaSet | None) -> SchemaSet:
    return committed() if schemas is None else schemas


def _by_id(schema_id: int, schemas: SchemaSet | None) -> EventSchema:
    schema = _all(schemas).by_id.get(schema_id)
    if schema is None:
        raise SchemaNotFound(schema_id)
    return schema


def _by_subject(subject: str, schemas: SchemaSet | None) -> list[EventSchema]:
    found = sorted(
        (schema for schema in _all(schemas).all if schema.subject == subject), key=lambda schema: schema.version
    )
    if not found:
        raise SubjectNotFound(subject)
    return found


def _compact(schema: EventSchema) -> str:
    return json.dumps(schema.schema, separators=(",", ":"), ensure_ascii=False)
