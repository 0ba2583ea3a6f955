"""An import: the file is checked whole, then its lines go to the API, some hundred at a time, each under its own key.

A line's key is made of the line, so the same line is done once, however often it is sent and from whichever file. After
each part it is kept how far the import has come: one that was stopped or killed goes on from there.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cli.api_client import ApiClient
from cli.import_files import Errors, Reached, keep
from cli.import_kinds import KINDS, ImportKind, Kind, LineProblem
from cli.import_names import Names
from cli.line_file import Wrong, is_csv, opened_lines

PART_LINES: Final = 250
PART_BYTES: Final = 600_000
"""Of the lines of one request, which may be 1 MiB long."""
TRIES_MAX: Final = 120
PAUSE_S: Final = 0.25
PAUSE_MAX_S: Final = 60.0
_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


class Stuck(Exception):
    """The API takes no more now; the message says what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that can be sent."""

    number: int
    body: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a look at the whole file found."""

    lines: int
    wrong: int
    first_wrong: Sequence[LineProblem]


def check_file(kind: ImportKind, file: Path, errors: Errors, *, shown_max: int) -> Check:
    """Look at every line, and write down what is wrong. Raises Unreadable."""
    lines = wrong = 0
    first: list[LineProblem] = []
    for problems in _problems(kind, file):
        lines += 1
        if problems:
            wrong += 1
            errors.add(problems)
            first += problems[: max(0, shown_max - len(first))]
    return Check(lines=lines, wrong=wrong, first_wrong=first)


def _problems(kind: ImportKind, file: Path) -> Iterator[list[LineProblem]]:
    reads, seen = KINDS[kind], set[bytes]()
    with opened_lines(file, check_columns=reads.lacking) as lines:
        for number, entry in lines:
            if isinstance(entry, Wrong):
                yield [LineProblem(line=number, param="", code="malformed", message=str(entry))]
                continue
            body = _body(reads, file, entry)
            found = [*reads.problems(number, body)]
            told = _digest(kind, body)[:16]
            if not found and told in seen:
                message = "Another line is the same: let something tell the two apart, such as a reference or metadata"
                found = [LineProblem(line=number, param="", code="repeated", message=message)]
            seen.add(told)
            yield found


def _body(kind: Kind, file: Path, entry: object) -> Any:
    return kind.of_csv(entry) if is_csv(file) and isinstance(entry, dict) else entry


def _digest(kind: ImportKind, body: object) -> bytes:
    return hashlib.sha256(f"{kind} {json.dumps(body, sort_keys=True)}".encode()).digest()


class Import:
    """One file's import through one client."""

    def __init__(self, api: ApiClient, kind: ImportKind, file: Path, *, is_dry: bool) -> None:
        self._api = api
        self._kind = kind
        self._reads = KINDS[kind]
        self._file = file
        self._is_dry = is_dry
        reference = self._reads.reference
        self._names = None if reference is None else Names(api, reference)

    async def run(
        self, reached: Reached, errors: Errors, *, tell: Callable[[int], None], stop: asyncio.Event
    ) -> Reached:
        """Send what is left, until all is or it is to stop: after a part, never within one. Raises Stuck, ApiError."""
        settled = reached.imported + reached.failed
        tell(settled)
        async for part in self._parts(reached.line):
            if stop.is_set():
                break
            failed = await self._settle(part)
            length = errors.add([problem for each in failed.values() for problem in each])
            reached = reached.after(
                part[-1].number, imported=len(part) - len(failed), failed=len(failed), errors_bytes=length
            )
            if not self._is_dry:
                keep(reached, self._file)
            tell(reached.imported + reached.failed)
        return reached

    async def _parts(self, after: int) -> AsyncIterator[list[Line]]:
        with opened_lines(self._file, check_columns=self._reads.lacking) as lines:
            part: list[Line] = []
            size = 0
            for number, entry in lines:
                if number <= after:
                    continue
                body = _body(self._reads, self._file, entry)
                length = len(json.dumps(body))
                if part and (len(part) == PART_LINES or size + length > PART_BYTES):
                    yield part
                    part, size = [], 0
                key = f"import-{_digest(self._kind, body).hex()[:40]}"
                part.append(Line(number=number, body=body, key=key))
                size += length
            if part:
                yield part

    async def _settle(self, part: Sequence[Line]) -> dict[int, list[LineProblem]]:
        """Have each line done or refused; what is wrong with those that were not, by their numbers."""
        failed: dict[int, list[LineProblem]] = {}
        commands: dict[int, dict[str, Any]] = {}
        for line, found in zip(part, await asyncio.gather(*(self._command(line) for line in part)), strict=True):
            if isinstance(found, LineProblem):
                failed[line.number] = [found]
            else:
                commands[line.number] = found
        for _ in range(TRIES_MAX):
            if not commands:
                return failed
            pause_s = PAUSE_S
            told = await self._send([*commands.values()])
            before = len(commands)
            for number, answer in zip([*commands], told, strict=True):
                status, body = self._status_of(answer)
                if status in _TRY_AGAIN or body.get("code") == "idempotency_key_in_flight":
                    pause_s = max(pause_s, float(answer["retry_after_s"] or 0))
                    last = str(body.get("detail", status))
                    continue
                del commands[number]
                if status >= 300:
                    failed[number] = [*_refused(number, body)]
            if commands:
                await asyncio.sleep(min(pause_s, PAUSE_MAX_S) if len(commands) == before else PAUSE_S)
        raise Stuck(last)

    async def _send(self, commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        keys = "".join(each["idempotency_key"] for each in commands)
        body = {"mode": "each", "commands": commands}
        key = f"import-{hashlib.sha256(keys.encode()).hexdigest()[:40]}"
        told = await self._api.post("/v1/commands", body, key=key, dry_run=self._is_dry)
        data: list[dict[str, Any]] = told["data"]
        return data

    def _status_of(self, answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        body = answer["answer"] or {}
        if body.get("object") == "dry_run":
            return body["status"], body["result"]
        return answer["status"], body

    async def _command(self, line: Line) -> dict[str, Any] | LineProblem:
        """The command of a line, once what it names is found."""
        reference, body, path = self._reads.reference, dict(line.body), self._reads.path
        named = None if reference is None else body.pop(reference.column, None)
        if reference is not None and self._names is not None and named is not None:
            found = await self._names.id_of(named)
            if found is None:
                return LineProblem(
                    line=line.number, param=reference.column, code="not_found", message=reference.not_found
                )
            if reference.field is None:
                path = path.replace("{id}", found)
            else:
                body[reference.field] = found
        return {"idempotency_key": line.key, "path": path, "body": body}


def _refused(line: int, problem: dict[str, Any]) -> Iterator[LineProblem]:
    errors = problem.get("errors") or [
        {"param": problem.get("param") or "", "code": problem.get("code", ""), "message": problem.get("detail", "")}
    ]
    for each in islice(errors, 50):
        yield LineProblem(line=line, param=each["param"], code=each["code"], message=each["message"])
