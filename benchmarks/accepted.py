"""Commands that a benchmark rests on: nothing is measured that did not happen."""

import asyncio
from collections.abc import Iterable

from infra.event_store.port import Request, Writer


class BenchmarkRefused(Exception):
    """A command that was to be measured, or to prepare what is, was refused."""


async def accepted(writer: Writer, requests: Iterable[Request]) -> None:
    """Submit them side by side. Raises BenchmarkRefused where one is refused."""
    wanted = list(requests)
    outcomes = await asyncio.gather(*(writer.submit(request) for request in wanted))
    for request, outcome in zip(wanted, outcomes, strict=True):
        if outcome.refusal_code is not None:
            raise BenchmarkRefused(f"{outcome.refusal_code}: {request.command}")
