"""Many commands in one request: each goes to the operation that it names, as if it had come alone.

So permissions, limits, approvals, the card guard, keys and dry runs are those of the single operation: nothing is
decided here but which of the commands wait for each other.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from pydantic_core import from_json, to_json
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope

from api.http.addresses import client_address, networks
from api.http.attempts import REFUSED, note
from api.http.bulk_body import Bulk, BulkCommand, BulkMode
from api.http.call import Call, Parts
from api.http.commands import CommandEndpoint
from api.http.dry_runs import wants_dry_run
from api.http.edge import EXCHANGE, Exchange
from api.http.endpoints import Endpoint
from api.http.fields import ID_PATTERN, Body
from api.http.limits import Allowance
from api.http.operations import Operation
from api.http.problems import CARD_NUMBER, FieldError, Problem, invalid
from api.http.rehearsing_in_turn import InTurn
from api.http.replies import JSON, REPLAYED, Header, Reply
from api.http.submitting import canonical_request, idempotency_key, in_flight, submitted
from api.http.together import Together
from domain.commands import NoteBulk
from infra.card_numbers import holds_card_number
from infra.event_store.port import Request, Writer

_ID: Final = re.compile(rf"\b[a-z]{{2,6}}_{ID_PATTERN}\b".encode())
_NOT_THE_CAUSE: Final = frozenset({"not_done_together", "other_refused"})
"""Codes of commands that are not done because of another one."""


class _Item(NamedTuple):
    """A command, its place in the request, the operation that it names, and its own body."""

    number: int
    command: BulkCommand
    endpoint: CommandEndpoint
    path_params: Mapping[str, str]
    raw: bytes

    @property
    def names(self) -> frozenset[bytes]:
        """The ids that stand in its path and its body."""
        return frozenset(_ID.findall(self.command.path.encode() + b" " + self.raw))


class _Answer(NamedTuple):
    """What a command was answered."""

    exchange: Exchange
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def status(self) -> int:
        return self.exchange.status

    @property
    def limit(self) -> Allowance | None:
        return self.exchange.limit

    @property
    def is_success(self) -> bool:
        return self.status < 300

    @property
    def position(self) -> int | None:
        told = self.headers.get(b"ledger-position")
        return None if told is None else int(told)

    @property
    def is_replayed(self) -> bool:
        return REPLAYED[0] in self.headers


class BulkEndpoint(Endpoint):
    """`POST /v1/commands`."""

    def __init__(self, operation: Operation, parts: Parts) -> None:
        super().__init__(operation, parts)
        self._trusted = networks(parts.settings.api.trusted_proxies)
        self._routes: dict[tuple[str, str], list[Route]] = {}
        # Of all bulks of the process together; the other half is for requests that try one command.
        at_once = max(1, parts.settings.writer.rehearsals_max // 2)
        self._writer: Writer = InTurn(parts.writer, asyncio.Semaphore(at_once))

    async def _reply(self, scope: Scope, exchange: Exchange, receive: Receive) -> Reply:
        call = self._call(scope, exchange)
        call.is_dry_run = wants_dry_run(exchange.headers)
        key = "" if call.is_dry_run else idempotency_key(exchange.headers)
        body, value = await self.body_of(call, receive)
        assert isinstance(body, Bulk), "the operation says so"
        items = self._items(scope, body, cast("Mapping[str, Any]", value))
        if call.is_dry_run:
            return await self._done(call, scope, exchange, body.mode, items)
        with in_flight(self._parts.in_flight, call.tenant_id, call.stored_key(key)):
            await self._note(call, scope, key, value)
            return await self._done(call, scope, exchange, body.mode, items)

    async def body_of(self, call: Call, receive: Receive) -> tuple[Body, object]:
        """The body. What the commands' own bodies hold is looked through by their own operations, which know what may
        look like a card number; a name that there is none of here is not repeated if it does.
        """
        try:
            return await super().body_of(call, receive)
        except Problem as problem:
            if any(holds_card_number(part) for each in problem.errors for part in (each.param, *each.param.split("."))):
                raise Problem(CARD_NUMBER) from None
            raise

    def _items(self, scope: Scope, body: Bulk, sent: Mapping[str, Any]) -> list[_Item]:
        """The commands with their operations. Raises the 422 of those that name none, and of keys that stand twice."""
        items: list[_Item] = []
        errors: list[FieldError] = []
        seen: set[str] = set()
        for number, command in enumerate(body.commands):
            if command.idempotency_key in seen:
                where = f"commands.{number}.idempotency_key"
                errors.append(FieldError(where, "repeated", "Each command has a key of its own"))
            seen.add(command.idempotency_key)
            found = self._operation_of(scope, command)
            if found is None:
                where = f"commands.{number}.path"
                errors.append(FieldError(where, "not_a_command", "There is no command of this method at this path"))
                continue
            raw = json.dumps(sent["commands"][number].get("body", {})).encode()
            items.append(_Item(number, command, *found, raw))
        if errors:
            raise invalid(errors[:50])
        return items

    def _operation_of(self, scope: Scope, command: BulkCommand) -> tuple[CommandEndpoint, Mapping[str, str]] | None:
        if not self._routes:
            for route in scope["router"].routes:
                if isinstance(route, Route) and isinstance(route.endpoint, CommandEndpoint):
                    for method in route.methods or ():
                        self._routes.setdefault((method, _begins(route.path)), []).append(route)
        asked = {"type": "http", "method": command.method, "path": command.path}
        for route in self._routes.get((command.method, _begins(command.path)), ()):
            match, child = route.matches(asked)
            if match is Match.FULL:
                return cast("CommandEndpoint", route.endpoint), child["path_params"]
        return None

    async def _note(self, call: Call, scope: Scope, key: str, value: object) -> None:
        """Keep the key of the whole, and its body's hash; each command's own key keeps what became of it."""
        canonical = canonical_request(scope["method"], scope["path"], call.tenant_id, value)
        await submitted(
            call,
            Request(
                tenant_id=call.tenant_id,
                idempotency_key=call.stored_key(key),
                request_hash=self._parts.vault.request_hash(canonical),
                command=NoteBulk(),
                actor=call.actor,
                correlation_id=call.request_id,
            ),
        )

    async def _done(
        self, call: Call, scope: Scope, exchange: Exchange, mode: BulkMode, items: Sequence[_Item]
    ) -> Reply:
        side_by_side_max = self._parts.settings.api.bulk_side_by_side_max
        if mode is BulkMode.ALL:
            answers = await self._all(scope, exchange, items, side_by_side_max)
        else:
            answers = await self._each(scope, exchange, items, side_by_side_max)
        exchange.limit = next((each.limit for each in reversed(answers) if each.limit is not None), exchange.limit)
        if mode is BulkMode.ALL and not all(each.is_success for each in answers):
            reply, exchange.code = _first_problem(items, answers)
            return reply
        return _whole(mode, items, answers, max_bytes=self._parts.settings.api.bulk_answers_max_bytes)

    async def _each(
        self, scope: Scope, exchange: Exchange, items: Sequence[_Item], side_by_side_max: int
    ) -> Sequence[_Answer]:
        """Side by side; one that names an id waits for the last one before it that does."""
        slots = asyncio.Semaphore(side_by_side_max)
        last: dict[bytes, asyncio.Task[_Answer]] = {}

        async def do(item: _Item, before: Sequence[asyncio.Task[_Answer]]) -> _Answer:
            if before:
                await asyncio.wait(before)
            async with slots:
                answer = await self._answer(scope, exchange, item, self._writer)
            if answer.status in REFUSED:
                note(self._parts.auth_log, answer.exchange, self._address(scope))
            return answer

        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[_Answer]] = []
            for item in items:
                names = item.names
                before = {last[name] for name in names if name in last}
                task = group.create_task(do(item, [*before]))
                last.update(dict.fromkeys(names, task))
                tasks.append(task)
        return [task.result() for task in tasks]

    async def _all(
        self, scope: Scope, exchange: Exchange, items: Sequence[_Item], side_by_side_max: int
    ) -> Sequence[_Answer]:
        """Each is prepared by itself; they are decided together, in their order."""
        together = Together(self._writer, len(items), preparing_max=side_by_side_max)

        async def do(item: _Item) -> _Answer:
            await together.prepare()
            try:
                return await self._answer(scope, exchange, item, together.place(item.number))
            finally:
                together.done(item.number)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(do(item)) for item in items]
        return [task.result() for task in tasks]

    async def _answer(self, scope: Scope, exchange: Exchange, item: _Item, writer: Writer) -> _Answer:
        """One command, done by its operation as a request of its own."""
        headers = {
            **exchange.headers,
            b"idempotency-key": item.command.idempotency_key.encode(),
            b"content-type": JSON[1],
            b"content-length": str(len(item.raw)).encode(),
        }
        own = Exchange(exchange.request_id, headers)
        own.principal, own.writer = exchange.principal, writer
        asked: Scope = {
            **scope,
            "method": item.command.method,
            "path": item.command.path,
            "raw_path": item.command.path.encode(),
            "path_params": item.path_params,
            "headers": [*headers.items()],
            EXCHANGE: own,
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": item.raw, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await item.endpoint(asked, receive, send)
        start, *bodies = sent
        own.status = start["status"]
        return _Answer(own, dict(start["headers"]), b"".join(each["body"] for each in bodies))

    def _address(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        return client_address(peer, scope["headers"], self._trusted)


def _begins(path: str) -> str:
    """A path's part that is no parameter: `customers` of `/v1/customers/cus_…`."""
    return path.split("/", 3)[2]


