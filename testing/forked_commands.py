"""A command of `tallybook` in a process of its own, without the second of processor time that its imports take.

The process is forked from one that has imported them (`all_loaded.py`), with its own environment, arguments, input and
output. That a command starts from nothing is tried where it is started as `python -m cli.main`.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 180

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["testing.all_loaded"])


def tallybook(environment: Mapping[str, str], *arguments: str, says: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end with this environment and nothing of the test's own, and return what it said."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("in", "out", "err")]
        streams[0].write_text(says, encoding="utf-8")
        process = _forks.Process(target=_run, args=(dict(environment), arguments, streams))
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), TIMEOUT_S)
        out, err = (stream.read_text(encoding="utf-8") for stream in streams[1:])
        return subprocess.CompletedProcess(list(arguments), process.exitcode, out, err)


def _run(environment: Mapping[str, str], arguments: Sequence[str], streams: Sequence[Path]) -> None:
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)):
        opened = os.open(stream, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # multiprocessing took it away
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["tallybook", *arguments]
    from cli.main import main

    try:
        main()
    except Exception as error:  # which multiprocessing would tell in its own words
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(1) from None
