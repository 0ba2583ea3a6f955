"""Reading request bodies and queries: every field is checked here, so what lies behind has right types."""

import json
import re
from collections.abc import Collection, Mapping
from urllib.parse import parse_qs

DIGITS_MAX = 18
"""Longest whole number read from a query."""

_CURRENCY = re.compile(r"[A-Z]{3}")


class ApiError(Exception):
    """An answer that is an error: nothing was done, and nothing is stored for the key."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None, headers: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        """The JSON of the answer."""
        return json.dumps({"error": {"code": self.code, "message": str(self), "param": self.param}}).encode()


def invalid(param: str, message: str) -> ApiError:
    """A field that is not as it must be."""
    return ApiError(400, "invalid_request", f"{param}: {message}", param=param)


class Fields:
    """The fields of one request; the methods raise ApiError (400) that names the field."""

    __slots__ = ("_chars_max", "_values")

    def __init__(self, values: Mapping[str, object], allowed: Collection[str], chars_max: int) -> None:
        self._values = values
        self._chars_max = chars_max
        for name in values:
            if name not in allowed:
                raise invalid(name[:64], "unknown field")

    @classmethod
    def of_body(cls, body: bytes, allowed: Collection[str], chars_max: int) -> "Fields":
        """The fields of a JSON object; an empty body is an empty object."""
        try:
            values = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            raise ApiError(400, "invalid_request", "the body is not JSON") from None
        if not isinstance(values, dict):
            raise ApiError(400, "invalid_request", "the body is not a JSON object")
        return cls(values, allowed, chars_max)

    @classmethod
    def of_query(cls, query: str, texts: Collection[str], integers: Collection[str], chars_max: int) -> "Fields":
        """The parameters of a query, those of `integers` read as numbers. Of a repeated name the last counts."""
        try:
            found = parse_qs(query, keep_blank_values=True, max_num_fields=20)
        except ValueError:
            raise ApiError(400, "invalid_request", "the query cannot be read") from None
        values: dict[str, object] = {}
        for name, given in found.items():
            text = given[-1]
            numeric = name in integers and text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
            values[name] = int(text) if numeric else text
        return cls(values, {*texts, *integers}, chars_max)

    def text(self, name: str, default: str | None = None) -> str:
        """A string that is not empty (unless the default is) and that UTF-8 can carry."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or len(value) > self._chars_max or (not value and default != ""):
            raise invalid(name, f"a string of 1 to {self._chars_max} characters is needed")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise invalid(name, "not valid Unicode") from None
        return value

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def integer(self, name: str, *, least: int, most: int, default: int | None = None) -> int:
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= most:
            raise invalid(name, f"a whole number from {least} to {most} is needed")
        return value

    def number(self, name: str, *, least: float, most: float, default: float) -> float:
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise invalid(name, f"a number from {least} to {most} is needed")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid(name, "true or false is needed")
        return value

    def choice(self, name: str, choices: Collection[str], default: str | None = None) -> str:
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in choices:
            raise invalid(name, "one of " + ", ".join(sorted(choices)) + " is needed")
        return value

    def nested(self, name: str, allowed: Collection[str]) -> "Fields":
        """The fields of an object inside."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise invalid(name, "an object is needed")
        return Fields(value, allowed, self._chars_max)

    def each(self, name: str, allowed: Collection[str], *, most: int) -> "list[Fields]":
        """Those of each object of a list, of which there is at least one."""
        values = self._values.get(name)
        if not isinstance(values, list) or not 1 <= len(values) <= most:
            raise invalid(name, f"a list of 1 to {most} objects is needed")
        if not all(isinstance(value, dict) for value in values):
            raise invalid(name, "a list of objects is needed")
        return [Fields(value, allowed, self._chars_max) for value in values]

    def currency(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
            raise invalid(name, "three capital letters are needed")
        return value