def _whole(mode: BulkMode, items: Sequence[_Item], answers: Sequence[_Answer], *, max_bytes: int) -> Reply:
    succeeded = sum(each.is_success for each in answers)
    head = {"object": "bulk", "mode": mode, "succeeded": succeeded, "failed": len(answers) - succeeded}
    data = b",".join(_told(items, answers, max_bytes))
    headers: list[Header] = [JSON]
    positions = [each.position for each in answers if each.position is not None]
    if positions:
        headers.append((b"ledger-position", str(max(positions)).encode()))
    if all(each.is_replayed for each in answers):
        headers.append(REPLAYED)
    return Reply(200, headers, to_json(head)[:-1] + b',"data":[' + data + b"]}")


def _told(items: Sequence[_Item], answers: Sequence[_Answer], max_bytes: int) -> Iterator[bytes]:
    """Each answer as it is told; from where they are too long together, without what was answered."""
    left = max_bytes
    for item, answer in zip(items, answers, strict=True):
        left -= len(answer.body)
        told: dict[str, object] = {
            "object": "bulk_answer",
            "idempotency_key": item.command.idempotency_key,
            "status": answer.status,
            "position": answer.position,
            "retry_after_s": int(answer.headers[b"retry-after"]) if b"retry-after" in answer.headers else None,
        }
        yield to_json(told)[:-1] + b',"answer":' + (answer.body if left >= 0 else b"null") + b"}"


