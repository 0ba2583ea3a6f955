"""Commands as ASGI applications: a request that changes something is done once, and its answer rendered and kept."""

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, cast

from pydantic_core import from_json, to_json
from starlette.types import Receive, Scope

from api.http import metrics
from api.http.call import Call
from api.http.dry_runs import dry_run_reply, wants_dry_run
from api.http.edge import Exchange
from api.http.endpoints import Endpoint
from api.http.fields import Body
from api.http.masking import masked_reply
from api.http.operations import CommandHandler, Intention
from api.http.principal import Principal
from api.http.problems import (
    BUSY,
    ERASED,
    KEY_REUSED,
    PARTLY_DONE,
    Problem,
    refusal_reply,
    retry_after,
)
from api.http.rehearsals import NO_HASH, NO_KEY, rehearsed
from api.http.replies import (
    MARK_BYTES,
    PLATFORM_NAMESPACE,
    REPLAYED,
    Header,
    Reply,
    from_stored,
    json_reply,
    to_stored,
)
from api.http.submitting import canonical_request, idempotency_key, in_flight, submitted
from api.http.validation import param_in
from domain.commands import AsCustomer, WithinLimits
from domain.customers.customer import CustomerNotFound
from domain.identity.permissions import CAUTIONS, Caution
from domain.kernel.personal_reference import PersonalDataMoved
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from infra.event_store.port import (
    Answer,
    Decided,
    Outcome,
    Request,
)
from infra.event_store.storage import PersonKeyMismatch

ParamOf = Callable[[Refusal], str | None]
_KNOWN: Final = """
SELECT request_hash, answer, answer_person_id, position FROM log.command_results
WHERE tenant_id = $1 AND idempotency_key = $2 AND answer IS NOT NULL
"""
_SAYS_ALL: Final = frozenset({BUSY, KEY_REUSED, PARTLY_DONE})
"""Problems behind which nobody looks for an answer: too many ask, or the log was asked."""
PERSON_TRIES: Final = 30
"""Times a command is made anew because another changed what the vault has of its person meanwhile."""


class CommandEndpoint(Endpoint):
    """A request that changes something, once for its Idempotency-Key."""

    async def _reply(self, scope: Scope, exchange: Exchange, receive: Receive) -> Reply:
        call = self._call(scope, exchange)
        call.is_dry_run = wants_dry_run(exchange.headers)
        key = NO_KEY if call.is_dry_run else idempotency_key(exchange.headers)
        body, value = await self.body_of(call, receive)
        for name, permission in body.reserved.items():
            if name in body.model_fields_set:
                call.need(permission, param=name)
        if call.is_dry_run:
            return await _with_its_person(lambda: self._try(call, body, value))
        request_hash = self._parts.vault.request_hash(
            canonical_request(scope["method"], scope["path"], call.tenant_id, value)
        )
        with in_flight(self._parts.in_flight, call.tenant_id, call.stored_key(key)):
            return await _with_its_person(lambda: self._execute(call, key, request_hash, body, value))

    def _bounded(self, principal: Principal, command: Command) -> Command:
        """What is asked for alone is within the tenant's limits; a customer's command finds nothing but their own."""
        if self._needs is not None and Caution.SECOND_PERSON in CAUTIONS[self._needs]:
            command = WithinLimits(tenant_id=principal.tenant_id, by=principal.id, command=command)
        if principal.customer_id is None:
            return command
        return AsCustomer(customer_id=principal.customer_id, plan_ids=principal.plan_ids, command=command)

    async def _intention(self, call: Call, body: Body, param_of: ParamOf) -> Intention:
        try:
            if call.principal.customer_id is not None:
                _check_own(body, call.principal.customer_id)
            return await cast("CommandHandler", self._operation.handler)(call, body)
        except Refusal as refusal:
            raise refusal.at(param_of(refusal)) from None

    def _param_of(self, call: Call, body: Body, sent: object) -> ParamOf:
        return partial(param_in, sent=sent, named=type(body).model_fields.keys(), path=call.path)

    def _request(
        self, call: Call, key: str, request_hash: bytes, intention: Intention, rendered: "Rendered"
    ) -> Request:
        tenant_id, actor, stored_key = call.tenant_id, call.actor, call.stored_key(key)
        if intention.tenant_id is not None and intention.tenant_id != tenant_id:
            # Their keys and the tenant's own never meet, and the tenant's log says who acted there.
            tenant_id, stored_key = intention.tenant_id, f"{PLATFORM_NAMESPACE}{call.principal.id}/{key}"
            actor = f"{call.principal.kind}:{call.principal.id} for {tenant_id}"
        return Request(
            tenant_id=tenant_id,
            idempotency_key=stored_key,
            request_hash=request_hash,
            command=self._bounded(call.principal, intention.command),
            actor=actor,
            correlation_id=call.request_id,
            seals=intention.seals,
            erases=intention.erases,
            credentials=intention.credentials,
            answer=rendered.answer,
        )

    async def _try(self, call: Call, body: Body, sent: object) -> Reply:
        """What the command would come to. What is shown once is not: it would be good for nothing."""
        param_of = self._param_of(call, body, sent)
        try:
            intention = await self._intention(call, body, param_of)
        except Refusal as refusal:
            return dry_run_reply(refusal_reply(refusal, call.request_id, param=refusal.param), (), call.principal)
        unkept = intention._replace(shows_once=None, answer_key=None)
        rendered = Rendered(call, NO_KEY, unkept, self._operation.status, param_of)
        come_to = await rehearsed(call, self._request(call, NO_KEY, NO_HASH, unkept, rendered))
        assert rendered.reply is not None, "what was decided was rendered"
        return dry_run_reply(rendered.reply, come_to.events, call.principal)

    async def _execute(self, call: Call, key: str, request_hash: bytes, body: Body, sent: object) -> Reply:
        """Do it. A repeat has the answer of what was done, also where what holds by now would keep it from the log."""
        try:
            return await self._done(call, key, request_hash, body, sent)
        except (Problem, Refusal) as error:
            known = await self._known(call, key, request_hash) if _may_be_known(error) else None
            if known is None:
                raise
            return known

    async def _known(self, call: Call, key: str, request_hash: bytes) -> Reply | None:
        """The answer that the log has for the key. Raises the 422 of a key that came with another request."""
        async with self._parts.reader.of(call.tenant_id) as connection:
            row = await connection.fetchrow(_KNOWN, call.tenant_id, call.stored_key(key))
            if row is None:
                return None
            if row["request_hash"] != request_hash:
                raise Problem(KEY_REUSED, param="Idempotency-Key")
            answer = Answer(row["answer"], row["answer_person_id"])
            stored = await self._parts.vault.open_answer(connection, call.tenant_id, key, answer)
        if stored is None:
            raise Problem(ERASED)
        return _shown_to(call.principal, _replayed(from_stored(stored).reply), row["position"])

    async def _done(self, call: Call, key: str, request_hash: bytes, body: Body, sent: object) -> Reply:
        param_of = self._param_of(call, body, sent)
        intention = await self._intention(call, body, param_of)
        if intention.beforehand is not None:
            await intention.beforehand()
        rendered = Rendered(call, key, intention, self._operation.status, param_of)
        outcome = await submitted(call, self._request(call, key, request_hash, intention, rendered))
        reply = rendered.reply
        if reply is None or outcome.answer != rendered.stored:
            # Recorded by another request; or by this one, on a connection that broke, and rendered again since.
            reply = await self._recorded(call, key, outcome, rendered)
        else:
            rendered.was_recorded()
        return _shown_to(call.principal, reply, outcome.position)

    async def _recorded(self, call: Call, key: str, outcome: Outcome, rendered: "Rendered") -> Reply:
        assert outcome.answer is not None, "commands of the API are stored with their answers"
        async with call.reading() as connection:
            stored = await self._parts.vault.open_answer(connection, call.tenant_id, key, outcome.answer)
        if stored is None:
            raise Problem(ERASED)
        found = from_stored(stored)
        if found.mark == rendered.mark:
            rendered.was_recorded()
            return rendered.shown(found.reply)
        return _replayed(found.reply)


