"""How sagas came to their events of late: by Kafka, as they should, or by the sweeper, which takes up what was lost.

A system whose sagas all wait for the sweeper's deadline is right to the cent and broken all the same.
"""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from time import monotonic

from prometheus_client import Counter

from infra.settings import ProcessorSettings
from infra.telemetry import PartHealth

STARTED = Counter(
    "tallybook_sagas_started_total",
    "Sagas' commands issued for the first time, by what brought the event",
    ["saga", "by"],
)
KNOWN_MAX = 10_000
SWEPT_MIN = 3
"""Sagas that the sweeper must have started before their share says anything: one of one is an accident."""


class Driver(StrEnum):
    """What brought a saga its event. The value begins the actor of its commands: `saga:charge`, `sweeper:charge`."""

    KAFKA = "saga"
    SWEEPER = "sweeper"


class Journeys:
    """Who started the sagas of this process within the last window."""

    def __init__(self, settings: ProcessorSettings, *, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._started: deque[tuple[float, Driver]] = deque(maxlen=KNOWN_MAX)

    def started(self, saga: str, by: Driver) -> None:
        """A saga has issued a command that it had not issued before."""
        STARTED.labels(saga, by).inc()
        self._started.append((self._clock(), by))

    def health(self) -> PartHealth:
        """Not ok while the sweeper starts a larger share of the sagas than the settings allow."""
        window_s = self._settings.swept_window_s
        since = self._clock() - window_s
        while self._started and self._started[0][0] < since:
            self._started.popleft()
        swept = sum(by is Driver.SWEEPER for _, by in self._started)
        ok = swept < SWEPT_MIN or swept <= self._settings.swept_share_max * len(self._started)
        detail = f"the sweeper started {swept} of the {len(self._started)} sagas of the last {window_s:.0f} s"
        return PartHealth(
            name="sweeper",
            ok=ok,
            detail=detail if ok else f"{detail}: Kafka does not bring them; see the relay and faust",
        )
