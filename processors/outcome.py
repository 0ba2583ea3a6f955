"""What running a piece of due work comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do: the events that it caused have finished or moved its row, or it was no longer wanted."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Not yet: run it again after this long (None: by the backoff of its attempts)."""

    after_ms: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody can go on without a person: shown, and left alone until it is released."""

    why: str


WorkOutcome = Done | AskAgain | Hold
