"""How a command becomes a process of a role."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias


class Launched(Protocol):
    """A process as it was launched: in a session and a group of its own, of its own id."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


Launch: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Path], Awaitable[Launched]]
"""Launches a command with an environment; what it says is added to a file."""


async def launch_process(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> Launched:
    """Launch a command as every supervisor does but those of most tests."""
    with log_file.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
        )
