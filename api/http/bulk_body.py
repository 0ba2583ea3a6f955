"""What `POST /v1/commands` takes and answers: commands, each with a key of its own, and what became of each."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.card_guard import OpaqueId
from api.http.fields import Body
from api.http.validation import form

COMMANDS_MAX: Final = 1_000

_PATH: Final = r"^/v1(/[A-Za-z0-9_-]{1,100}){1,6}$"


class BulkMode(StrEnum):
    """Whether each command is done by itself, or all are done or none."""

    EACH = "each"
    ALL = "all"


class BulkCommand(Body):
    """One command: what its own request would be. Its key is the same one that this request would have alone."""

    idempotency_key: Annotated[
        str, form("^[!-~]{1,255}$", "Must be 1 to 255 visible ASCII characters"), Field(examples=["import-4711"])
    ]
    method: Literal["POST", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, form(_PATH, "Must be a path such as /v1/customers"), Field(examples=["/v1/customers"])]
    body: dict[str, Any] = Field(default_factory=dict)


class Bulk(Body):
    """Commands. `each`: every one is done by itself, side by side, but those that name the same id in the order in
    which they stand. `all`: they are done in that order and in one commit, or none is.
    """

    mode: BulkMode = Field(default=BulkMode.EACH, strict=False)
    commands: Annotated[list[BulkCommand], OpaqueId(), Field(min_length=1, max_length=COMMANDS_MAX)]


class BulkAnswer(TypedDict):
    """What became of one command. `status`, `answer` and `position` are what it is answered alone; it may be tried
    again after `retry_after_s`. `answer` is null where the answers before it are too long together: its own request,
    repeated, has it.
    """

    object: Literal["bulk_answer"]
    idempotency_key: str
    status: int
    position: int | None
    retry_after_s: int | None
    answer: dict[str, Any] | None


class BulkAnswers(TypedDict):
    """What became of each command, in their order; `succeeded` and `failed` count them."""

    object: Literal["bulk"]
    mode: BulkMode
    succeeded: int
    failed: int
    data: list[BulkAnswer]
