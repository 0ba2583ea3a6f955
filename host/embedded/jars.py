"""Kafka's jars: exact coordinates and SHA-256 from jars.lock, fetched once into a cache, checked at every start."""

import hashlib
import importlib.resources
import shutil
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from host.embedded.process import EmbeddedServerError, require_disk

DOWNLOADS_AT_ONCE = 8
FETCH_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> list[Jar]:
    """Return the jars of jars.lock, in its order."""
    return jars_of(importlib.resources.files("host.embedded").joinpath("jars.lock").read_text(encoding="ascii"))


def jars_of(text: str) -> list[Jar]:
    """Return the jars that a lock's text names, in its order."""
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            group, artifact, version, sha256 = line.split(":")
            jars.append(Jar(group=group, artifact=artifact, version=version, sha256=sha256))
    return jars


def kafka_jars(cache: Path, *, timeout_s: int, jars: Iterable[Jar] | None = None) -> list[Path]:
    """Return the files of all jars, each with the SHA-256 of the lock, fetching those that the cache lacks.

    Raises EmbeddedServerError where there is no network, no space, or a file that is not the locked one.
    """
    folder = cache / "jars"
    wanted = list(locked_jars() if jars is None else jars)
    missing = [jar for jar in wanted if sha256(folder / jar.file_name) != jar.sha256]
    if missing:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        require_disk(folder)
        _fetch_all(missing, folder, timeout_s)
    return [folder / jar.file_name for jar in wanted]


def _fetch_all(jars: list[Jar], folder: Path, timeout_s: int) -> None:
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("Fetching Kafka"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jars"),
        TimeElapsedColumn(),
    )
    if not sys.stderr.isatty():
        console.print(f"Fetching Kafka: {len(jars)} jars into {folder}")
    with (
        tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
        Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task("jars", total=len(jars))
        pending = [pool.submit(_fetch, jar, folder, Path(scratch), timeout_s) for jar in jars]
        try:
            for done in as_completed(pending):
                done.result()
                progress.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(jar: Jar, folder: Path, scratch: Path, timeout_s: int) -> None:
    # Imported here: only a first start needs it.
    import requests
    from jgo.maven import MavenContext

    for attempt in range(1, FETCH_TRIES + 1):
        # A fresh place for each try: what a broken download left behind is never taken for the file.
        place = Path(tempfile.mkdtemp(dir=scratch))
        context = MavenContext(repo_cache=place, timeout=timeout_s)
        try:
            fetched = Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())
        except (requests.RequestException, OSError, RuntimeError) as error:
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                require_disk(folder)
            if attempt < FETCH_TRIES:
                continue
            raise EmbeddedServerError(
                f"Could not fetch {jar.coordinate} ({type(error).__name__}). The first start needs the network, to get "
                "Kafka's jars from the Maven repository: check the connection, HTTPS_PROXY and REQUESTS_CA_BUNDLE (the "
                "trusted certificates), and start again; what was fetched is kept. Without a network, set "
                "TALLYBOOK_CACHE_DIR to a cache filled elsewhere, or TALLYBOOK_KAFKA_BOOTSTRAP to a Kafka of yours."
            ) from error
        found = sha256(fetched)
        if found != jar.sha256:
            raise EmbeddedServerError(
                f"{jar.coordinate} is not the file that Tallybook was tested with, and is refused: its SHA-256 is "
                f"{found}, and host/embedded/jars.lock says {jar.sha256}. A proxy may have changed it. Do not use it; "
                "try another network."
            )
        shutil.move(fetched, folder / f".{jar.file_name}.new")
        (folder / f".{jar.file_name}.new").replace(folder / jar.file_name)
        return


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal, nothing if there is no file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
