"""What is done alike to an embedded server, whichever it is: found, stopped, killed, frozen, started again."""

import signal
from abc import ABC, abstractmethod
from pathlib import Path

from host.embedded.process import ServerProcess, start_lock


class EmbeddedServer(ABC):
    """A server with a folder of its own; its process is known by `marker`, a path that stands in its command line.

    `stop_signal` is what it takes for a request to stop cleanly.
    """

    def __init__(self, folder: Path, *, marker: str, stop_signal: signal.Signals, stop_timeout_s: float) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.port = 0
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._server = ServerProcess(record_file=self.folder / "process.json", marker=str(self.folder / marker))

    @property
    def pid(self) -> int | None:
        return self._server.pid

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    @property
    def started_here(self) -> bool:
        """Whether this process is the one to stop it: it started it, or adopted it from a dead owner."""
        return self._server.owned

    @abstractmethod
    def start(self, *, detached: bool = False) -> None:
        """Start the server, or use the one that runs in this folder. Detached: it outlives this process.

        Raises EmbeddedServerError, whose message says what to do.
        """

    @abstractmethod
    def _read_state(self) -> None:
        """Read what the folder remembers of the server: its ports, and what clients need beside them."""

    def find(self) -> bool:
        """Attach to the server of this folder if it runs; start nothing."""
        if not self.folder.is_dir() or not self._server.attach(detached=False):
            return False
        self._read_state()
        return True

    def stop(self) -> bool:
        """Stop cleanly, or kill after the time-out; what was acknowledged stays either way.

        True if a server ran and went by itself.
        """
        if not self.folder.is_dir():
            return False
        with start_lock(self.folder):
            ran = self.is_running
            return self._server.stop(self._stop_signal, timeout_s=self._stop_timeout_s) and ran

    def kill(self) -> None:
        """SIGKILL the server and all that it started, as a power cut would. For fault tests."""
        self._server.kill()

    def pause(self) -> None:
        """SIGSTOP the server and all that it started, as in a long pause of its machine. For fault tests."""
        self._server.pause()

    def resume(self) -> None:
        """SIGCONT: it goes on where it stood."""
        self._server.resume()

    def restart(self) -> None:
        """Stop and start again, on the same port."""
        self.stop()
        self.start()
