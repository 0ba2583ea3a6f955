"""What happened to processes: one line of JSON each in a file, and one line for people where somebody watches."""

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


class Journal:
    """Notes events. The file is rolled over beyond `bytes_max`."""

    def __init__(self, file: Path, bytes_max: int, tell: Callable[[str], None]) -> None:
        self.file = file
        self._bytes_max = bytes_max
        self._tell = tell

    def note(self, event: str, process: str, text: str, *, aloud: bool = True, **facts: object) -> None:
        """Write an event down, and tell it unless it is what everybody expects.

        Where it cannot be written, on a full disk, it is told all the same: what happens to processes comes first.
        """
        line = {"timestamp": datetime.now(UTC).isoformat(), "event": event, "process": process, "text": text, **facts}
        try:
            self._write(json.dumps(line))
        except OSError as error:
            self._tell(f"{process} {text} (not written down: {error.strerror})")
            return
        if aloud:
            self._tell(f"{process} {text}")

    def _write(self, line: str) -> None:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        roll_over(self.file, self._bytes_max)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def roll_over(log_file: Path, bytes_max: int) -> None:
    """Put a log file that is longer than that aside, as `….log.1`."""
    if log_file.exists() and log_file.stat().st_size > bytes_max:
        log_file.replace(log_file.with_suffix(".log.1"))


def how_it_ended(code: int | None) -> str:
    """An exit code for people: a signal by its name."""
    if code is None:
        return "exit code unknown"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
