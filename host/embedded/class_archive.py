"""Kafka's classes as a Java runtime has read and checked them once, for the brokers that start after that.

Reading, checking and linking thousands of classes is more than half the processor time of a broker's start. A runtime
can write what it loaded into an archive as it ends, and the next one maps that file. It does without one that is of
another build or of other jars (`-Xshare:auto`), but not every damaged one is told: so an archive is tried before it is
kept, and it is kept under its own digest.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from host.embedded.jars import sha256
from host.embedded.java import Java

PREFIX: Final = "kafka-classes-"
KEPT_MAX: Final = 3
"""Archives in a cache, of some 50 MB each: of other runtimes and other jars than today's."""
TRY_TIMEOUT_S: Final = 60.0


class ClassArchive:
    """The archive of this runtime with these jars in this order and these flags.

    A broker that finds none is recorded: it writes one into its own folder as it ends, which is kept if it ended well.
    """

    def __init__(self, cache: Path, java: Java, jars: Sequence[Path], flags: Sequence[str]) -> None:
        self._cache = cache
        self._command = [str(java.executable), *flags, "-cp", os.pathsep.join(map(str, jars))]
        parts = [java.version, *self._command]
        for jar in jars:
            status = jar.stat()
            parts += [str(status.st_size), str(status.st_mtime_ns)]
        self._name = PREFIX + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def use(self) -> list[str]:
        """Return the flags of a Java that uses the archive; none if there is none that is whole."""
        for file in self._cache.glob(f"{self._name}-*.jsa"):
            if file.stem.endswith(f"-{sha256(file)}"):
                return [f"-XX:SharedArchiveFile={file}"]
            file.unlink(missing_ok=True)
        return []

    def record(self, folder: Path) -> list[str]:
        """Return the flags of a Java that writes the archive into this folder as it ends; none if it has no place."""
        for draft in folder.glob(f"{PREFIX}*.jsa"):
            draft.unlink()  # of one that was killed, perhaps while it wrote
        return [f"-XX:ArchiveClassesAtExit={folder / self._name}.jsa"] if os.access(self._cache, os.W_OK) else []

    def keep(self, folder: Path) -> None:
        """Move what a broker that ended has written into its folder to the cache, if it is whole; forget the oldest."""
        draft = folder / f"{self._name}.jsa"
        if not draft.exists():
            return
        if self._is_whole(draft):
            with contextlib.suppress(OSError):  # such as a full disk: the next broker records again
                _move(draft, self._cache / f"{self._name}-{sha256(draft)}.jsa")
        draft.unlink(missing_ok=True)
        kept = sorted(self._cache.glob(f"{PREFIX}*.jsa"), key=lambda archive: archive.stat().st_mtime_ns)
        for old in kept[:-KEPT_MAX]:
            old.unlink(missing_ok=True)

    def _is_whole(self, draft: Path) -> bool:
        """Whether a runtime that must use it, and sums up all of it, starts."""
        must = ["-Xshare:on", f"-XX:SharedArchiveFile={draft}", "-XX:+VerifySharedSpaces", "-version"]
        try:
            result = subprocess.run(  # noqa: S603 - the user's own Java, and there is no shell
                [*self._command, *must], capture_output=True, cwd=draft.parent, timeout=TRY_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return result.returncode == 0


def _move(draft: Path, file: Path) -> None:
    """Whole or not at all; across file systems, too."""
    handle, name = tempfile.mkstemp(prefix=f".{PREFIX}", dir=file.parent)
    os.close(handle)
    copy = Path(name)
    try:
        shutil.copyfile(draft, copy)
        copy.chmod(0o644)
        copy.replace(file)
    finally:
        copy.unlink(missing_ok=True)
