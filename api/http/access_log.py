"""One line per request, written in batches: a line formatted and masked like any other costs as much as a query.

Nothing in a line comes from a client but its request id, which has a form of its own; so there is nothing to mask.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Final, TextIO

from infra.settings import TelemetrySettings

FLUSH_S: Final = 0.1
LINES_MAX: Final = 1_000


class AccessLog:
    """Collects lines, and writes them a moment later in one go. `close` writes what is left."""

    def __init__(self, settings: TelemetrySettings, stream: TextIO | None = None) -> None:
        self._enabled = settings.log_level in ("debug", "info")
        self._json = settings.log_format == "json"
        self._stream = stream
        self._lines: list[str] = []
        self._flushing: asyncio.TimerHandle | None = None

    def record(self, *, method: str, route: str, status: int, seconds: float, request_id: str, key_id: str) -> None:
        """Note a request. All texts are our own or of a checked form: nothing in them needs escaping."""
        if not self._enabled:
            return
        at = datetime.fromtimestamp(time.time(), UTC).isoformat()
        if self._json:
            line = (
                f'{{"event":"request","method":"{method}","route":"{route}","status":{status},'
                f'"ms":{seconds * 1000:.2f},"key_id":"{key_id}","correlation_id":"{request_id}",'
                f'"level":"info","timestamp":"{at}","role":"api"}}\n'
            )
        else:
            line = f"{at} {method} {route} {status} {seconds * 1000:.2f} ms {key_id} {request_id}\n"
        self._lines.append(line)
        if len(self._lines) >= LINES_MAX:
            self._flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        lines, self._lines = self._lines, []
        if lines:
            stream = self._stream or sys.stdout
            stream.write("".join(lines))
            stream.flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
