"""Previews of invoices whose tax a calculator outside computes: it is asked for them, too, and nothing is kept."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import TypeVar

from api.http.call import Call
from api.http.problems import TAX_SERVICE_SILENT, Problem, retry_after
from api.http.rehearsals import foreseen
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.state import Invoice
from domain.kernel.stream import Command, Streams
from domain.tax.remote import TaxAnswer, TaxAnswerUnfit, TaxQuestion
from gateway_adapters.tax.port import Calculated, NoAnswer

Shown = TypeVar("Shown")


async def foreseen_with_tax(
    call: Call,
    command_with: Callable[[TaxAnswer | None], Command],
    invoice_of: Callable[[Streams], Invoice],
    render: Callable[[Streams], Shown],
) -> Shown:
    """What `render` makes of the states as the command would leave them. Where the invoice would wait for its tax, that
    is asked for, and the command is rehearsed once more with the answer.

    Raises the command's refusals, and the 503 of a service that gives no answer in time, or none that can be taken.
    """

    def waiting(streams: Streams) -> tuple[TaxQuestion | None, Shown]:
        invoice = invoice_of(streams)
        return None if invoice.awaited_tax is None else question_of(invoice), render(streams)

    question, shown = await foreseen(call, command_with(None), waiting)
    if question is None:
        return shown
    answer = await _answer(call, question)
    try:
        _, taxed = await foreseen(call, command_with(answer), waiting)
    except TaxAnswerUnfit:
        raise _silent(call) from None
    return taxed


async def _answer(call: Call, question: TaxQuestion) -> TaxAnswer:
    service, settings = call.parts.tax_service, call.parts.settings.tax_service
    if service is None:
        raise _silent(call)
    key = f"preview:{call.tenant_id}:{hashlib.sha256(repr(question).encode()).hexdigest()[:32]}"
    try:
        async with asyncio.timeout(settings.preview_timeout_ms / 1_000):
            result = await service.calculate(question, key=key)
    except TimeoutError:
        raise _silent(call) from None
    match result:
        case Calculated(answer=answer):
            return answer
        case NoAnswer():
            raise _silent(call)


def _silent(call: Call) -> Problem:
    pause_ms = call.parts.settings.tax_service.breaker_pause_ms
    return Problem(TAX_SERVICE_SILENT, headers=retry_after(max(1, pause_ms // 1_000)))
