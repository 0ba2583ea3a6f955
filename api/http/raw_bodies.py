"""Operations that read their body themselves: what comes in masses is not taken apart twice."""

from typing import Final, cast

from starlette.types import Receive, Scope

from api.http.card_guard import refuse_card_numbers
from api.http.dry_runs import dry_run_reply, wants_dry_run
from api.http.edge import Exchange
from api.http.endpoints import Endpoint, read_body
from api.http.operations import RawHandler
from api.http.problems import UNSUPPORTED_TYPE, FieldError, Problem, invalid
from api.http.replies import Reply, json_reply

_NO_TYPE: Final = b""


class RawEndpoint(Endpoint):
    """A request whose body is its handler's to read, of one of the types of content that the operation takes."""

    async def _reply(self, scope: Scope, exchange: Exchange, receive: Receive) -> Reply:
        call = self._call(scope, exchange)
        operation = self._operation
        call.is_dry_run = wants_dry_run(exchange.headers)
        if call.query:
            refuse_card_numbers(call.query_pairs(), frozenset())
            raise invalid([FieldError("", "unexpected_query", "This operation takes no query parameters")])
        raw = await read_body(receive, call.headers, self._parts.settings.api.body_max_bytes)
        takes = operation.raw
        assert takes is not None, "it is declared with a raw body"
        media_type = call.headers.get(b"content-type", _NO_TYPE).partition(b";")[0].strip().lower().decode("latin-1")
        if media_type not in takes.takes:
            told = f"This takes {', '.join(takes.takes)}."
            raise Problem(UNSUPPORTED_TYPE, told, param="Content-Type")
        answer = await cast("RawHandler", operation.handler)(call, raw, media_type)
        reply = json_reply(operation.status, answer)
        return dry_run_reply(reply, (), call.principal) if call.is_dry_run else reply
