"""What the API can do, declared once: the route, its parsing and its OpenAPI entry all come from the same place.

A resource's file makes an `Operations`, and decorates one handler per operation. Command handlers turn a parsed body
into an `Intention`; query handlers return what is to be shown.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from api.http.call import Call
from api.http.fields import Body
from api.http.limits import USAGE, RateClass
from api.http.problems import ProblemType
from api.http.replies import Reply
from domain.identity.permissions import CAUTIONS, Caution, Permission, Scope, class_of
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Streams
from infra.event_store.port import Credential, SealedPerson
from infra.vault import PersonKey
from projections.read_model import Projection

B = TypeVar("B", bound=Body)
P = TypeVar("P", bound=BaseModel)
H = TypeVar("H", bound=Callable[..., object])


class Intention(NamedTuple):
    """What a request wants done. `render` gives the whole resource from the states as decided.

    `answer_key` seals the answer as it is stored, where it holds a person's data. `location` is the resource's path.
    `credentials` go beside the command. `shows_once` is put into the answer and not into what is stored of it: whoever
    repeats the request is not shown it again. `tenant_id` is where it is to be done, where that is not the tenant of
    whoever asks; `beforehand` keeps what is to be there once it is decided, and `afterwards` runs when it is recorded,
    not for a repeat. Neither runs in a dry run: whatever a handler does that stays belongs into one of them.
    """

    command: Command
    render: Callable[[Streams], object]
    location: str | None = None
    seals: SealedPerson | None = None
    erases: str | None = None
    answer_key: PersonKey | None = None
    credentials: tuple[Credential, ...] = ()
    shows_once: Mapping[str, object] | None = None
    tenant_id: str | None = None
    beforehand: Callable[[], Awaitable[None]] | None = None
    afterwards: Callable[[], None] | None = None


CommandHandler = Callable[[Call, Any], Awaitable[Intention]]


class OwnErrors(NamedTuple):
    """How an operation of a foreign protocol says no: 404 and 422 in that protocol's words."""

    media_type: str
    answers: Any
    example: object


class RawBody(NamedTuple):
    """A body that its operation reads itself, and what it holds, for the document."""

    takes: Mapping[str, tuple[Any, object]]
    """By type of content: its model, and an example."""
    headers: Mapping[str, str] = MappingProxyType({})
    """What else is said in headers, with what it means; the value is `true`."""
    is_usage: bool = False
    """Whether it counts against the rate of usage, and not against that of its permission."""


RawHandler = Callable[[Call, bytes, str], Awaitable[object]]
"""Of operations with a raw body: the call, the body, its type of content; what is shown. It stands in `handler`."""


QueryHandler = Callable[[Call, Any], Awaitable[object]]
"""Of queries and of unstored operations: what is shown, or a ready Reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `status` is that of success. Commands have a body, queries may have parameters.

    `needs` is the permission without which it is refused, before anything else is looked at; an open one needs neither
    that nor a key. `handler` takes the call and the parsed body (or parameters); a query may return a ready Reply.
    An unstored one has a body, and its answer is never kept: it holds secrets, or does no more when it is repeated.
    A bulk one has a body of commands, each of which says by itself what it needs. One with a raw body is no command of
    the log: a repeat does no more, and its answer is not kept.
    """

    tag: str
    method: str
    path: str
    name: str
    summary: str
    about: str
    answers: Any
    example: object
    status: int = 200
    body: type[Body] | None = None
    body_example: object = None
    parameters: type[BaseModel] | None = None
    refusals: tuple[type[Refusal], ...] = ()
    handler: CommandHandler | QueryHandler
    media_type: str = "application/json"
    further_media_types: tuple[str, ...] = ()
    needs: Permission | None = None
    is_open: bool = False
    is_unstored: bool = False
    is_bulk: bool = False
    raw: RawBody | None = None
    asks_password: bool = False
    """Whether it wants the password though its permission alone would not."""
    problems: tuple[ProblemType, ...] = ()
    reads: tuple[Projection, ...] = ()
    own_errors: OwnErrors | None = None
    opaque: frozenset[str] = frozenset()
    """Names in the path that stand for other systems' ids."""

    def __post_init__(self) -> None:
        if (self.needs is None) is not (self.is_open or self.is_bulk):
            raise TypeError(f"{self.name} says either the permission that it needs, or that it is open")

    @property
    def is_command(self) -> bool:
        """Whether it is one command."""
        return self.body is not None and not self.is_unstored and not self.is_bulk

    @property
    def takes_key(self) -> bool:
        """Whether it is done once, and so needs an Idempotency-Key."""
        return self.is_command or self.is_bulk

    @property
    def wants_password(self) -> bool:
        """Whether a user must have entered their password a short while ago."""
        return self.asks_password or (self.needs is not None and Caution.PASSWORD in CAUTIONS.get(self.needs, ()))

    @property
    def rate_class(self) -> RateClass:
        """Against which of a principal's limits it counts."""
        if self.raw is not None and self.raw.is_usage:
            return USAGE
        if self.needs is not None:
            return class_of(self.needs)
        return Scope.READ if self.body is None else Scope.WRITE

    @property
    def is_query(self) -> bool:
        """Whether it only shows something."""
        return self.parameters is not None


