"""What a command that changes something leaves as it is: a value of its own, since None clears what may be empty."""

from enum import Enum
from typing import Final, Literal, TypeVar

Value = TypeVar("Value")


class Unchanged(Enum):
    """The one value UNCHANGED."""

    UNCHANGED = "unchanged"


UNCHANGED: Final[Literal[Unchanged.UNCHANGED]] = Unchanged.UNCHANGED


def changed(wanted: Value | Unchanged, before: Value) -> Value:
    """The value from now on."""
    return before if isinstance(wanted, Unchanged) else wanted
