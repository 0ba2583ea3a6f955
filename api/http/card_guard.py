"""Finds payment card numbers in what clients send, so that they are refused before anything is logged or stored.

A number of 13 to 19 digits that passes the Luhn check (ISO/IEC 7812), in one run or in groups parted by single spaces
or hyphens. Not taken for one: our own ids, UUIDs and hexadecimal digests, telephone numbers in international form
(+49 …), decimals, and times in milli-, micro- or nanoseconds (13, 16 or 19 digits that begin with 1; cards that begin
with 1 have 15).
"""

import re
from collections.abc import Iterator
from typing import Final

from pydantic_core import from_json

from domain.kernel.identifiers import ID_CHARS

_CANDIDATE: Final = re.compile(r"(?<!\d)(?<!\d\.)(?<!\+)\d(?:[ -]?\d){12,}")
_CANDIDATE_BYTES: Final = re.compile(rb"\d(?:[ -]?\d){12}")
_OUR_ID: Final = re.compile(rf"[a-z]{{2,6}}_[0-9a-hjkmnp-tv-z]{{{ID_CHARS}}}")
_UUID: Final = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_DIGEST: Final = re.compile(r"\b(?=[0-9]*[a-fA-F])[0-9a-fA-F]{24,}\b")
_GROUPS: Final = re.compile(r"[ -]")
_LENGTHS: Final = range(13, 20)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def body_holds_card_number(raw: bytes) -> bool:
    """Whether any name, text or number in a JSON body holds one. Cheap where there are no long runs of digits."""
    if _CANDIDATE_BYTES.search(raw) is None and b"\\u" not in raw:
        return False
    try:
        value = from_json(raw)
    except ValueError:
        return text_holds_card_number(raw.decode("utf-8", "replace"))
    return any(text_holds_card_number(text) for text in _texts(value))


def text_holds_card_number(text: str) -> bool:
    """Whether a text holds one."""
    if _CANDIDATE.search(text) is None:
        return False
    for known in (_OUR_ID, _UUID, _DIGEST):
        text = known.sub("_", text)
    return any(_is_card_number(digits) for match in _CANDIDATE.finditer(text) for digits in _windows(match))


def _texts(value: object) -> Iterator[str]:
    """Every text of a parsed JSON value, names included. As deep as the parser goes, so without recursion."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case bool() | None:
                continue
            case int(number):
                yield str(number)
            case float(number):
                yield repr(number)
            case list(items):
                waiting.extend(items)
            case dict(pairs):
                for name, item in pairs.items():
                    yield name
                    waiting.append(item)


def _windows(match: re.Match[str]) -> Iterator[str]:
    """The groups of digits of a match, joined in every way that may be a number: "4242 4242 4242 4242 12" hides one."""
    groups = _GROUPS.split(match.group())
    for first in range(len(groups)):
        joined = ""
        for group in groups[first:]:
            joined += group
            if len(joined) in _LENGTHS:
                yield joined
            elif len(joined) > _LENGTHS[-1]:
                break


def _is_card_number(digits: str) -> bool:
    if digits[0] in "01" and len(digits) != 15:
        return False
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0
