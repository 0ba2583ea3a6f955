"""Previews of invoices that would wait: for usage, of which they take what is counted so far, and for a tax that a
calculator outside computes, which is asked for them, too. Nothing is kept.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from api.http.call import Call
from api.http.problems import TAX_SERVICE_SILENT, Problem, retry_after
from api.http.rehearsals import foreseen
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.state import Invoice
from domain.invoicing.usage_request import CountedUsage
from domain.kernel.stream import Command, Streams
from domain.tax.remote import TaxAnswer, TaxAnswerUnfit, TaxQuestion
from gateway_adapters.tax.port import Calculated, NoAnswer
from usage.foreseen import foreseen as closings_foreseen
from usage.invoiced import awaited, counted, wanted_of

Shown = TypeVar("Shown")


Usage: TypeAlias = tuple[CountedUsage, ...]


async def foreseen_invoice(
    call: Call,
    command_with: Callable[[Usage, TaxAnswer | None], Command],
    invoice_of: Callable[[Streams], Invoice],
    render: Callable[[Streams], Shown],
) -> Shown:
    """What `render` makes of the states as the command would leave them. Where the invoice would wait for usage or for
    its tax, the command is rehearsed once more with what is counted so far, and with what is answered.

    Raises the command's refusals, and the 503 of a service that gives no answer in time, or none that can be taken.
    """

    def waiting(streams: Streams) -> tuple[Invoice, Shown]:
        return invoice_of(streams), render(streams)

    usage, invoice, shown = await _with_usage(call, lambda usage: command_with(usage, None), waiting)
    if invoice.awaited_tax is None:
        return shown
    answer = await _answer(call, question_of(invoice))
    try:
        _, taxed = await foreseen(call, command_with(usage, answer), waiting)
    except TaxAnswerUnfit:
        raise _silent(call) from None
    return taxed


async def foreseen_with_usage(
    call: Call,
    command_with: Callable[[Usage], Command],
    invoice_of: Callable[[Streams], Invoice],
    render: Callable[[Streams], Shown],
) -> Shown:
    """The same without any tax that is computed outside."""
    _, _, shown = await _with_usage(call, command_with, lambda streams: (invoice_of(streams), render(streams)))
    return shown


async def _with_usage(
    call: Call, command_with: Callable[[Usage], Command], waiting: Callable[[Streams], tuple[Invoice, Shown]]
) -> tuple[Usage, Invoice, Shown]:
    invoice, shown = await foreseen(call, command_with(()), waiting)
    if not invoice.lacks_usage:
        return (), invoice, shown
    usage = await _counted_so_far(call, invoice)
    invoice, shown = await foreseen(call, command_with(usage), waiting)
    return usage, invoice, shown


async def _counted_so_far(call: Call, invoice: Invoice) -> Usage:
    """What closing its periods would say now."""
    lines = awaited(invoice)
    wanted = [wanted_of(call.tenant_id, invoice.customer_id, invoice.invoice_id, line) for line in lines]
    async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
        closed = await closings_foreseen(connection, wanted, partitions=call.parts.settings.usage.partitions)
    return tuple(counted(line, each) for line, each in zip(lines, closed, strict=True))


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
