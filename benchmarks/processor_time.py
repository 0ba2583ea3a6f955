"""Which part of a stack uses how much of the processor."""

import psutil

from host.stack import Stack


class ProcessorTime:
    """How many seconds of processor time each part of a stack uses between entering and leaving."""

    def __init__(self, stack: Stack) -> None:
        self._pids = {process.name: process.pid for process in stack.supervisor.roles if process.pid is not None}
        for name, server in (("postgres", stack.servers.postgres), ("kafka", stack.servers.kafka)):
            if server is not None and server.pid is not None:
                self._pids[name] = server.pid
        self.used: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def __enter__(self) -> None:
        self._before = self._read()

    def __exit__(self, *_: object) -> None:
        self.used = {name: seconds - self._before[name] for name, seconds in self._read().items()}

    def _read(self) -> dict[str, float]:
        return {name: sum(map(_seconds, _family(pid))) for name, pid in self._pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
