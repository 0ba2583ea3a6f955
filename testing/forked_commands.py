"""A command of `tallybook`, run to its end in a process that is forked (`forked.py`)."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testing.forked import Forked, Streams

TIMEOUT_S: Final = 180


def tallybook(environment: Mapping[str, str], *arguments: str, says: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end with this environment and nothing of the test's own, and return what it said."""
    with tempfile.TemporaryDirectory() as folder:
        streams = Streams(*(Path(folder, name) for name in ("in", "out", "err")))
        streams.read.write_text(says, encoding="utf-8")
        process = Forked(environment, arguments, streams)
        code = process.wait(TIMEOUT_S)
        if code is None:
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(list(arguments), TIMEOUT_S)
        out, err = (stream.read_text(encoding="utf-8") for stream in (streams.out, streams.err))
        return subprocess.CompletedProcess(list(arguments), code, out, err)
