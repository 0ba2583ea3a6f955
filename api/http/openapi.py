"""The OpenAPI 3.1 document, made from the declared operations: it cannot name what is not served, or leave it out."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from api.http import dry_runs
from api.http.fields import ID_PATTERN
from api.http.openapi_problems import Problems, problem_responses
from api.http.openapi_schemas import REF_TEMPLATE, Json, ProblemResource, component_schemas
from api.http.operations import Operation, Operations
from api.http.problems import needs_told
from api.http.version import VERSION
from domain.identity.browser import SESSION_COOKIE

TITLE: Final = "Tallybook"
DESCRIPTION: Final = """\
Plans, subscriptions, invoices, payments, refunds and books, each figure provable from an immutable log.

Send `Authorization: Bearer <API key>`. Every request that changes something needs an `Idempotency-Key`: a repeat gets
the first answer, byte for byte, a refusal's included, but for the secret of a new API key, which is shown once.
Commands answer with `Ledger-Position`; send it back as `Min-Ledger-Position` to read what you wrote. Money is in minor
units; times are RFC 3339. Unknown fields are refused.

Any command can be tried: with `Tallybook-Dry-Run: true` the answer says under `result` what it would answer, with the
events and the postings that it would record, and nothing is done or kept.

`metadata` are yours: up to 50 keys of up to 40 characters, values of up to 500, on whatever you create. A PATCH changes
the keys that it names; null or an empty text takes a key away. Put nothing personal there: only a customer's metadata
can be erased, everything else is in the log for ever.
"""
READING_ORDER: Final = (
    "customers",
    "products",
    "plans",
    "prices",
    "meters",
    "subscriptions",
    "entitlements",
    "invoices",
    "invoice explanations",
    "credit notes",
    "tax settings",
    "tax rates",
    "tax registrations",
    "payment methods",
    "payments",
    "refunds",
    "journal entries",
    "ledger",
    "stats",
    "reports",
    "exports",
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
    schemas, references = component_schemas(operations)
    paths: dict[str, Json] = {}
    problems = Problems(references[ProblemResource, "serialization"])
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


def _operation(
    operation: Operation,
    schemas: Json,
    references: Mapping[tuple[object, str], Json],
    problems: Problems,
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
            **_successes(operation, references),
            **problem_responses(operation, problems, references),
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
    if operation.raw is not None:
        entry["requestBody"] = {
            "required": True,
            "content": {
                media_type: {"schema": references[model, "validation"], "example": example}
                for media_type, (model, example) in operation.raw.takes.items()
            },
        }
    return entry


def _needs_body(operation: Operation) -> bool:
    assert operation.body is not None, "only commands have a body"
    return any(field.is_required() for field in operation.body.model_fields.values())


def _successes(operation: Operation, references: Mapping[tuple[object, str], Json]) -> Json:
    """What is answered where nothing is wrong; to a dry run, 200 whatever the command itself answers."""
    success = _success(operation, references[operation.answers, "serialization"])
    if not operation.is_command:
        return {str(operation.status): success}
    tried = references[dry_runs.DryRun, "serialization"]
    if operation.status == 200:
        content = success["content"][operation.media_type]
        content["schema"] = {"anyOf": [content["schema"], tried]}
        return {"200": success}
    example = dry_runs.example(operation.status, operation.example)
    return {
        "200": {
            "description": f"With {dry_runs.NAME}: what it would come to",
            "content": {"application/json": {"schema": tried, "example": example}},
        },
        str(operation.status): success,
    }


def _success(operation: Operation, schema: Json) -> Json:
    headers: Json = {"X-Request-Id": _header("This request's id: in its events' correlation_id, and in our logs.")}
    if operation.takes_key:
        headers["Ledger-Position"] = _header("The log's position after this command.", "integer")
        headers["Idempotent-Replayed"] = _header("`true` where this is the answer to an earlier request.")
    if operation.status == 201:
        headers["Location"] = _header("The resource's path.")
    content = {operation.media_type: {"schema": schema, "example": operation.example}}
    content |= {media_type: {"schema": schema} for media_type in operation.further_media_types}
    return {"description": operation.summary, "headers": headers, "content": content}


def _header(description: str, kind: str = "string") -> Json:
    return {"description": description, "schema": {"type": kind}}


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
    if operation.raw is not None:
        said = {"type": "string", "enum": ["true"]}
        found += [_request_header(name, about, said) for name, about in operation.raw.headers.items()]
    if operation.takes_key:
        about = (
            "Tells what would come of it, with the events and postings, and does nothing: no Idempotency-Key is needed."
        )
        found.append(_request_header(dry_runs.NAME, about, {"type": "string", "enum": [dry_runs.WANTED]}))
        schema: Json = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        about = (
            "Names this request: a repeat under the same Idempotency-Key gets the same answer. A dry run needs none."
        )
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
