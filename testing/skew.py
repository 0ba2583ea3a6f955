"""A process of a test whose clock is wrong: its environment says by how much, and no setting of Tallybook does."""

import os
import time
from datetime import datetime, timedelta, tzinfo
from typing import Final

import infra.clock

SKEW_VARIABLE: Final = "CLOCK_SKEW_S"


def skew_clock() -> None:
    """From here on it is so much later in this process than elsewhere. Time that only passes is everybody's."""
    seconds = int(os.environ.get(SKEW_VARIABLE, "0"))
    if not seconds:
        return
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + seconds * 10**9

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # it is a plain one, and later
            return datetime.now(tz) + timedelta(seconds=seconds)

    vars(infra.clock)["datetime"] = Skewed
