"""Commands of one request that are all accepted or none: each comes by its own way, and the last one hands all on."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

from api.http.problems import NOT_TOGETHER, ONE_PERSON_TWICE, Problem
from infra.event_store.port import Outcome, Rehearsed, Request, Writer

Came = TypeVar("Came", Outcome, Rehearsed)
Do = Callable[[Sequence[Request]], Coroutine[Any, Any, Sequence[Came]]]


class Together:
    """A meeting of so many commands. Each has a writer of its own (`place`), and is `done` once it was answered."""

    def __init__(self, writer: Writer, count: int, *, preparing_max: int) -> None:
        self._submitted: Final = _Meeting[Outcome](writer.submit_together, count)
        self._rehearsed: Final = _Meeting[Rehearsed](writer.rehearse_together, count)
        self._preparing: Final = asyncio.Semaphore(preparing_max)
        self._prepared: set[int] = set()

    async def prepare(self) -> None:
        """Wait until one more may be prepared: what it needs is read before it comes here."""
        await self._preparing.acquire()

    def place(self, number: int) -> "Place":
        """The writer of one of them."""
        return Place(self, number)

    async def come_to_submit(self, number: int, request: Request) -> Outcome:
        """See `Place.submit`."""
        self._has_prepared(number)
        return await self._submitted.come(number, request)

    async def come_to_rehearse(self, number: int, request: Request) -> Rehearsed:
        """See `Place.rehearse`."""
        self._has_prepared(number)
        return await self._rehearsed.come(number, request)

    def done(self, number: int) -> None:
        """One of them was answered: if it did not come before, it will not, and nothing is done."""
        self._has_prepared(number)
        self._submitted.leave(number)
        self._rehearsed.leave(number)

    def _has_prepared(self, number: int) -> None:
        if number not in self._prepared:
            self._prepared.add(number)
            self._preparing.release()


class Place:
    """One command's writer. See `port.Writer`."""

    def __init__(self, together: Together, number: int) -> None:
        self._together = together
        self._number = number

    async def submit(self, request: Request) -> Outcome:
        """Wait for the others, and what became of this one."""
        return await self._together.come_to_submit(self._number, request)

    async def rehearse(self, request: Request) -> Rehearsed:
        """Wait for the others, and what this one would come to."""
        return await self._together.come_to_rehearse(self._number, request)

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """Nobody asks one command's writer for that."""
        raise NotImplementedError

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        """Nobody asks one command's writer for that."""
        raise NotImplementedError


class _Meeting(Generic[Came]):
    """Where requests wait for each other. Those that were failed together may come again, together."""

    def __init__(self, do: Do[Came], count: int) -> None:
        self._do: Do[Came] = do
        self._count = count
        self._left: set[int] = set()
        self._waiting: dict[int, tuple[Request, asyncio.Future[Came]]] = {}
        self._doing: set[asyncio.Task[None]] = set()

    async def come(self, number: int, request: Request) -> Came:
        if self._left:
            raise Problem(NOT_TOGETHER)
        waiter: asyncio.Future[Came] = asyncio.get_running_loop().create_future()
        self._waiting[number] = request, waiter
        if len(self._waiting) == self._count:
            task = asyncio.create_task(self._hand_on())
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)
        return await waiter

    def leave(self, number: int) -> None:
        self._left.add(number)
        if self._waiting:
            self._fail(Problem(NOT_TOGETHER))

    async def _hand_on(self) -> None:
        waiting, self._waiting = self._waiting, {}
        requests = [waiting[number][0] for number in sorted(waiting)]
        waiters = [waiting[number][1] for number in sorted(waiting)]
        try:
            _check_people(requests)
            outcomes = await self._do(requests)
        except Exception as error:
            _tell(waiters, error)
        else:
            for waiter, outcome in zip(waiters, outcomes, strict=True):
                if not waiter.done():
                    waiter.set_result(outcome)

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, {}
        _tell([waiter for _, waiter in waiting.values()], error)


def _tell(waiters: Sequence["asyncio.Future[Any]"], error: Exception) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


def _check_people(requests: Sequence[Request]) -> None:
    """Each was made of what the vault has of its person now: a second one cannot rest on what the first one changes."""
    sealed = [each.seals.person_id for each in requests if each.seals is not None]
    people = sealed + [each.erases for each in requests if each.erases is not None]
    if len(set(people)) < len(people):
        raise Problem(ONE_PERSON_TWICE)
    if len({each.tenant_id for each in requests}) > 1:
        raise Problem(NOT_TOGETHER, "A command is done in another tenant than the others.")
