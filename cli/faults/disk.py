"""A disk of the run's own that can be full: a tmpfs, which Linux lets root mount, and shrink to what is on it."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DISK_MIB: Final = 4_096
"""Room of the disk; memory is taken only for what is written."""

SPARE_KIB: Final = 64
"""What a full disk still has room for: the kernel refuses to make one smaller than what is on it."""

COMMAND_TIMEOUT_S: Final = 30.0


class Disk:
    """A mounted tmpfs. What is on it is gone with it, so whoever wants to keep something copies it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def fill(self) -> None:
        """Leave no room."""
        usage = shutil.disk_usage(self.folder)
        await self._resize(f"{usage.used // 1024 + SPARE_KIB}k")

    async def free(self) -> None:
        """Give back all room."""
        await self._resize(f"{DISK_MIB}m")

    async def _resize(self, size: str) -> None:
        arguments = ("mount", "-o", f"remount,size={size}", str(self.folder))
        process = await asyncio.create_subprocess_exec(*arguments)
        if await asyncio.wait_for(process.wait(), COMMAND_TIMEOUT_S) != 0:
            raise OSError(f"{' '.join(arguments)} ended with {process.returncode}")


@contextlib.contextmanager
def mounted_disk(folder: Path) -> Iterator[Disk | None]:
    """Mount a disk on an empty folder; None where nobody lets us (no root, no Linux, a closed container)."""
    options = f"size={DISK_MIB}m,mode=0711"
    mounted = os.geteuid() == 0 and _ran("mount", "-t", "tmpfs", "-o", options, "tallybook-faults", str(folder))
    try:
        yield Disk(folder) if mounted else None
    finally:
        if mounted and not _ran("umount", str(folder)):
            _ran("umount", "--lazy", str(folder))


def kept_copy(folder: Path) -> Path:
    """Copy all that lies in a folder to one that stays, owners and modes included."""
    copy = Path(tempfile.mkdtemp(prefix="tallybook-faults-kept-"))
    copy.chmod(0o711)
    _ran("cp", "--archive", f"{folder}/.", str(copy))
    return copy


def _ran(*arguments: str) -> bool:
    try:
        ended = subprocess.run(arguments, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