def _may_be_known(error: Problem | Refusal) -> bool:
    """Whether what was not done now may have been done before. Whoever may not ask is shown no answer either."""
    return isinstance(error, Refusal) or (error.kind.status not in {401, 403} and error.kind not in _SAYS_ALL)


def _replayed(reply: Reply) -> Reply:
    metrics.REPLAYED.inc()
    return reply._replace(headers=(*reply.headers, REPLAYED))


def _shown_to(principal: Principal, reply: Reply, position: int) -> Reply:
    """With where the log had come to; without personal data for whoever may not see them."""
    if principal.masked:
        reply = masked_reply(reply)
    told: Header = (b"ledger-position", str(position).encode())
    return reply._replace(headers=(*reply.headers, told))


async def _with_its_person(do: Callable[[], Awaitable[Reply]]) -> Reply:
    """Do it, and anew where another changed what the vault has of its person meanwhile."""
    for _ in range(PERSON_TRIES):
        with contextlib.suppress(PersonKeyMismatch, PersonalDataMoved):
            return await do()
    raise Problem(BUSY, headers=retry_after(1))


def _check_own(body: Body, customer_id: str) -> None:
    """Another customer is not there, before anything is done for them: a gateway may be asked to keep a method."""
    named = getattr(body, "customer", None)
    if named is not None and named != customer_id:
        raise CustomerNotFound(customer=named)


class Rendered:
    """Renders the answer right after the decision, in the writer's turn; a decision made again is rendered again."""

    __slots__ = ("_call", "_intention", "_key", "_param_of", "_status", "mark", "reply", "stored")

    def __init__(self, call: Call, key: str, intention: Intention, status: int, param_of: ParamOf) -> None:
        self._call = call
        self._key = key
        self._intention = intention
        self._status = status
        self._param_of = param_of
        self.mark = secrets.token_bytes(MARK_BYTES)
        self.reply: Reply | None = None
        self.stored: Answer | None = None

    def answer(self, decided: Decided) -> Answer:
        """The bytes to store."""
        self.stored = self._answer(decided)
        return self.stored

    def was_recorded(self) -> None:
        """What is to be done once the command is in the log, by this request and not by a repeat."""
        if self._intention.afterwards is not None and self.reply is not None and self.reply.status == self._status:
            self._intention.afterwards()

    def shown(self, reply: Reply) -> Reply:
        """The answer of an accepted command as whoever made the request is shown it: with what is shown once."""
        once = self._intention.shows_once
        if once is None or reply.status != self._status:
            return reply
        return reply._replace(body=to_json({**from_json(reply.body), **once}))

    def _answer(self, decided: Decided) -> Answer:
        intention = self._intention
        if decided.refusal is not None:
            param = self._param_of(decided.refusal)
            self.reply = refusal_reply(decided.refusal, self._call.request_id, param=param)
            return Answer(to_stored(self.reply, self.mark))
        headers = () if intention.location is None else ((b"location", intention.location.encode()),)
        reply = json_reply(self._status, intention.render(decided.streams), headers)
        stored = to_stored(reply, self.mark)
        self.reply = self.shown(reply)
        if intention.answer_key is None:
            return Answer(stored)
        return self._call.parts.vault.seal_answer(intention.answer_key, self._key, stored)
