"""The port to a tax calculator outside: what it is asked, and the closed set of what comes of that.

It raises for nothing, so no caller can forget that there may be no answer. Asking changes nothing anywhere: under the
same key with the same question it may be repeated as often as it takes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from domain.tax.remote import TaxAnswer, TaxQuestion


class NoAnswerWhy(StrEnum):
    """Why there is no answer. Of the last three the next try will hardly come to more: a person has to look."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    SERVICE_ERROR = "service_error"
    RATE_LIMITED = "rate_limited"
    PAUSED = "paused"
    """It failed several times in a row, and is left alone for a while."""
    NOT_AUTHORIZED = "not_authorized"
    REFUSED = "refused"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculated:
    """An answer that can be read. Whether it fits the question is the domain's to say (`check_answer`)."""

    answer: TaxAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """None; `after_ms` is how long to wait before the next try, where that is known."""

    why: NoAnswerWhy
    after_ms: int | None = None

    @property
    def is_passing(self) -> bool:
        """Whether it may be otherwise the next time, with nobody doing anything about it here."""
        return self.why not in {NoAnswerWhy.NOT_AUTHORIZED, NoAnswerWhy.REFUSED, NoAnswerWhy.UNREADABLE}


CalculationResult = Calculated | NoAnswer


class TaxServiceSilent(Exception):
    """It did not say that it is ready; the message says why."""


class TaxService(Protocol):
    """A calculator outside. Make it anywhere, use it in one event loop, `close` it at the end."""

    async def calculate(self, question: TaxQuestion, *, key: str) -> CalculationResult:
        """Ask. `key` names the question: the same key never goes with another one."""
        ...

    async def check(self) -> None:
        """Raises TaxServiceSilent unless it says that it is ready."""
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...
