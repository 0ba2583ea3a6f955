"""A refusal: the business answer "no", with a stable code and the values that explain it.

A refusal is a result, not a fault: the writer stores it beside the outcomes of accepted commands, so a
repeat of the same command gets the same answer. HTTP knows nothing of this file; `api/http/problems.py` maps
`kind` to a status code.
"""

from enum import StrEnum
from typing import ClassVar


class RefusalKind(StrEnum):
    """What sort of no it is; the edge chooses a status code by it."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"


class Refusal(Exception):
    """Base of all refusals. `code` is stable and documented; `details` hold the values as text, amount or count.

    `param` names the offending field of the command, where there is one.
    """

    code: ClassVar[str] = "refused"
    kind: ClassVar[RefusalKind] = RefusalKind.CONFLICT
    param: ClassVar[str | None] = None

    def __init__(self, **details: str | int | None) -> None:
        self.details: dict[str, str | int | None] = details
        super().__init__(self.describe())

    def describe(self) -> str:
        """One sentence for a person, and the values."""
        summary = self.summary()
        values = ", ".join(f"{name}={value}" for name, value in self.details.items() if value is not None)
        return f"{summary} ({values})" if values else summary

    def summary(self) -> str:
        """The docstring's first line, unless the values tell more of what to do."""
        return (type(self).__doc__ or self.code).strip().splitlines()[0]
