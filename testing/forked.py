"""`tallybook` in a process of its own, without the second or two of processor time that its imports take.

The process is forked from one that has imported them (`all_loaded.py`), with its own environment, arguments, input and
output. That a command or a role starts from nothing is tried where it is started as `python -m cli.main`.
"""

import asyncio
import contextlib
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final, NamedTuple

from testing.skew import skew_clock

_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["testing.all_loaded"])


class Streams(NamedTuple):
    """The files that are its standard input, output and error; to the latter two it appends."""

    read: Path
    out: Path
    err: Path


class Forked:
    """A process that runs `tallybook` with these arguments, with this environment and nothing of the test's own."""

    def __init__(self, environment: Mapping[str, str], arguments: Sequence[str], streams: Streams) -> None:
        reader, writer = _forks.Pipe(duplex=False)
        with reader, writer:
            self._process: ForkServerProcess = _forks.Process(
                target=_run, args=(dict(environment), tuple(arguments), streams, writer)
            )
            self._process.start()
            writer.close()
            with contextlib.suppress(EOFError):
                reader.recv()  # from now on its group has its own id, and a signal to the group reaches it
        assert self._process.pid is not None, "it was started"
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end, so long at most; the exit code, None if it still runs."""
        self._process.join(timeout)
        return self._process.exitcode

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    @property
    def sentinel(self) -> int:
        """A file that can be read from once it has ended."""
        return self._process.sentinel


class ForkedRole:
    """A role's process as a supervisor watches it."""

    def __init__(self, process: Forked) -> None:
        self.pid = process.pid
        self.returncode: int | None = None
        self._process = process
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._has_ended)

    async def wait(self) -> int:
        """Wait for its end; the exit code, that of a signal negative."""
        await self._ended.wait()
        assert self.returncode is not None, "it has ended"
        return self.returncode

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self.returncode = self._process.wait()
        self._ended.set()


async def fork_role(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> ForkedRole:
    """Launch a role for a supervisor: `python -m cli.main run ROLE`, forked."""
    _python, _m, _main, *arguments = command
    streams = Streams(Path(os.devnull), log_file, log_file)
    return ForkedRole(await asyncio.to_thread(Forked, environment, arguments, streams))


def _run(environment: Mapping[str, str], arguments: Sequence[str], streams: Streams, started: Connection) -> None:
    os.setsid()
    started.send(None)
    started.close()
    writes = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, writes, writes), strict=True)):
        opened = os.open(stream, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # multiprocessing took it away
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["tallybook", *arguments]
    skew_clock()
    from cli.main import main

    try:
        main()
    except Exception as error:  # which multiprocessing would tell in its own words
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(1) from None
