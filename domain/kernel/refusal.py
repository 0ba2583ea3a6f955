"""A refusal: the business answer "no", with a stable code and the values that explain it.

A refusal is a result, not a fault: the writer stores it beside the outcomes of accepted commands, so a
repeat of the same command gets the same answer. HTTP knows nothing of this file; `api/http/problems.py` maps
`kind` to a status code.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self


class RefusalKind(StrEnum):
    """What sort of no it is; the edge chooses a status code by it."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"


class Refusal(Exception):
    """Base of all refusals. `code` is stable and documented; `details` hold the values as text, amount or count.

    `param` names the offending field of the command, where there is one: by the class, or by its path where a rule
    knows which item of a list it looked at (`at`).
    """

    code: ClassVar[str] = "refused"
    kind: ClassVar[RefusalKind] = RefusalKind.CONFLICT
    param: str | None = None

    def __init__(self, **details: str | int | datetime | None) -> None:
        self.details: dict[str, str | int | None] = {name: _shown(value) for name, value in details.items()}
        super().__init__(self.describe())

    def at(self, path: str | None) -> Self:
        """The same, about the field at this path of the command, such as `lines.0.amount.currency`."""
        self.param = path
        return self

    def describe(self) -> str:
        """One sentence for a person, and the values."""
        summary = self.summary()
        values = ", ".join(f"{name}={value}" for name, value in self.details.items() if value is not None)
        return f"{summary} ({values})" if values else summary

    def summary(self) -> str:
        """The docstring's first line, unless the values tell more of what to do."""
        return (type(self).__doc__ or self.code).strip().splitlines()[0]


class OtherRefused(Refusal):
    """The command was to be done together with others, one of which was refused: nothing was done."""

    code = "other_refused"


class ExternalIdTaken(Refusal):
    """Another resource of this kind has this external_id."""

    code = "external_id_taken"
    param = "external_id"


def _shown(value: str | int | datetime | None) -> str | int | None:
    """A time is told as every answer tells it: with a Z, as all of them are in UTC."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
