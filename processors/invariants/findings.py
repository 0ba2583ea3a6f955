"""What a check comes to: counts of what was looked at, and every difference counted, the first ones named."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NAMED_MAX: Final = 50
"""Differences that are named; the rest are only counted, so that a bad day does not fill the memory."""

Progress = Callable[[int, int], None]
"""Called now and then with how much is done and how much there is."""


def silent(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


class Invariant(StrEnum):
    """What must hold of the whole system; the order is that of the report."""

    GATEWAY = "I1"
    BOOKS = "I2"
    LOG = "I3"
    READ_MODELS = "I4"
    KAFKA = "I5"
    SAGAS = "I7"
    DOCUMENTS = "I8"
    USAGE = "I9"
    ACCESS = "I11"

    @property
    def claim(self) -> str:
        """The invariant in one sentence."""
        return _CLAIMS[self]


_CLAIMS: Final = {
    Invariant.GATEWAY: "the gateway's own record equals ours by operation",
    Invariant.BOOKS: "debits equal credits per tenant and currency",
    Invariant.LOG: "every command is in the log exactly once, no refused one is",
    Invariant.READ_MODELS: "each read model equals the fold of the log",
    Invariant.KAFKA: "Kafka equals the event store by (stream, version), gapless",
    Invariant.SAGAS: "no saga is unfinished",
    Invariant.DOCUMENTS: "the books say of each customer and each invoice what the documents say",
    Invariant.USAGE: "usage is billed as it was closed",
    Invariant.ACCESS: "who may do what is what the log says",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it must be: what kind, which subject (an id, a stream, a partition), and how."""

    kind: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of one invariant's check. `differences` counts all; `named` are the first of them."""

    invariant: Invariant
    counts: Mapping[str, int]
    differences: int
    named: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        return self.differences == 0


class Findings:
    """Collects while a check runs."""

    def __init__(self, invariant: Invariant) -> None:
        self._invariant = invariant
        self._differences = 0
        self._named: list[Difference] = []
        self.counts: dict[str, int] = {}

    def count(self, what: str, more: int = 1) -> None:
        """Count something that was looked at."""
        self.counts[what] = self.counts.get(what, 0) + more

    def differ(self, kind: str, subject: str, detail: str) -> None:
        """Count a difference, and name it if there is room."""
        self._differences += 1
        if len(self._named) < NAMED_MAX:
            self._named.append(Difference(kind=kind, subject=subject, detail=detail))

    def checked(self) -> Checked:
        """What was found."""
        return Checked(
            invariant=self._invariant,
            counts=dict(self.counts),
            differences=self._differences,
            named=tuple(self._named),
        )