def _first_problem(items: Sequence[_Item], answers: Sequence[_Answer]) -> tuple[Reply, str]:
    """Why none was done, and its code: the problem of the first command that cannot be, which says where it stands."""
    failed = [pair for pair in zip(items, answers, strict=True) if not pair[1].is_success]
    told = [(item, answer, cast("dict[str, Any]", from_json(answer.body))) for item, answer in failed]
    causes = [each for each in told if each[2]["code"] not in _NOT_THE_CAUSE]
    item, answer, problem = (causes or told)[0]
    problem["param"] = _in_bulk(item, problem["param"])
    for error in problem.get("errors", ()):
        error["param"] = _in_bulk(item, error["param"])
    dropped = (b"content-length", b"ratelimit", b"ratelimit-policy")
    headers = [header for header in answer.headers.items() if header[0] not in dropped]
    return Reply(answer.status, headers, to_json(problem)), problem["code"]


def _in_bulk(item: _Item, param: str | None) -> str:
    """Where a command's own field lies in the request that it came in."""
    place = f"commands.{item.number}"
    if param is None:
        return place
    if param == "Idempotency-Key":
        return f"{place}.idempotency_key"
    first = param.partition(".")[0]
    is_of_body = first in item.endpoint.body_fields or first in item.command.body
    return f"{place}.body.{param}" if is_of_body else f"{place}.path"
