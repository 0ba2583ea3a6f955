"""Queries as ASGI applications: the parameters are read, what is asked for is waited for, and shown."""

from collections.abc import Sequence
from typing import get_origin

from pydantic import ValidationError
from starlette.types import Receive, Scope

from api.http.call import Parts
from api.http.card_guard import refuse_card_numbers
from api.http.consistency import await_position
from api.http.edge import Exchange
from api.http.endpoints import Endpoint
from api.http.masking import masked
from api.http.operations import Operation
from api.http.problems import (
    FieldError,
    invalid,
)
from api.http.replies import (
    Reply,
    json_reply,
)
from api.http.validation import MAX_PARAM_CHARS, invalid_body, printable
from projections.reading import UnknownCursor


class QueryEndpoint(Endpoint):
    """A request that shows something."""

    def __init__(self, operation: Operation, parts: Parts) -> None:
        super().__init__(operation, parts)
        assert operation.parameters is not None, "a query has a model of its parameters"
        self._multiple = frozenset(
            field.alias or name
            for name, field in operation.parameters.model_fields.items()
            if get_origin(field.annotation) is tuple
        )

    async def _reply(self, scope: Scope, exchange: Exchange, receive: Receive) -> Reply:
        call = self._call(scope, exchange)
        operation = self._operation
        parameters = operation.parameters
        assert parameters is not None, "a query has a model of its parameters"
        try:
            pairs = call.query_pairs()
            refuse_card_numbers(pairs, self._opaque)
            sent = _parameters(pairs, self._multiple)
            asked = parameters.model_validate(sent)
        except ValidationError as error:
            raise invalid_body(error, sent, parameters) from None
        await await_position(
            self._parts.positions,
            exchange.headers,
            operation.reads,
            timeout_s=self._parts.settings.api.position_timeout_ms / 1000,
        )
        try:
            answer = await operation.handler(call, asked)
        except UnknownCursor:
            name = "starting_after" if "starting_after" in asked.model_fields_set else "ending_before"
            raise invalid([FieldError(name, "unknown_cursor", "Names nothing in this list")]) from None
        if isinstance(answer, Reply):
            return answer
        return json_reply(200, masked(answer) if call.principal.masked else answer)


def _parameters(pairs: Sequence[tuple[str, str]], multiple: frozenset[str]) -> dict[str, str | list[str]]:
    """The query string by name; only names in `multiple` may stand more than once, and are lists."""
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if name in multiple:
            values = found.setdefault(name, [])
            assert isinstance(values, list), "a name is multiple or it is not"
            values.append(value)
        elif name in found:
            raise invalid([FieldError(printable(name[:MAX_PARAM_CHARS]), "repeated", "May be given once")])
        else:
            found[name] = value
    return found
