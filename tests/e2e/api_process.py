"""The API as a process of its own, on a database: started, killed, started again."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from host.embedded.process import free_port
from testing.api_client import MASTER_KEY
from testing.certificates import MadeCertificate
from testing.forked import Forked, Streams

START_TIMEOUT_S = 120.0
POLL_S = 0.05


class ApiProcess:
    """One process of the role `api`, or of `ingest`, which is served as it is. Its log goes to a file in `folder`. With
    a certificate it speaks HTTPS.
    """

    def __init__(
        self, dsn: str, folder: Path, certificate: MadeCertificate | None = None, /, role: str = "api", **settings: str
    ) -> None:
        self._role = role
        self.port = free_port()
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        self._trusted = None if certificate is None else certificate.trusted()
        self._log = folder / f"{role}-{self.port}.log"
        self._environment = {
            **os.environ,
            "TALLYBOOK_DATABASE_URL": dsn,
            "TALLYBOOK_API_PORT": str(self.port),
            "TALLYBOOK_USAGE_INGEST_PORT": str(self.port),
            "TALLYBOOK_VAULT_MASTER_KEY": MASTER_KEY,
            "TALLYBOOK_DATA_DIR": str(folder),
            # A test's people come one after another; how quickly is not what it asks.
            "TALLYBOOK_AUTH_HASHING_PER_S": "1000",
            **({} if certificate is None else certificate.settings(folder)),
            **settings,
        }
        self._process: Forked | subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        process = self.launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API did not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(POLL_S)

    def launch(self) -> Forked | subprocess.Popen[bytes]:
        """Start it and wait for nothing: it may never be ready. With a PYTHONPATH of its own an interpreter is started,
        which heeds it.
        """
        arguments = ("run", self._role)
        if self._environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH"):
            streams = Streams(Path(os.devnull), self._log, self._log)
            self._process = Forked(self._environment, arguments, streams)
        else:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "cli.main", *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        return self._process

    def _is_ready(self) -> bool:
        try:
            ready = f"{self.url}/health/ready"
            with urllib.request.urlopen(ready, timeout=5, context=self._trusted) as response:  # noqa: S310  our own
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it at once: SIGKILL."""
        assert self._process is not None, "it was started"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int | None:
        """Ask it to finish (SIGTERM); its exit code."""
        assert self._process is not None, "it was started"
        self._process.terminate()
        return self._process.wait(timeout=START_TIMEOUT_S)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """CPU time that it has used so far."""
        used = psutil.Process(self.pid).cpu_times()
        return float(used.user + used.system)

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self._log.read_text(encoding="utf-8")
