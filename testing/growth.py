"""How the cost of a function grows with its input: the ratio of two sizes, which does not depend on the machine."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

TIMES: Final = 8
"""The longer input is so many times as long; a linear function costs about so many times as much, a quadratic 64."""

RATIO_MAX: Final = 24.0
"""What a cost may grow by: far above linear with its noise, far below quadratic."""

_LEAST_S: Final = 0.0005
"""Where the short input costs less than this, it is counted as this: the clock says nothing of less."""


def grows_linearly(run: Callable[[T], object], make: Callable[[int], T], *, size: int, tries: int = 4) -> bool:
    """Whether `TIMES` the size costs about `TIMES` as much. `make` gives an input of a size."""
    for _ in range(tries):
        if _seconds(run, make(size * TIMES)) <= RATIO_MAX * max(_LEAST_S, _seconds(run, make(size))):
            return True
    return False


def _seconds(run: Callable[[T], object], given: T) -> float:
    """CPU time of this thread: what others do on the machine is not in it."""
    started = time.thread_time()
    run(given)
    return time.thread_time() - started
