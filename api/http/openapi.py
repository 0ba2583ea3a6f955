"""The OpenAPI 3.1 document, made from the declared operations: it cannot name what is not served, or leave it out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from api.http.fields import ID_PATTERN
from api.http.operations import Operation, Operations, OwnErrors
from api.http.problems import (
    BUSY,
    CARD_NUMBER,
    CROSS_SITE,
    CSRF_TOKEN_INVALID,
    ERASED,
    INVALID,
    INVALID_HEADER,
    KEY_IN_FLIGHT,
    KEY_REUSED,
    MALFORMED_JSON,
    MISSING_KEY,
    NOT_FOUND,
    OUTCOME_PENDING,
    PASSWORD_CONFIRMATION_REQUIRED,
    PERMISSION_DENIED,
    POSITION_NOT_REACHED,
    RATE_LIMITED,
    READ_MODEL_FILLING,
    TENANT_MISMATCH,
    TENANT_REQUIRED,
    TENANT_SUSPENDED,
    TOO_LARGE,
    TWO_CREDENTIALS,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNKNOWN_VERSION,
    UNSUPPORTED_TYPE,
    ProblemType,
    needs_told,
    refusal_type,
)
from api.http.version import VERSION
from domain.identity.browser import SESSION_COOKIE

Json = dict[str, Any]

TITLE: Final = "Tallybook"
DESCRIPTION: Final = """\
Plans, subscriptions, invoices, payments, refunds and books, each figure provable from an immutable log.

Send `Authorization: Bearer <API key>`. Every request that changes something needs an `Idempotency-Key`: a repeat gets
the first answer, byte for byte, a refusal's included, but for the secret of a new API key, which is shown once.
Commands answer with `Ledger-Position`; send it back as `Min-Ledger-Position` to read what you wrote. Money is in minor
units; times are RFC 3339. Unknown fields are refused.

`metadata` are yours: up to 50 keys of up to 40 characters, values of up to 500, on whatever you create. A PATCH changes
the keys that it names; null or an empty text takes a key away. Put nothing personal there: only a customer's metadata
can be erased, everything else is in the log for ever.
"""
REF_PREFIX: Final = "#/components/schemas/"
REF_TEMPLATE: Final = REF_PREFIX + "{model}"
_PAGE: Final = re.compile("ListResource_(.+?)(?:Resource)?_")
READING_ORDER: Final = (
    "customers",
    "products",
    "plans",
    "prices",
    "subscriptions",
    "invoices",
    "payment methods",
    "payments",
    "refunds",
    "journal entries",
    "ledger",
    "stats",
    "test clocks",
    "sagas",
    "events",
    "api keys",
    "users",
    "invitations",
    "tenants",
    "auth log",
)
"""Of the resources in the document; any other follows."""
_PATH_PARAMETER: Final = re.compile(r"\{([a-z_]+)(?::path)?\}")

_EVERYWHERE: Final = (INVALID_HEADER, UNKNOWN_VERSION, RATE_LIMITED, UNAVAILABLE)
_AUTHENTICATED: Final = (
    UNAUTHENTICATED,
    PERMISSION_DENIED,
    TENANT_MISMATCH,
    TENANT_REQUIRED,
    TWO_CREDENTIALS,
    CROSS_SITE,
    CSRF_TOKEN_INVALID,
)
_COMMANDS: Final = (
    TENANT_SUSPENDED,
    MALFORMED_JSON,
    MISSING_KEY,
    KEY_IN_FLIGHT,
    ERASED,
    TOO_LARGE,
    UNSUPPORTED_TYPE,
    INVALID,
    KEY_REUSED,
    CARD_NUMBER,
    BUSY,
    OUTCOME_PENDING,
)


_UNSTORED: Final = (MALFORMED_JSON, TOO_LARGE, UNSUPPORTED_TYPE, INVALID, CARD_NUMBER)


class FieldErrorResource(TypedDict):
    """One thing wrong with one field."""

    param: str
    code: str
    message: str


class ProblemResource(TypedDict):
    """RFC 9457: what is wrong, with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    param: str | None
    request_id: str
    permission: NotRequired[str]
    errors: NotRequired[list[FieldErrorResource]]


BEARER_DESCRIPTION: Final = (
    "An API key (`tbk_live_…`, or `tbk_test_…` of a test tenant), or the access token of a user who signed in."
)
SESSION_DESCRIPTION: Final = (
    "The session of a user who signed in with a browser. Changes need the header `X-CSRF-Token`, as "
    "`GET /v1/auth/me` tells it."
)


def document(resources: Sequence[Operations], *, version: str) -> Json:
    """The document, JSON-able."""
    operations = [operation for resource in resources for operation in resource.declared]
    path_ids = {name: prefix for resource in resources for name, prefix in resource.path_ids.items()}
    schemas, references = _schemas(operations)
    paths: dict[str, Json] = {}
    problems = _Problems(references[ProblemResource, "serialization"])
    for operation in operations:
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(
            operation, schemas, references, problems, path_ids
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [
            {"name": resource.tag, "description": resource.about} for resource in sorted(resources, key=_reading_place)
        ],
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems.responses,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": BEARER_DESCRIPTION},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION_COOKIE,
                    "description": SESSION_DESCRIPTION,
                },
            },
        },
    }


