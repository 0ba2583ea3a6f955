"""What each operation is as an ASGI application: who may ask is asked, the body is read, every failure is answered."""

from collections.abc import Mapping
from typing import Final

from asyncpg import UndefinedColumnError, UndefinedTableError
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from api.http.call import Call, Parts
from api.http.card_guard import REFUSED_BODY_MAX_CHARS, opaque_names, refuse_card_numbers, refuse_card_numbers_in_body
from api.http.edge import EXCHANGE, ClientDisconnected, Exchange
from api.http.fields import Body
from api.http.json_bodies import read_json
from api.http.operations import Operation
from api.http.principal import NOBODY
from api.http.problems import (
    READ_MODEL_FILLING,
    TENANT_REQUIRED,
    TOO_LARGE,
    UNAUTHENTICATED,
    UNSUPPORTED_TYPE,
    FieldError,
    Problem,
    invalid,
    permission_denied,
    refusal_reply,
    retry_after,
    unavailable,
)
from api.http.replies import JSON, Reply
from api.http.validation import invalid_body
from domain.kernel.refusal import Refusal
from infra.database import CONNECTION_ERRORS

FILLING_RETRY_S: Final = 10


class Endpoint:
    """One operation of one process."""

    def __init__(self, operation: Operation, parts: Parts) -> None:
        self._operation = operation
        self._parts = parts
        self._needs = operation.needs
        self._class = operation.rate_class
        self._wants_password = operation.wants_password
        model = operation.body or operation.parameters
        self._opaque = opaque_names(model) if model is not None else frozenset[str]()
        self.body_fields = frozenset[str]() if operation.body is None else frozenset(operation.body.model_fields)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        exchange.route = self._operation.path
        try:
            if exchange.principal is not None:
                exchange.limit = await self._parts.limits.admit(exchange.principal, self._class)
            reply = await self._reply(scope, exchange, receive)
        except Problem as problem:
            exchange.code = problem.kind.code
            reply = problem.reply(exchange.request_id)
        except Refusal as refusal:
            reply = refusal_reply(refusal, exchange.request_id, param=refusal.param)
        except CONNECTION_ERRORS:
            reply = unavailable(is_command=self._operation.takes_key).reply(exchange.request_id)
        except (UndefinedTableError, UndefinedColumnError):
            # The workers of this release have yet to make the read model, or are filling it (docs/decisions/0025).
            reply = Problem(READ_MODEL_FILLING, headers=retry_after(FILLING_RETRY_S)).reply(exchange.request_id)
        if reply.rest is None:
            await reply.send(send)
        else:
            await reply.send_parts(receive, send, only_head=scope["method"] == "HEAD")

    async def _reply(self, scope: Scope, exchange: Exchange, receive: Receive) -> Reply:
        raise NotImplementedError

    def _call(self, scope: Scope, exchange: Exchange) -> Call:
        """The request, once it may be made at all: nothing of its key or its body was looked at before that."""
        principal = exchange.principal
        if principal is None:
            if not self._operation.is_open:
                raise Problem(UNAUTHENTICATED, param="Authorization", headers=[(b"www-authenticate", b"Bearer")])
            principal = NOBODY
        if self._needs is not None and self._needs not in principal.permissions:
            if not principal.tenant_id:
                raise Problem(TENANT_REQUIRED, param="X-Tenant-ID")
            raise permission_denied(self._needs)
        call = Call(
            self._parts,
            principal,
            exchange.request_id,
            exchange.headers,
            scope["path_params"],
            scope["query_string"],
            writer=exchange.writer,
        )
        if self._wants_password:
            call.check_confirmed(self._needs)
        refuse_card_numbers(tuple(scope["path_params"].items()), self._operation.opaque)
        return call

    async def body_of(self, call: Call, receive: Receive) -> tuple[Body, object]:
        """The body as parsed, and as it was sent."""
        raw = await read_body(receive, call.headers, self._parts.settings.api.body_max_bytes)
        if call.query:
            refuse_card_numbers(call.query_pairs(), frozenset())
            raise invalid([FieldError("", "unexpected_query", "This operation takes no query parameters")])
        if raw and not _is_json(call.headers):
            raise Problem(UNSUPPORTED_TYPE, param="Content-Type")
        model = self._operation.body
        assert model is not None, "what changes something has a body model"
        raw = raw or b"{}"
        value = read_json(raw)
        try:
            body = model.model_validate_json(raw)
        except ValidationError as error:
            refuse_card_numbers_in_body(raw, value, self._opaque, max_chars=REFUSED_BODY_MAX_CHARS)
            raise invalid_body(error, value, model) from None
        refuse_card_numbers_in_body(raw, value, self._opaque)
        return body, value


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int) -> bytes:
    """The whole body, up to the limit; what is announced to be longer is not read at all.

    Raises ClientDisconnected when the connection ends before the body does: what came of it says nothing of what was
    meant, and an empty beginning would pass for a request without a body.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> Problem:
    return Problem(TOO_LARGE, f"The limit is {max_bytes} bytes.", headers=[(b"connection", b"close")])


def _is_json(headers: Mapping[bytes, bytes]) -> bool:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type == JSON[1]
