"""Due work that has a gateway forget a payment method that was detached, so that it can never charge it again."""

from collections.abc import Mapping
from typing import Final

from domain.customers.payment_method import PAYMENT_METHOD, RecordPaymentMethodForgotten
from gateway_adapters.port import Gateway, MethodDeleted, OutcomeUnknown, RetryLater
from infra.event_store.port import Work, Writer
from infra.payment_tokens import PaymentTokens
from processors.issue import issue_for_work
from processors.outcome import AskAgain, Hold, Unwanted, WorkOutcome
from processors.states import StateReader

ACTOR: Final = "method-deletions"


class MethodDeletions:
    """Runs PAYMENT_METHOD_DELETION. To delete twice is to delete once, so a run that dies is simply run again."""

    def __init__(
        self, writer: Writer, states: StateReader, gateways: Mapping[str, Gateway], tokens: PaymentTokens
    ) -> None:
        self._writer = writer
        self._states = states
        self._gateways = gateways
        self._tokens = tokens

    async def delete(self, work: Work) -> WorkOutcome:
        """Ask until the gateway says that the method is gone."""
        method = await self._states.read(PAYMENT_METHOD, work.tenant_id, work.subject)
        if method is None or method.detached_at is None:
            return Unwanted()
        gateway = self._gateways.get(method.gateway)
        if gateway is None:
            return Hold(f"no adapter for gateway {method.gateway!r} is configured")
        token = await self._tokens.token(work.tenant_id, method.customer_id, method.token_reference)
        if token is None:
            return Unwanted()  # its customer was erased, and with them what the gateway calls it
        match await gateway.delete_payment_method(token):
            case MethodDeleted():
                command = RecordPaymentMethodForgotten(payment_method_id=method.payment_method_id)
                key = f"method-deletion:{method.payment_method_id}"
                return await issue_for_work(self._writer, command, work, key=key, actor=ACTOR)
            case RetryLater(after_ms=pause_ms, why=why):
                return AskAgain(pause_ms, why)
            case OutcomeUnknown(why=why):
                return AskAgain(None, why)