def _reading_place(resource: Operations) -> int:
    """Where a resource stands in the document: as one comes upon them, not as often as they are asked for."""
    return READING_ORDER.index(resource.tag) if resource.tag in READING_ORDER else len(READING_ORDER)


def _schemas(operations: Iterable[Operation]) -> tuple[Json, Mapping[tuple[object, str], Json]]:
    """All component schemas, and a reference to each operation's body and answer."""
    inputs: list[tuple[Any, Any, TypeAdapter[Any]]] = [(ProblemResource, "serialization", TypeAdapter(ProblemResource))]
    for operation in operations:
        if operation.body is not None:
            inputs.append((operation.body, "validation", TypeAdapter(operation.body)))
        inputs.append((operation.answers, "serialization", TypeAdapter(operation.answers)))
        if operation.own_errors is not None:
            own = operation.own_errors.answers
            inputs.append((own, "serialization", TypeAdapter(own)))
    made, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF_TEMPLATE)
    references: dict[tuple[object, str], Json] = {(model, mode): schema for (model, mode), schema in made.items()}
    schemas: Json = definitions.get("$defs", {})
    names = {key: _name(key) for key in schemas}
    named: Json = _renamed({names[key]: schema | {"title": names[key]} for key, schema in schemas.items()}, names)
    assert len(named) == len(schemas), "two schemas have one name"
    return named, {key: _renamed(reference, names) for key, reference in references.items()}


def _name(key: str) -> str:
    """A schema's name: `CustomerList` for a page of customers. It is its title, too: generators of clients name their
    classes by titles, and leave out all but one of those that share one.
    """
    page = _PAGE.fullmatch(key)
    return f"{page[1]}List" if page else key


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same with every reference to a schema under its new name, and with a field's default told in words:
    generators of types take a field that has one for a field that is always there, and who sends may leave it out.
    """
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    target = value.get("$ref")
    if isinstance(target, str) and target.startswith(REF_PREFIX):
        value = {**value, "$ref": REF_PREFIX + names[target.removeprefix(REF_PREFIX)]}
    if "default" in value and not isinstance(value["default"], dict):
        value = dict(value)
        default = value.pop("default")
        if default is not None:
            told = f"Left out, it is `{json.dumps(default, default=str)}`."
            value["description"] = " ".join(filter(None, (_sentence(value.get("description")), told)))
    return {key: _renamed(each, names) for key, each in value.items()}


def _sentence(text: str | None) -> str | None:
    return f"{text}." if text and not text.endswith(".") else text


class _Problems:
    """The answers that say no, each kept once and referred to: most operations share most of them."""

    def __init__(self, schema: Json) -> None:
        self.schema = schema
        self._names: dict[tuple[ProblemType, ...], str] = {}
        self.responses: Json = {}

    def refer(self, kinds: Sequence[ProblemType]) -> Json:
        """A reference to the answer that may be any of these."""
        unique = tuple(dict.fromkeys(kinds))
        name = self._names.get(unique)
        if name is None:
            name = self._names[unique] = f"Problem{unique[0].status}.{len(self._names) + 1}"
            self.responses[name] = _problem(unique, self.schema)
        return {"$ref": f"#/components/responses/{name}"}


def _operation(
    operation: Operation,
    schemas: Json,
    references: Mapping[tuple[object, str], Json],
    problems: _Problems,
    path_ids: Mapping[str, str],
) -> Json:
    entry: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [
            *_path_parameters(operation, path_ids),
            *_query_parameters(operation, schemas),
            *_headers(operation),
        ],
        "responses": {
            str(operation.status): _success(operation, references[operation.answers, "serialization"]),
            **_problem_responses(operation, problems, references),
        },
    }
    needed = operation.needs
    told = None if needed is None else f"Needs {needs_told(needed)}."
    if operation.about or told:
        entry["description"] = "\n\n".join(filter(None, (operation.about, told)))
    if needed is not None:
        entry["x-permission"] = needed.value
    if operation.is_open:
        entry["security"] = []
    if operation.body is not None:
        entry["requestBody"] = {
            "required": _needs_body(operation),
            "content": {
                "application/json": {
                    "schema": references[operation.body, "validation"],
                    "example": operation.body_example,
                }
            },
        }
    return entry


def _needs_body(operation: Operation) -> bool:
    assert operation.body is not None, "only commands have a body"
    return any(field.is_required() for field in operation.body.model_fields.values())


def _success(operation: Operation, schema: Json) -> Json:
    headers: Json = {"X-Request-Id": _header("This request's id: in its events' correlation_id, and in our logs.")}
    if operation.is_command:
        headers["Ledger-Position"] = _header("The log's position after this command.", "integer")
        headers["Idempotent-Replayed"] = _header("`true` where this is the answer to an earlier request.")
    if operation.status == 201:
        headers["Location"] = _header("The resource's path.")
    return {
        "description": operation.summary,
        "headers": headers,
        "content": {operation.media_type: {"schema": schema, "example": operation.example}},
    }


def _header(description: str, kind: str = "string") -> Json:
    return {"description": description, "schema": {"type": kind}}


def _problem_responses(
    operation: Operation, problems: _Problems, references: Mapping[tuple[object, str], Json]
) -> Json:
    kinds: list[ProblemType] = [*_EVERYWHERE]
    if not operation.is_open:
        kinds += _AUTHENTICATED
        if operation.wants_password:
            kinds.append(PASSWORD_CONFIRMATION_REQUIRED)
    if operation.is_command:
        kinds += _COMMANDS
    elif operation.is_unstored:
        kinds += _UNSTORED
    else:
        kinds += [INVALID, CARD_NUMBER]
        if operation.reads:
            kinds += [POSITION_NOT_REACHED, READ_MODEL_FILLING]
    kinds += operation.problems
    if _PATH_PARAMETER.search(operation.path):
        kinds.append(NOT_FOUND)
    kinds += [refusal_type(refusal) for refusal in operation.refusals]
    by_status: dict[int, list[ProblemType]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    responses = {str(status): problems.refer(by_status[status]) for status in sorted(by_status)}
    own = operation.own_errors
    if own is not None:
        schema = references[own.answers, "serialization"]
        for status in (NOT_FOUND.status, INVALID.status):
            responses[str(status)] = _own_error(
                own, schema, _problem(by_status.get(status, [NOT_FOUND]), problems.schema)
            )
    return responses


def _own_error(own: OwnErrors, schema: Json, problem: Json) -> Json:
    """The answer in a foreign protocol's words, or as a problem where the edge says no."""
    content = {own.media_type: {"schema": schema, "example": own.example}, **problem["content"]}
    return {"description": problem["description"], "content": content}


