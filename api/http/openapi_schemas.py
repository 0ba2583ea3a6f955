"""The component schemas of the OpenAPI document: of bodies and answers, by names that generators of clients take."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from api.http.dry_runs import DryRun
from api.http.operations import Operation

Json = dict[str, Any]

REF_PREFIX: Final = "#/components/schemas/"
REF_TEMPLATE: Final = REF_PREFIX + "{model}"
_PAGE: Final = re.compile("ListResource_(.+?)(?:Resource)?_")


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


def component_schemas(operations: Sequence[Operation]) -> tuple[Json, Mapping[tuple[object, str], Json]]:
    """All component schemas, and a reference to each operation's body and answer."""
    # Most operations on a resource answer it whole; making its schema takes a moment, and is done once.
    bodies: dict[Any, None] = {}
    answers: dict[Any, None] = dict.fromkeys((ProblemResource, DryRun))
    for operation in operations:
        if operation.body is not None:
            bodies[operation.body] = None
        if operation.raw is not None:
            bodies |= dict.fromkeys(model for model, _ in operation.raw.takes.values())
        answers[operation.answers] = None
        if operation.own_errors is not None:
            answers[operation.own_errors.answers] = None
    inputs: list[tuple[Any, Any, TypeAdapter[Any]]] = [
        *((model, "validation", TypeAdapter(model)) for model in bodies),
        *((model, "serialization", TypeAdapter(model)) for model in answers),
    ]
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
