"""Files that another system hands over, line by line: CSV with a header, or a JSON object a line.

What is wrong with a line tells no value of it: they are addresses, names and hashes.
"""

import contextlib
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

LINE_MAX_CHARS: Final = 65_536
DEPTH_MAX: Final = 32
"""Levels of lists and objects in a line; a request has no more than six."""


class Unreadable(Exception):
    """The file is no such file; the message says why."""


class Wrong(str):
    """What is wrong with a line that is not even an entry."""

    __slots__ = ()


def is_csv(path: Path) -> bool:
    """Whether its lines are read as CSV: by its name."""
    return path.suffix.lower() == ".csv"


@contextlib.contextmanager
def opened_lines(
    path: Path,
    *,
    check_columns: Callable[[list[str]], str | None],
    line_max_chars: int = LINE_MAX_CHARS,
    parse_float: Callable[[str], object] = float,
) -> Iterator[Iterator[tuple[int, object]]]:
    """The entries of a file by the numbers of their lines, one at a time; of CSV, texts by column, without empty ones.

    `check_columns` tells what the header of CSV lacks, if anything; `parse_float` reads numbers of JSON that have a
    point or an exponent. Raises Unreadable, also while lines are taken.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield _csv_lines(file, check_columns) if is_csv(path) else _json_lines(file, line_max_chars, parse_float)
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not text in UTF-8") from None
    except csv.Error as error:
        raise Unreadable(f"{path} is no CSV: {error}") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None


def _csv_lines(file: Any, check_columns: Callable[[list[str]], str | None]) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(file, restkey="", strict=True)
    columns = [*(reader.fieldnames or ())]
    lacking = check_columns(columns)
    if lacking is None and len(set(columns)) < len(columns):
        lacking = "its first line must name the columns, each of them once"
    if lacking is not None:
        raise csv.Error(lacking)
    for row in reader:
        if "" in row or None in row.values():
            yield reader.line_num, Wrong("It has not as many values as there are columns")
        else:
            yield reader.line_num, {name: value for name, value in row.items() if value}


def _json_lines(file: Any, line_max_chars: int, parse_float: Callable[[str], object]) -> Iterator[tuple[int, object]]:
    number = 0
    while line := file.readline(line_max_chars + 2):
        number += 1
        if len(line.rstrip("\r\n")) > line_max_chars:
            while not line.endswith("\n") and (line := file.readline(line_max_chars)):
                pass
            yield number, Wrong(f"It is longer than {line_max_chars} characters")
        elif line.strip():
            yield number, _json(line, parse_float)


def _json(line: str, parse_float: Callable[[str], object]) -> object:
    try:
        value: object = json.loads(line, parse_float=parse_float, object_pairs_hook=_object)
    except _Twice:
        return Wrong("A name stands twice in one of its objects")
    except (ValueError, RecursionError):
        return Wrong("It is no JSON object")
    return value if _is_flat(value, DEPTH_MAX) else Wrong(f"It is nested more than {DEPTH_MAX} deep")


class _Twice(ValueError):
    """A name stands twice in one object."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice
    return made


def _is_flat(value: object, levels: int) -> bool:
    """Whether it is nested so many levels deep, or less: what takes it apart later is not to end with it."""
    match value:
        case dict():
            inner = list(value.values())
        case list():
            inner = value
        case _:
            return True
    return levels > 0 and all(_is_flat(each, levels - 1) for each in inner)
