"""What an import keeps beside its file: how far it has come, and which lines came to nothing."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from cli.import_kinds import LineProblem

_READ_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far an import of so many lines has come: those up to the file's `line` are settled. `whose` tells the API and
    the key it came by.
    """

    kind: str
    whose: str
    sha256: str
    lines: int = 0
    line: int = 0
    imported: int = 0
    failed: int = 0
    errors_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left."""
        return self.imported + self.failed == self.lines

    def after(self, line: int, *, imported: int, failed: int, errors_bytes: int) -> Self:
        """The same, some lines later."""
        return replace(
            self,
            line=line,
            imported=self.imported + imported,
            failed=self.failed + failed,
            errors_bytes=errors_bytes,
        )


def progress_file(file: Path) -> Path:
    """Where it is kept how far the import of a file has come."""
    return file.with_name(f"{file.name}.progress.json")


def errors_file(file: Path) -> Path:
    """Where it is told which of a file's lines came to nothing."""
    return file.with_name(f"{file.name}.errors.ndjson")


def digest(file: Path) -> str:
    """The file's SHA-256: one that was changed is another one."""
    found = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(_READ_BYTES):
            found.update(part)
    return found.hexdigest()


def reached_before(beginning: Reached, file: Path) -> Reached:
    """How far the very same import came when it was stopped or killed; its beginning where there was none."""
    try:
        kept = json.loads(progress_file(file).read_text(encoding="utf-8"))
        found = Reached(**kept)
    except (OSError, ValueError, TypeError, KeyError):
        return beginning
    is_same = (found.kind, found.whose, found.sha256) == (beginning.kind, beginning.whose, beginning.sha256)
    return found if is_same else beginning


def keep(reached: Reached, file: Path) -> None:
    """Keep how far it has come, in whole or not at all."""
    target = progress_file(file)
    written = target.with_suffix(".tmp")
    written.write_text(json.dumps(asdict(reached)), encoding="utf-8")
    written.replace(target)


class Errors:
    """The lines that came to nothing, one JSON object each; what a killed run wrote too much is cut off."""

    def __init__(self, file: Path, begin_bytes: int = 0) -> None:
        self._path = errors_file(file)
        with self._path.open("ab") as content:
            content.truncate(min(begin_bytes, content.tell()))

    def add(self, problems: list[LineProblem]) -> int:
        """Write them down; how long the file is now."""
        with self._path.open("ab") as content:
            content.writelines(json.dumps(asdict(each)).encode() + b"\n" for each in problems)
            return content.tell()
