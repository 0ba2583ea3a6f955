"""A file of usage events: its lines, what is wrong with them, and parts that fit into a request."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.import_files import Errors
from cli.import_kinds import LineProblem
from cli.import_run import Check
from cli.line_file import Wrong, is_csv, opened_lines
from usage.ingest.sent import EVENTS_MAX, Failed, Form, decode

PART_BYTES: Final = 900_000
"""Of the events of one request, which may be 1 MiB long."""
FIELDS: Final = ("id", "meter", "customer", "timestamp")
PROPERTIES: Final = "properties."


class UsageLine(NamedTuple):
    """An event, and the number of its line."""

    number: int
    event: Mapping[str, Any]


def lacking(columns: list[str]) -> str | None:
    """What the header of a CSV lacks, if anything."""
    known = [name for name in columns if name in FIELDS or (name.startswith(PROPERTIES) and name != PROPERTIES)]
    if len(known) < len(columns) or not set(FIELDS) <= set(columns):
        return f"its first line must name the columns {', '.join(FIELDS)}, and {PROPERTIES}NAME for each property"
    return None


def lines_of(file: Path) -> Iterator[tuple[int, object]]:
    """The entries of a file by the numbers of their lines, as the API takes them; numbers with a point are the texts
    that they were. Raises Unreadable.
    """
    with opened_lines(file, check_columns=lacking, parse_float=str) as lines:
        for number, entry in lines:
            yield number, _of_csv(entry) if is_csv(file) and isinstance(entry, dict) else entry


def _of_csv(row: Mapping[str, str]) -> dict[str, Any]:
    event: dict[str, Any] = {name: row[name] for name in FIELDS if name in row}
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
    (found,) = decode(json.dumps(entry).encode(), Form.NATIVE)
    if isinstance(found, Failed):
        return LineProblem(line=number, param=found.param, code=found.code, message=found.message)
    return None


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
