"""Positions of the log as clients send them: whole numbers of 64 bits, in texts."""

import re
from typing import Annotated, Final

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_POSITION: Final = 2**63 - 1
_POSITION: Final = re.compile(r"[0-9]{1,19}")


def parse_position(value: object) -> int:
    """The position. Raises PydanticCustomError for anything else."""
    if isinstance(value, str) and _POSITION.fullmatch(value) and int(value) <= MAX_POSITION:
        return int(value)
    raise PydanticCustomError("invalid_position", "Must be a whole number of 64 bits, zero or more")


Position = Annotated[
    int, PlainValidator(parse_position), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_POSITION})
]
