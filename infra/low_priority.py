"""A process of our own that gives way: what takes payments comes first."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

LOW_PRIORITY: Final = 10
"""As nice counts: a tenth of what others get where all are busy. At the lowest nobody could log in at all there."""
AUTOGROUP: Final = Path("/proc/self/autogroup")


def give_way() -> None:
    """Take a low priority among processes, and among sessions where Linux shares the processor out by these first
    (autogroup): in its parent's session it would use up what that one is given.
    """
    # Ctrl-C in a terminal is for the process that serves; this one ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpriority(os.PRIO_PROCESS, 0, LOW_PRIORITY)
    with contextlib.suppress(OSError):
        os.setsid()
        AUTOGROUP.write_text(str(LOW_PRIORITY), encoding="ascii")
