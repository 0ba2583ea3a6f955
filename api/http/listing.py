"""Lists and expansions: the parameters every list takes, pages as they are answered, and ids opened into resources."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import Instant
from api.http.problems import FieldError, invalid
from api.http.validation import form
from projections.reading import Between, Page, PageRequest

T = TypeVar("T")
Row = TypeVar("Row")

LIST_MAX_ITEMS: Final = 100
_LIMIT: Final = re.compile(r"[0-9]{1,3}")


def _limit(value: object) -> int:
    if not isinstance(value, str) or not _LIMIT.fullmatch(value) or not 1 <= int(value) <= LIST_MAX_ITEMS:
        raise PydanticCustomError("invalid_limit", "Must be a whole number from 1 to 100")
    return int(value)


Cursor = Annotated[str, form(r"^[A-Za-z0-9_:./-]{1,128}$", "Must be an id of this list"), OpaqueId()]
Limit = Annotated[
    int,
    PlainValidator(_limit),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LIST_MAX_ITEMS, "default": 20}),
]


class Parameters(BaseModel):
    """Query parameters: texts, parsed by their fields; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NoParameters(Parameters):
    """A query without parameters."""


class PageParameters(Parameters):
    """Which part of a list: newest first, from the start or from an id on."""

    limit: Limit | None = None
    starting_after: Annotated[Cursor | None, Field(description="Only what follows this id: the next page.")] = None
    ending_before: Annotated[Cursor | None, Field(description="Only what precedes this id: the page before.")] = None


class CreatedParameters(PageParameters):
    """A list that can be narrowed to a range of creation times."""

    created_gte: Annotated[Instant | None, Field(alias="created[gte]")] = None
    created_gt: Annotated[Instant | None, Field(alias="created[gt]")] = None
    created_lte: Annotated[Instant | None, Field(alias="created[lte]")] = None
    created_lt: Annotated[Instant | None, Field(alias="created[lt]")] = None

    @property
    def created(self) -> Between:
        """The range."""
        return between(self.created_gte, self.created_gt, self.created_lte, self.created_lt)


def between(gte: datetime | None, gt: datetime | None, lte: datetime | None, lt: datetime | None) -> Between:
    """A range of times; None leaves an end open."""
    return Between(gte=gte, gt=gt, lte=lte, lt=lt)


def page_limit(call: Call, asked: int | None) -> int:
    """How many items a page has, of which so many were asked for."""
    api = call.parts.settings.api
    return api.page_default_items if asked is None else min(asked, api.page_max_items)


def page_request(call: Call, asked: PageParameters) -> PageRequest:
    """The page that is asked for."""
    if asked.starting_after is not None and asked.ending_before is not None:
        message = "Either starting_after or ending_before, not both"
        raise invalid([FieldError("ending_before", "ambiguous_page", message)])
    limit = page_limit(call, asked.limit)
    return PageRequest(limit=limit, starting_after=asked.starting_after, ending_before=asked.ending_before)


class ListResource(TypedDict, Generic[T]):
    """A page of a list. `next_cursor` is the id to go on from, in the direction that was asked for."""

    object: Literal["list"]
    data: list[T]
    has_more: bool
    next_cursor: str | None


def list_resource(data: list[T], *, has_more: bool, next_cursor: str | None) -> ListResource[T]:
    """A page as it is answered."""
    return {"object": "list", "data": data, "has_more": has_more, "next_cursor": next_cursor if has_more else None}


def page_resource(page: Page[Row], request: PageRequest, data: list[T]) -> ListResource[T]:
    """A page of resources with an id each."""
    last: Any = None
    if data:
        last = cast("dict[str, Any]", data[0 if request.ending_before is not None else -1])["id"]
    return list_resource(data, has_more=page.has_more, next_cursor=last)


def list_example(example: object) -> dict[str, object]:
    """The example of a list, from one of its resource."""
    return {"object": "list", "data": [example], "has_more": False, "next_cursor": None}
