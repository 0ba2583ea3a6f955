"""How the OpenAPI document tells what an operation says no with: each answer once, with all that it may be."""

from collections.abc import Mapping, Sequence
from typing import Final

from api.http.openapi_schemas import Json
from api.http.operations import Operation, OwnErrors
from api.http.problems import (
    BUSY,
    CARD_NUMBER,
    CROSS_SITE,
    CSRF_TOKEN_INVALID,
    DRY_RUN_NOT_POSSIBLE,
    DRY_RUNS_BUSY,
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
    refusal_type,
)

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
    DRY_RUNS_BUSY,
    OUTCOME_PENDING,
)
_UNSTORED: Final = (DRY_RUN_NOT_POSSIBLE, MALFORMED_JSON, TOO_LARGE, UNSUPPORTED_TYPE, INVALID, CARD_NUMBER)

_RAW: Final = (TENANT_SUSPENDED, DRY_RUN_NOT_POSSIBLE, MALFORMED_JSON, TOO_LARGE, UNSUPPORTED_TYPE, INVALID)


class Problems:
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


def problem_responses(operation: Operation, problems: Problems, references: Mapping[tuple[object, str], Json]) -> Json:
    kinds: list[ProblemType] = [*_EVERYWHERE]
    if not operation.is_open:
        kinds += _AUTHENTICATED
        if operation.wants_password:
            kinds.append(PASSWORD_CONFIRMATION_REQUIRED)
    if operation.takes_key:
        kinds += _COMMANDS
    elif operation.is_unstored:
        kinds += _UNSTORED
    elif operation.raw is not None:
        kinds += _RAW
    else:
        kinds += [INVALID, CARD_NUMBER]
        if operation.reads:
            kinds += [POSITION_NOT_REACHED, READ_MODEL_FILLING]
    kinds += operation.problems
    if "{" in operation.path:
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
