"""Rehearsing on a request's behalf: what a command would come to, and nothing of it kept."""

from collections.abc import Callable
from typing import TypeVar

from api.http.call import Call
from api.http.problems import DRY_RUNS_BUSY, Problem, retry_after, unavailable
from domain.commands import AsCustomer
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Streams
from infra.event_store.port import Answer, Decided, Rehearsed, Request, StoreUnavailable, TooManyRehearsals

Shown = TypeVar("Shown")

NO_KEY = ""
"""A rehearsal is not known again."""
NO_HASH = b""


async def rehearsed(call: Call, request: Request) -> Rehearsed:
    """What the request would come to. Raises the 503 of too many at once, and of no database."""
    try:
        return await call.writer.rehearse(request)
    except TooManyRehearsals as busy:
        raise Problem(DRY_RUNS_BUSY, headers=retry_after(busy.retry_after_ms // 1000)) from None
    except StoreUnavailable:
        raise unavailable(is_command=False) from None


async def foreseen(call: Call, command: Command, render: Callable[[Streams], Shown]) -> Shown:
    """What `render` makes of the states as the command would leave them, for an operation that answers with that alone.

    A customer's command finds nothing but their own. Raises the command's refusals.
    """
    customer_id = call.principal.customer_id
    if customer_id is not None:
        command = AsCustomer(customer_id=customer_id, plan_ids=call.principal.plan_ids, command=command)
    seen: list[Shown] = []
    refused: list[Refusal] = []

    def answer(decided: Decided) -> Answer:
        if decided.refusal is None:
            seen.append(render(decided.streams))
        else:
            refused.append(decided.refusal)
        return Answer(b"")

    request = Request(
        tenant_id=call.tenant_id,
        idempotency_key=NO_KEY,
        request_hash=NO_HASH,
        command=command,
        actor=call.actor,
        correlation_id=call.request_id,
        answer=answer,
    )
    if (await rehearsed(call, request)).refusal_code is not None:
        raise refused[-1]
    return seen[-1]
