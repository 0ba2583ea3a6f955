"""The read-only part of the schema-registry protocol, so that any Avro deserializer can read the topics."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.operations import Operations, OwnErrors
from api.http.replies import Reply
from schemas import registry
from schemas.registry import CONTENT_TYPE, RegistryError

REGISTRY: Final = Operations(tag="schema registry", about="Avro schemas of the topics, for standard deserializers.")
PREFIX: Final = "/schema-registry"
_SUBJECT: Final = "tallybook.invoice.Voided"
_MAX_ID: Final = 2**31 - 1


class RegistryParameters(BaseModel):
    """Whatever clients of the protocol send along; the answers do not depend on it."""

    model_config = ConfigDict(extra="ignore")


class RegistryProblem(TypedDict):
    """The protocol's own no."""

    error_code: int
    message: str


ERRORS: Final = OwnErrors(CONTENT_TYPE, RegistryProblem, {"error_code": 40403, "message": "Schema 99 not found"})


class SchemaResource(TypedDict):
    """A schema as text."""

    schema: str


class VersionResource(TypedDict):
    """A version of a subject."""

    subject: str
    version: int
    id: int
    schema: str


def _reply(look_up: Callable[[], object]) -> Reply:
    headers = ((b"content-type", CONTENT_TYPE.encode()),)
    try:
        return Reply(200, headers, to_json(look_up()))
    except RegistryError as error:
        return Reply(error.status, headers, to_json(error.body))


def _schema_id(call: Call) -> int:
    """An id that no schema has, for what is no id."""
    text = call.path["schema_id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID else -1


_SCHEMA: Final = '{"type":"record","name":"tallybook.invoice.Voided","fields":[]}'


class SubjectVersion(TypedDict):
    """Where a schema stands."""

    subject: str
    version: int


class CompatibilityResource(TypedDict):
    """What is proven of every version before it is released."""

    compatibilityLevel: Literal["FULL_TRANSITIVE"]


class ModeResource(TypedDict):
    """Schemas come with releases; nobody registers them here."""

    mode: Literal["READONLY"]


_query = partial(
    REGISTRY.query, parameters=RegistryParameters, media_type=CONTENT_TYPE, own_errors=ERRORS, is_open=True
)


@_query(
    f"{PREFIX}/schemas/ids/{{schema_id}}",
    answers=SchemaResource,
    example={"schema": _SCHEMA},
)
async def get_schema(call: Call, _asked: RegistryParameters) -> Reply:
    """Get a schema by the id in front of a payload."""
    return _reply(lambda: registry.schema_by_id(_schema_id(call)))


@_query(
    f"{PREFIX}/schemas/ids/{{schema_id}}/subjects",
    answers=list[str],
    example=[_SUBJECT],
)
async def list_schema_subjects(call: Call, _asked: RegistryParameters) -> Reply:
    """List the subjects of a schema."""
    return _reply(lambda: registry.subjects_by_id(_schema_id(call)))


@_query(
    f"{PREFIX}/schemas/ids/{{schema_id}}/versions",
    answers=list[SubjectVersion],
    example=[{"subject": _SUBJECT, "version": 1}],
)
async def list_schema_versions(call: Call, _asked: RegistryParameters) -> Reply:
    """List the subjects and versions of a schema."""
    return _reply(lambda: registry.versions_by_id(_schema_id(call)))


@_query(
    f"{PREFIX}/schemas/types",
    answers=list[str],
    example=["AVRO"],
)
async def list_schema_types(_call: Call, _asked: RegistryParameters) -> Reply:
    """List the kinds of schemas."""
    return _reply(registry.schema_types)


@_query(
    f"{PREFIX}/subjects",
    answers=list[str],
    example=[_SUBJECT],
)
async def list_subjects(_call: Call, _asked: RegistryParameters) -> Reply:
    """List all subjects: the full names of the records."""
    return _reply(registry.subjects)


@_query(
    f"{PREFIX}/subjects/{{subject}}/versions",
    answers=list[int],
    example=[1],
)
async def list_subject_versions(call: Call, _asked: RegistryParameters) -> Reply:
    """List the versions of a subject."""
    return _reply(lambda: registry.versions(call.path["subject"]))


@_query(
    f"{PREFIX}/subjects/{{subject}}/versions/{{version}}",
    answers=VersionResource,
    example={"subject": _SUBJECT, "version": 1, "id": 20, "schema": _SCHEMA},
)
async def get_subject_version(call: Call, _asked: RegistryParameters) -> Reply:
    """Get a version of a subject; `latest` is the newest."""
    return _reply(lambda: registry.version(call.path["subject"], call.path["version"]))


@_query(
    f"{PREFIX}/config",
    answers=CompatibilityResource,
    example={"compatibilityLevel": "FULL_TRANSITIVE"},
)
async def get_schema_compatibility(_call: Call, _asked: RegistryParameters) -> Reply:
    """Tell which compatibility is proven of every version."""
    return _reply(registry.compatibility)


@_query(
    f"{PREFIX}/mode",
    answers=ModeResource,
    example={"mode": "READONLY"},
)
async def get_registry_mode(_call: Call, _asked: RegistryParameters) -> Reply:
    """Tell that the registry is read-only."""
    return _reply(registry.mode)
