"""Commands that a benchmark rests on: nothing is measured that did not happen."""

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Final

from domain.kernel.stream import Command
from infra.event_store.port import Request, Writer
from infra.ids import new_id

TENANT: Final = "bench"


class BenchmarkRefused(Exception):
    """A command that was to be measured, or to prepare what is, was refused."""


async def accepted(writer: Writer, requests: Iterable[Request]) -> None:
    """Submit them side by side. Raises BenchmarkRefused where one is refused."""
    wanted = list(requests)
    outcomes = await asyncio.gather(*(writer.submit(request) for request in wanted))
    for request, outcome in zip(wanted, outcomes, strict=True):
        if outcome.refusal_code is not None:
            raise BenchmarkRefused(f"{outcome.refusal_code}: {request.command}")


def request_of(command: Command) -> Request:
    """A request of the benchmark's tenant, under a key of its own."""
    key = new_id("bench_")
    return Request(
        tenant_id=TENANT,
        idempotency_key=key,
        request_hash=hashlib.sha256(key.encode()).digest(),
        command=command,
        actor="benchmark",
        correlation_id="benchmark",
    )
