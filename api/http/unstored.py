"""Operations whose answers are never kept: they hold secrets, or do no more when they are repeated."""

from starlette.types import Receive, Scope

from api.http.addresses import networks
from api.http.call import Parts
from api.http.callers import caller_of
from api.http.dry_runs import not_possible, wants_dry_run
from api.http.edge import Exchange
from api.http.endpoints import Endpoint
from api.http.operations import Operation
from api.http.replies import Reply, json_reply
from api.http.validation import param_in
from domain.kernel.refusal import Refusal


class UnstoredEndpoint(Endpoint):
    """A request whose answer is never kept: to log in, to refresh, to end a session."""

    def __init__(self, operation: Operation, parts: Parts) -> None:
        super().__init__(operation, parts)
        self._trusted = networks(parts.settings.api.trusted_proxies)

    async def _reply(self, scope: Scope, exchange: Exchange, receive: Receive) -> Reply:
        call = self._call(scope, exchange)
        if wants_dry_run(exchange.headers):
            raise not_possible()
        call.caller = caller_of(scope, self._trusted)
        body, sent = await self.body_of(call, receive)
        call.sent = sent
        try:
            answer = await self._operation.handler(call, body)
        except Refusal as refusal:
            where = param_in(refusal, sent=sent, named=type(body).model_fields.keys(), path=call.path)
            raise refusal.at(where) from None
        return answer if isinstance(answer, Reply) else json_reply(self._operation.status, answer)
