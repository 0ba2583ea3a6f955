"""A resource says its facts once: what it is folded from, where it is kept, how it is shown, what it is found by.

From these come its GET and its list, its place in other resources' `expand[]`, the id in its paths, and what its
commands have in common. A fact that does not fit the others fails when the module is loaded.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, cast

from pydantic import BaseModel, Field, create_model

from api.http.call import Call
from api.http.changes import Change
from api.http.fields import Body
from api.http.listing import CreatedParameters, ListResource, Parameters, list_example, page_request, page_resource
from api.http.operations import Intention, Operation, Operations, QueryHandler
from api.http.problems import ProblemType
from domain.commands import ChangeMetadata
from domain.identity.permissions import Permission
from domain.kernel.metadata import TooManyMetadataKeys
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Stream, Streams
from domain.kernel.unchanged import Unchanged
from projections.current import current, current_part
from projections.models import test_clocks
from projections.read_model import ReadModel
from projections.reading import Condition, Reader, many, page

State = TypeVar("State")
B = TypeVar("B", bound=Body)

EXPANSIONS_MAX = 10
NO_BODY_EXAMPLE: Mapping[str, object] = MappingProxyType({})
KEPT_EXAMPLE: Mapping[str, object] = MappingProxyType({"metadata": {"order": "4711"}})

Declared = Callable[[Call, B], Awaitable[Intention]]


class Detail(NamedTuple):
    """What a resource asked for by its id shows more than it shows in a list; `show` makes it of its row."""

    shows: Any
    show: Callable[[Call, Reader, Any], Awaitable[Any]]
    example: Mapping[str, object]


class Part(NamedTuple):
    """What lives in another's stream under an id of its own, as a refund does in its payment's.

    A claim of the kind `claim` leads from its id to the stream.
    """

    name: str
    claim: str
    not_found: type[Refusal]


class Narrowing(NamedTuple):
    """Filters of a list that are no columns: `parameters` declares them, `conditions` says what they come to."""

    parameters: type[CreatedParameters]
    conditions: Callable[[Call, Any], Awaitable[Sequence[Condition]]]


@dataclass(slots=True, kw_only=True)
class Resource(Operations, Generic[State]):
    """One resource, and its operations in the order: commands, GET, list.

    `render` shows a state; `show` shows rows where that needs more than their states. A `part` of the stream has an id
    and a row of its own, and its commands render what they answer. `filters` holds the list's parameters: each names a
    column of the table, with or without its `_id`, but for those of `narrowing`. `expands` names the fields that can be
    opened into the resource they are an id of.
    """

    stream: Stream[State]
    table: ReadModel[Any]
    path: str
    prefix: str
    shows: Any
    render: Callable[[State], object] | None = None
    example: Mapping[str, object]
    part: Part | None = None
    plural: str = ""
    filters: type[CreatedParameters] = CreatedParameters
    narrowing: Narrowing | None = None
    expands: Mapping[str, "Resource[Any]"] = field(default_factory=dict)
    show: Callable[[Call, Reader, Sequence[Any]], Awaitable[list[Any]]] | None = None
    detail: Detail | None = None
    commands: int = 0

    def __post_init__(self) -> None:
        if self.stream.not_found is None:
            raise TypeError(f"no refusal says that there is no such {self.stream.name}")
        if self.render is None and self.show is None:
            raise TypeError(f"nothing says how a {self.name} is shown")
        columns = {column.name for column in self.table.columns}
        self._columns(columns)
        self.path_ids = {self.path_id: self.prefix}
        for name in self.expands:
            if name not in self.example:
                raise TypeError(f"{self.name} has no field {name} to open")
        self.declared += [self._get(), self._list()]

    @property
    def name(self) -> str:
        """As in `object`, and as commands name it."""
        return self.part.name if self.part else self.stream.name

    @property
    def not_found(self) -> type[Refusal]:
        """What is told of an id that names nothing."""
        return self.part.not_found if self.part else cast("type[Refusal]", self.stream.not_found)

    @property
    def path_id(self) -> str:
        """The name of the id in its paths."""
        return f"{self.name}_id"

    @property
    def path_of_one(self) -> str:
        """The path of one of them."""
        return f"{self.path}/{{{self.path_id}}}"

    def id_of(self, call: Call) -> str:
        """The id in the path. What is no id at all names nothing."""
        return call.id(self.path_id, self.prefix, self.not_found)

    def decided(self, streams: Streams, resource_id: str) -> object:
        """The whole resource from the states as decided."""
        assert self.render is not None, "commands on it answer what it renders"
        return self.render(self.stream.of(streams, resource_id))

    def created(self, resource_id: str, command: Command) -> Intention:
        """The intention that makes it; the answer says where it is."""
        return self.changed(resource_id, command)._replace(location=f"{self.path}/{resource_id}")

    def changed(self, resource_id: str, command: Command) -> Intention:
        """The intention that changes it; the answer shows it whole."""
        return Intention(command=command, render=lambda streams: self.decided(streams, resource_id))

    def patched(self, resource_id: str, body: Change, command: Command | None = None) -> Intention:
        """The intention of a PATCH: the command, which is what it changes besides the metadata, and they with it.

        A body that names nothing but metadata asks for no more, and so is welcome in every state of the resource.
        """
        if command is not None and isinstance(body.metadata, Unchanged):
            return self.changed(resource_id, command)
        change = ChangeMetadata(
            stream=self.stream,
            stream_id=resource_id,
            change=body.metadata_change,
            along_with=None if body.changes_only_metadata else command,
        )
        return self.changed(resource_id, change)

    def changes_metadata(self, *, needs: Permission | None = None) -> None:
        """Declare the PATCH of a resource that has nothing else to change by one."""

        async def update(call: Call, body: Change) -> Intention:
            resource_id = self.id_of(call)
            return self.patched(resource_id, body)

        update.__name__ = f"update_{self.name}"
        update.__doc__ = f"""Change the metadata of {_article(self.name)} {self.name.replace("_", " ")}.

        Keys that the body does not name stay as they are; null takes one away. Nothing else of it is changed so.
        """
        self.changes("PATCH", body=Change, body_example=KEPT_EXAMPLE, example=KEPT_EXAMPLE, needs=needs)(update)

    def creates(
        self,
        *,
        body: type[B],
        body_example: object,
        refusals: Sequence[type[Refusal]] = (),
        problems: Sequence[ProblemType] = (),
        needs: Permission | None = None,
    ) -> Callable[[Declared[B]], Declared[B]]:
        """Declare the POST that makes one."""
        return self.command(
            "POST",
            self.path,
            body=body,
            body_example=body_example,
            answers=self.shows,
            example=self.example,
            status=201,
            refusals=refusals,
            problems=problems,
            needs=needs,
        )

    def changes(
        self,
        method: str,
        action: str = "",
        *,
        body: type[B],
        body_example: object = NO_BODY_EXAMPLE,
        example: Mapping[str, object] = NO_BODY_EXAMPLE,
        refusals: Sequence[type[Refusal]] = (),
        problems: Sequence[ProblemType] = (),
        needs: Permission | None = None,
    ) -> Callable[[Declared[B]], Declared[B]]:
        """Declare a command on one: PATCH, DELETE, or a POST that names an action; `example` is what it shows then."""
        return self.command(
            method,
            self.path_of_one + (f"/{action}" if action else ""),
            body=body,
            body_example=dict(cast("Mapping[str, object]", body_example)),
            answers=self.shows,
            example={**self.example, **example},
            refusals=(self.not_found, *refusals, *((TooManyMetadataKeys,) if method == "PATCH" else ())),
            problems=problems,
            needs=needs,
        )

    def declare(self, operation: Operation) -> None:
        """Commands stand before the two queries."""
        if operation.is_command:
            self.declared.insert(self.commands, operation)
            self.commands += 1
        else:
            self.declared.append(operation)

    def check_expansions(self, call: Call, asked: BaseModel) -> None:
        """What is opened is seen, so it needs the permission to see it, too."""
        for name in getattr(asked, "expand", ()):
            needed = self.expands[name].seen_with
            assert needed is not None, "a resource says what it is seen with"
            call.need(needed, param="expand[]")

    async def shown(self, call: Call, connection: Reader, rows: Sequence[Any]) -> list[Any]:
        """Rows as they are answered."""
        if self.show is not None:
            return await self.show(call, connection, rows)
        assert self.render is not None, "one of the two is given"
        return [self.render(row.state) for row in rows]

    async def by_id(self, call: Call, connection: Reader, ids: Sequence[str]) -> Mapping[str, object]:
        """Those with these ids, as they are answered, by id."""
        rows = await many(connection, self.table, call.tenant_id, ids)
        return {resource["id"]: resource for resource in await self.shown(call, connection, rows)}

    async def row(self, call: Call, connection: Reader, resource_id: str) -> Any:
        """The row of one, as new as the log. Raises the resource's own `not_found`."""
        if self.part is None:
            found = await current(connection, self.table, self.stream, call.tenant_id, resource_id)
        else:
            claim = self.part.claim
            found = await current_part(connection, self.table, self.stream, call.tenant_id, resource_id, claim=claim)
        if found is None:
            raise self.not_found(**{self.name: resource_id})
        return found

    def _get(self) -> Operation:
        parameters = self._with_expansion("Expansion", Parameters)
        detail = self.detail

        async def get(call: Call, asked: BaseModel) -> object:
            wanted = self.id_of(call)
            self.check_expansions(call, asked)
            async with call.reading() as connection:
                row = await self.row(call, connection, wanted)
                if detail is None:
                    (resource,) = await self.shown(call, connection, [row])
                else:
                    resource = await detail.show(call, connection, row)
                await expand(call, connection, [resource], asked, self.expands)
            return resource

        return Operation(
            tag=self.tag,
            method="GET",
            path=self.path_of_one,
            name=f"get_{self.name}",
            summary=f"Get {_article(self.name)} {self.name.replace('_', ' ')}",
            about="",
            answers=detail.shows if detail else self.shows,
            example=detail.example if detail else self.example,
            parameters=parameters,
            refusals=(self.not_found,),
            handler=cast("QueryHandler", get),
            needs=self.seen_with,
            reads=(self.table.projection,),
        )

    def _list(self) -> Operation:
        parameters = self._with_expansion("Filters", self.filters)
        columns = self._columns({column.name for column in self.table.columns})
        lives_on_clocks = test_clocks.COLUMN in columns.values()
        projections = (
            (self.table.projection, test_clocks.TABLE.projection) if lives_on_clocks else (self.table.projection,)
        )

        own = self.table.customer_column

        async def get_list(call: Call, asked: CreatedParameters) -> object:
            request = page_request(call, asked)
            self.check_expansions(call, asked)
            where = {column: getattr(asked, name) for name, column in columns.items()}
            if own is not None and where.get(own) is None:
                # Row security shows a customer no others; naming them finds their rows by an index.
                where[own] = call.principal.customer_id
            # What was on a test clock that is deleted is shown to who asks for that clock.
            hides = lives_on_clocks and where[test_clocks.COLUMN] is None
            also = () if self.narrowing is None else await self.narrowing.conditions(call, asked)
            async with call.reading() as connection:
                found = await page(
                    connection,
                    self.table,
                    call.tenant_id,
                    where=where,
                    created=asked.created,
                    request=request,
                    also=also,
                    unless=test_clocks.GONE if hides else None,
                )
                resources = await self.shown(call, connection, found.items)
                await expand(call, connection, resources, asked, self.expands)
            return page_resource(found, request, resources)

        plural = self.plural or f"{self.name}s"
        return Operation(
            tag=self.tag,
            method="GET",
            path=self.path,
            name=f"list_{plural}",
            summary=f"List {plural.replace('_', ' ')}, newest first",
            about="",
            answers=cast("Any", ListResource)[self.shows],
            example=list_example(self.example),
            parameters=parameters,
            handler=cast("QueryHandler", get_list),
            needs=self.seen_with,
            reads=tuple(dict.fromkeys(projections)),
        )

    def _columns(self, columns: set[str]) -> dict[str, str]:
        """The column of each filter."""
        found: dict[str, str] = {}
        others = CreatedParameters if self.narrowing is None else self.narrowing.parameters
        for name in self.filters.model_fields.keys() - others.model_fields.keys():
            column = name if name in columns else f"{name}_id"
            if column not in columns:
                raise TypeError(f"{self.table.name} has no column for the filter {name}")
            found[name] = column
        return found

    def _with_expansion(self, suffix: str, base: type[BaseModel]) -> type[BaseModel]:
        if not self.expands:
            return base
        choice: Any = Literal.__getitem__(tuple(self.expands))
        names: Any = Annotated[tuple[choice, ...], Field(alias="expand[]", max_length=EXPANSIONS_MAX)]
        title = f"{self.name.title().replace('_', '')}{suffix}"
        return create_model(title, __base__=base, __doc__=base.__doc__, expand=(names, ()))


async def expand(
    call: Call,
    connection: Reader,
    resources: Sequence[object],
    asked: BaseModel,
    expands: Mapping[str, Resource[Any]],
) -> None:
    """Put the resource in place of its id, for each field that is wanted; one query a field, whatever the length."""
    wanted: Sequence[str] = getattr(asked, "expand", ())
    for name in dict.fromkeys(wanted):
        holders = [cast("dict[str, object]", resource) for resource in resources]
        ids = {value for holder in holders if isinstance(value := holder[name], str)}
        if not ids:
            continue
        found = await expands[name].by_id(call, connection, sorted(ids))
        for holder in holders:
            value = holder[name]
            if isinstance(value, str) and value in found:
                holder[name] = found[value]


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" and not name.startswith(("us", "uni")) else "a"  # a usage alert, a user
