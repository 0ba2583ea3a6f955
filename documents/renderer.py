"""Documents are set by processes of their own (`rendering_process.py`): a few at a time, a few more waiting, the rest
turned away.

A document costs some 20 to 200 ms of processor time. What serves only waits for it; a process that takes too long is
killed, and another one is started when it is needed.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from documents.invoice_document import Document
from infra.settings import DocumentSettings

TRIES: Final = 2
"""A process that ended is started once more: the bytes are the same, whoever makes them."""
PDF_MAX_BYTES: Final = 64 * 1024 * 1024
LINE_MAX_BYTES: Final = 64 * 1024
_INHERITED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
"""All that the process has of our environment: the rest holds passwords and keys."""
_MADE_WITH: Final = ("typst", "babel")


class RenderingBusy(Exception):
    """As many documents as may wait are waiting, or this one took too long: try again after `retry_after_s`."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"too many documents are being made; retry after {retry_after_s} s")


class NotRendered(Exception):
    """The document cannot be set: a fault of ours, whatever it says."""


@cache
def release() -> str:
    """A digest of what makes bytes of a document: template, fonts, libraries."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), *folder.glob("template/*.typ"), *folder.glob("fonts/*")]):
        digest.update(f"{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    digest.update(" ".join(f"{name} {version(name)}" for name in _MADE_WITH).encode())
    return digest.hexdigest()


def tag_of(document: Document) -> str:
    """What tells the bytes of a document from all others', without making them: 32 hex digits."""
    return hashlib.sha256(f"{release()}\n".encode() + _text(document)).hexdigest()[:32]


class Renderer:
    """One per process that serves. Close it when that ends."""

    def __init__(self, settings: DocumentSettings) -> None:
        self._settings = settings
        self._most = settings.processes + settings.queue_max
        self._slots = asyncio.Semaphore(settings.processes)
        self._idle: list[Process] = []
        self._starting: set[asyncio.Future[Process]] = set()
        self._taken = 0

    async def pdf(self, document: Document) -> bytes:
        """The document as PDF/A-3a. Raises RenderingBusy, and NotRendered."""
        if self._taken >= self._most:
            raise RenderingBusy(self._settings.retry_after_s)
        self._taken += 1
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000), self._slots:
                return await self._set(_text(document) + b"\n")
        except TimeoutError:
            raise RenderingBusy(self._settings.retry_after_s) from None
        finally:
            self._taken -= 1

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(*self._starting, return_exceptions=True)
        while self._idle:
            await _end(self._idle.pop())

    async def _process(self) -> Process:
        """One that is idle, or a new one, which the next has where this caller gives up waiting for it."""
        if self._idle:
            return self._idle.pop()
        starting = asyncio.ensure_future(_started())
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise

    def _keep(self, started: "asyncio.Future[Process]") -> None:
        if started.exception() is None:
            self._idle.append(started.result())

    async def _set(self, line: bytes) -> bytes:
        for _ in range(TRIES):
            process = await self._process()
            try:
                told, made = await _asked(process, line)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                await _end(process)
            except BaseException:
                # Nobody waits any more, so whatever it answers is nobody's.
                await _end(process)
                raise
            else:
                self._idle.append(process)
                if "failed" in told:
                    raise NotRendered(told["failed"])
                return made
        raise NotRendered(f"the rendering process ended {TRIES} times")


async def _asked(process: Process, line: bytes) -> tuple[Mapping[str, Any], bytes]:
    assert process.stdin is not None, "it has pipes"
    assert process.stdout is not None, "it has pipes"
    process.stdin.write(line)
    await process.stdin.drain()
    told: dict[str, Any] = json.loads(await process.stdout.readuntil(b"\n"))
    length: int = told["length"]
    if length > PDF_MAX_BYTES:
        raise ValueError(f"a document of {length} bytes")
    return told, await process.stdout.readexactly(length)


async def _started() -> Process:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    command = (sys.executable, "-m", "documents.rendering_process")
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=LINE_MAX_BYTES, env=kept)


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _text(document: Document) -> bytes:
    return json.dumps(asdict(document), ensure_ascii=True, separators=(",", ":")).encode()