@dataclass(slots=True, kw_only=True)
class Operations:
    """The operations of one resource, in the order of their declaration.

    `path_ids` says what the ids in their paths begin with, by the path parameter's name. `seen_with` is the permission
    that queries need, `changed_with` the one that commands do, where an operation does not name another.
    """

    tag: str
    about: str
    path_ids: Mapping[str, str] = field(default_factory=dict)
    seen_with: Permission | None = None
    changed_with: Permission | None = None
    declared: list[Operation] = field(default_factory=list)

    def declare(self, operation: Operation) -> None:
        """Add an operation, after those that are declared."""
        self.declared.append(operation)

    def command(
        self,
        method: str,
        path: str,
        *,
        body: type[B],
        answers: Any,
        example: object,
        body_example: object = None,
        status: int = 200,
        refusals: Sequence[type[Refusal]] = (),
        problems: Sequence[ProblemType] = (),
        needs: Permission | None = None,
    ) -> Callable[[Callable[[Call, B], Awaitable[Intention]]], Callable[[Call, B], Awaitable[Intention]]]:
        """Declare an operation that changes something. The handler's docstring is its documentation."""

        return self._declares(
            partial(
                Operation,
                method=method,
                path=path,
                answers=answers,
                example=example,
                status=status,
                body=body,
                body_example={} if body_example is None else body_example,
                refusals=tuple(refusals),
                problems=tuple(problems),
                needs=needs or self.changed_with,
            )
        )

    def query(
        self,
        path: str,
        *,
        answers: Any,
        example: object,
        parameters: type[P],
        refusals: Sequence[type[Refusal]] = (),
        problems: Sequence[ProblemType] = (),
        media_type: str = "application/json",
        needs: Permission | None = None,
        is_open: bool = False,
        reads: tuple[Projection, ...] = (),
        own_errors: OwnErrors | None = None,
        opaque: Sequence[str] = (),
    ) -> Callable[[Callable[[Call, P], Awaitable[object]]], Callable[[Call, P], Awaitable[object]]]:
        """Declare a GET. Open ones need no key; `reads` are the projections that Min-Ledger-Position waits for.

        `opaque` names parts of the path that are other systems' ids: they may look like card numbers.
        """

        return self._declares(
            partial(
                Operation,
                method="GET",
                path=path,
                answers=answers,
                example=example,
                parameters=parameters,
                refusals=tuple(refusals),
                problems=tuple(problems),
                media_type=media_type,
                needs=None if is_open else needs or self.seen_with,
                is_open=is_open,
                reads=reads,
                own_errors=own_errors,
                opaque=frozenset(opaque),
            )
        )

    def unstored(
        self,
        method: str,
        path: str,
        *,
        body: type[B],
        answers: Any,
        example: object,
        body_example: object = None,
        status: int = 200,
        refusals: Sequence[type[Refusal]] = (),
        problems: Sequence[ProblemType] = (),
        needs: Permission | None = None,
        is_open: bool = False,
        wants_password: bool = False,
    ) -> Callable[[Callable[[Call, B], Awaitable[object]]], Callable[[Call, B], Awaitable[object]]]:
        """Declare an operation whose answer is never kept, such as a log-in's. It takes no Idempotency-Key: either a
        repeat is another one, or what the body bears can be used once. `wants_password`: entered a short while ago.
        """

        return self._declares(
            partial(
                Operation,
                method=method,
                path=path,
                answers=answers,
                example=example,
                status=status,
                body=body,
                body_example={} if body_example is None else body_example,
                refusals=tuple(refusals),
                problems=tuple(problems),
                needs=None if is_open else needs or self.changed_with,
                is_open=is_open,
                is_unstored=True,
                asks_password=wants_password,
            )
        )

    def takes_raw(
        self,
        path: str,
        *,
        raw: RawBody,
        answers: Any,
        example: object,
        status: int,
        problems: Sequence[ProblemType] = (),
    ) -> Callable[[RawHandler], RawHandler]:
        """Declare a POST whose body its handler reads itself; the handler's docstring is its documentation."""

        return self._declares(
            partial(
                Operation,
                method="POST",
                path=path,
                answers=answers,
                example=example,
                status=status,
                raw=raw,
                problems=tuple(problems),
                needs=self.changed_with,
            )
        )

    def bulk(
        self,
        path: str,
        *,
        body: type[B],
        answers: Any,
        example: object,
        body_example: object,
        refusals: Sequence[type[Refusal]] = (),
        problems: Sequence[ProblemType] = (),
    ) -> Callable[[Callable[[], None]], Callable[[], None]]:
        """Declare a POST of commands, which the operations that they name do; the function is its documentation."""

        return self._declares(
            partial(
                Operation,
                method="POST",
                path=path,
                answers=answers,
                example=example,
                body=body,
                body_example=body_example,
                refusals=tuple(refusals),
                problems=tuple(problems),
                is_bulk=True,
            )
        )

    def _declares(self, stated: Callable[..., Operation]) -> Callable[[H], H]:
        """Declare by decoration what was stated; the handler gives its name, and its docstring the documentation."""

        def declare(handler: H) -> H:
            summary, about = _documentation(handler)
            self.declare(stated(tag=self.tag, name=handler.__name__, summary=summary, about=about, handler=handler))
            return handler

        return declare


def _documentation(handler: Callable[..., object]) -> tuple[str, str]:
    text = handler.__doc__
    if not text:
        raise TypeError(f"{handler.__name__} has no docstring; it is the operation's documentation")
    lines = [line.strip() for line in text.strip().splitlines()]
    return lines[0].rstrip("."), "\n".join(lines[1:]).strip()


__all__ = ["Intention", "Operation", "Operations", "OwnErrors", "Reply"]
