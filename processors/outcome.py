"""What running a piece of due work comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settled:
    """The events that it caused have finished or moved its row, in their own batch."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Nothing was left to do; the row goes, if it is still this run's."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Not yet: run it again after this long (None: by the backoff of its attempts); `failed`: for a defect of ours;
    `untouched`: nothing was done outside, so the next run counts as the first if this one was."""

    after_ms: int | None
    why: str
    failed: bool = False
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody can go on without a person: shown, and left alone until it is released."""

    why: str


WorkOutcome = Settled | Unwanted | AskAgain | Hold