def _problem(kinds: Sequence[ProblemType], schema: Json) -> Json:
    first = kinds[0]
    return {
        "description": "\n".join(f"- `{kind.code}`: {kind.title}" for kind in kinds),
        "content": {
            "application/problem+json": {
                "schema": schema,
                "example": {
                    "type": f"/problems#{first.code}",
                    "title": first.title,
                    "status": first.status,
                    "detail": first.title,
                    "code": first.code,
                    "param": None,
                    "request_id": "req_01m7ywe9z7e398x54gfbrtqnk7",
                },
            }
        },
    }


def _path_parameters(operation: Operation, path_ids: Mapping[str, str]) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name, path_ids)}
        for name in _PATH_PARAMETER.findall(operation.path)
    ]


def _path_schema(name: str, path_ids: Mapping[str, str]) -> Json:
    if name == "version":
        return {"type": "string", "pattern": "^(latest|[1-9][0-9]{0,8})$"}
    prefix = path_ids.get(name)
    if prefix is None:
        return {"type": "string", "minLength": 1, "maxLength": 255}
    return {"type": "string", "pattern": f"^{prefix}{ID_PATTERN}$"}


def _query_parameters(operation: Operation, schemas: Json) -> list[Json]:
    if operation.parameters is None:
        return []
    schema = operation.parameters.model_json_schema(by_alias=True, ref_template=REF_TEMPLATE)
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _inlined(_without_null(field), schemas, definitions),
            **({"description": field["description"]} if "description" in field else {}),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _without_null(field: Json) -> Json:
    """A parameter that is left out is null in the model; nobody sends null in a query string."""
    options = [option for option in field.get("anyOf", []) if option.get("type") != "null"]
    kept = {name: value for name, value in field.items() if name not in ("anyOf", "default", "title", "description")}
    if len(options) == 1:
        return {**kept, **options[0]}
    return {**kept, "anyOf": options} if options else kept


def _inlined(schema: Json, schemas: Json, definitions: Mapping[str, Json]) -> Json:
    """The schema without references to what the document does not have: only bodies and answers have parts in it."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    name = reference.rpartition("/")[2]
    return schema if name in schemas else definitions[name]


def _headers(operation: Operation) -> list[Json]:
    about = f"The version of this API: {VERSION}."
    found = [_request_header("Tallybook-Version", about, {"type": "string", "enum": [VERSION]})]
    if operation.is_open:
        return found
    about = (
        "The tenant that is meant. A user of several names one; for everybody else it is a check: it must be the API "
        "key's own tenant, or one of the user's."
    )
    found.append(_request_header("X-Tenant-ID", about, {"type": "string"}))
    if operation.is_command:
        schema: Json = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        about = "Names this request: a repeat under the same Idempotency-Key gets the same answer."
        found.append(
            _request_header("Idempotency-Key", about, schema, required=True, example=f"order-4711-{operation.name}")
        )
    elif operation.reads:
        schema = {"type": "integer", "minimum": 0}
        found.append(_request_header("Min-Ledger-Position", "Wait until this position can be read.", schema))
    return found


def _request_header(
    name: str, description: str, schema: Json, *, required: bool = False, example: str | None = None
) -> Json:
    entry: Json = {"name": name, "in": "header", "required": required, "description": description, "schema": schema}
    return entry if example is None else entry | {"example": example}
