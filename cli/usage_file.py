"""A file of usage events: its lines, what is wrong with them, and parts that fit into a request."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from api.http.fields import ExternalId
from cli.import_files import Errors
from cli.import_kinds import CUSTOMER_EXTERNAL_ID, OF_CUSTOMER, LineProblem
from cli.import_names import Names
from cli.import_run import Check
from cli.line_file import Wrong, is_csv, opened_lines
from usage.ingest.sent import EVENTS_MAX, Failed, Form, NotJson, decode

PART_BYTES: Final = 900_000
"""Of the events of one request, which may be 1 MiB long."""
FIELDS: Final = ("id", "meter", "customer", "timestamp")
NAMED: Final = (*FIELDS, CUSTOMER_EXTERNAL_ID)
PROPERTIES: Final = "properties."
_EXTERNAL_ID: Final[TypeAdapter[str]] = TypeAdapter(ExternalId)


class UsageLine(NamedTuple):
    """An event, and the number of its line."""

    number: int
    event: Mapping[str, Any]


def lacking(columns: list[str]) -> str | None:
    """What the header of a CSV lacks, if anything."""
    known = [name for name in columns if name in NAMED or (name.startswith(PROPERTIES) and name != PROPERTIES)]
    needed = {*FIELDS} - ({"customer"} if CUSTOMER_EXTERNAL_ID in columns else set())
    if len(known) < len(columns) or not needed <= set(columns):
        told = f"{', '.join(FIELDS)} (or {CUSTOMER_EXTERNAL_ID} for customer)"
        return f"its first line must name the columns {told}, and {PROPERTIES}NAME for each property"
    return None


def lines_of(file: Path) -> Iterator[tuple[int, object]]:
    """The entries of a file by the numbers of their lines, as the API takes them; numbers with a point are the texts
    that they were. Raises Unreadable.
    """
    with opened_lines(file, check_columns=lacking, parse_float=str) as lines:
        for number, entry in lines:
            yield number, _of_csv(entry) if is_csv(file) and isinstance(entry, dict) else entry


def _of_csv(row: Mapping[str, str]) -> dict[str, Any]:
    event: dict[str, Any] = {name: row[name] for name in NAMED if name in row}
    event["properties"] = {
        name.removeprefix(PROPERTIES): value for name, value in row.items() if name.startswith(PROPERTIES)
    }
    return event


def check_usage_file(file: Path, errors: Errors, *, shown_max: int) -> Check:
    """Look at every line, and write down which are no events at all. Raises Unreadable."""
    lines = wrong = 0
    first: list[LineProblem] = []
    for number, entry in lines_of(file):
        lines += 1
        problem = _problem(number, entry)
        if problem is not None:
            wrong += 1
            errors.add([problem])
            first += [problem][: max(0, shown_max - len(first))]
    return Check(lines=lines, wrong=wrong, first_wrong=first)


def _problem(number: int, entry: object) -> LineProblem | None:
    if isinstance(entry, Wrong):
        return LineProblem(line=number, param="", code="malformed", message=str(entry))
    if not isinstance(entry, dict):
        return LineProblem(line=number, param="", code="wrong_type", message="It is no JSON object")
    named = entry.get(CUSTOMER_EXTERNAL_ID)
    if named is not None:
        wrong = _wrong_name(named, is_named_twice="customer" in entry)
        if wrong is not None:
            code, message = wrong
            return LineProblem(line=number, param=CUSTOMER_EXTERNAL_ID, code=code, message=message)
        entry = _of_customer(entry, named)
    try:
        (found,) = decode(json.dumps(entry).encode(), Form.NATIVE)
    except NotJson:  # Python takes more for JSON than there is: NaN, halves of characters
        return LineProblem(line=number, param="", code="malformed", message="It is no JSON object")
    if isinstance(found, Failed):
        return LineProblem(line=number, param=found.param, code=found.code, message=found.message)
    return None


def _wrong_name(named: object, *, is_named_twice: bool) -> tuple[str, str] | None:
    if is_named_twice or not isinstance(named, str):
        return "required", "Must be given as a text, or customer, and not both"
    try:
        _EXTERNAL_ID.validate_python(named)
    except ValidationError:
        return "invalid_id", "No customer can have this external id"
    return None


def _of_customer(event: Mapping[str, Any], customer: str) -> dict[str, Any]:
    """An event that names its customer by the external id, as the API has it."""
    return {name: value for name, value in event.items() if name != CUSTOMER_EXTERNAL_ID} | {"customer": customer}


async def with_customers(part: Sequence[UsageLine], names: Names) -> tuple[list[UsageLine], list[LineProblem]]:
    """The events with the ids of their customers, and the lines that name one who is not there. Raises ApiError."""
    wanted = {name for line in part if (name := line.event.get(CUSTOMER_EXTERNAL_ID)) is not None}
    order = sorted(wanted)
    ids = dict(zip(order, await asyncio.gather(*(names.id_of(name) for name in order)), strict=True))
    found: list[UsageLine] = []
    problems: list[LineProblem] = []
    for line in part:
        name = line.event.get(CUSTOMER_EXTERNAL_ID)
        customer = None if name is None else ids[name]
        if name is None:
            found.append(line)
        elif customer is None:
            told = OF_CUSTOMER.not_found
            problems.append(LineProblem(line=line.number, param=CUSTOMER_EXTERNAL_ID, code="not_found", message=told))
        else:
            found.append(UsageLine(line.number, _of_customer(line.event, customer)))
    return found, problems


def parts_of(file: Path, *, after: int) -> Iterator[list[UsageLine]]:
    """The events behind a line, so many at a time as a request takes."""
    part: list[UsageLine] = []
    size = 0
    for number, entry in lines_of(file):
        if number <= after or not isinstance(entry, dict):
            continue
        length = len(json.dumps(entry)) + 2
        if part and (len(part) == EVENTS_MAX or size + length > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(UsageLine(number, entry))
        size += length
    if part:
        yield part


def problems_of(part: Sequence[UsageLine], refused: Sequence[Mapping[str, Any]]) -> Iterator[LineProblem]:
    """What the API said of the events that it does not take, by their lines."""
    for each in refused:
        yield LineProblem(
            line=part[each["index"]].number, param=each["param"], code=each["code"], message=each["message"]
        )
