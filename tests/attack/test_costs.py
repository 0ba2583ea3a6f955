"""No request keeps the process from others: what is done for one grows with its length, and its length is bounded."""

import asyncio
import json

import pytest

from testing.growth import RATIO_MAX, TIMES
from tests.attack.target import Target

SHORT_CHARS = 800


def hostile_query(motif: str, chars: int) -> str:
    return "a=" + (motif * chars)[:chars]


@pytest.mark.parametrize("motif", ["1-", "4-", "4.4/", "a=1&", "%34", "%c2%a04", "+4", "[", "%"])
@pytest.mark.parametrize("path", ["/health/live", "/v1/customers"])
async def test_a_query_costs_the_process_its_length(target: Target, path: str, motif: str) -> None:
    """CPU time that the process itself counted, for queries of one length and of eight times that length."""

    async def cost(chars: int) -> float:
        before = target.process.cpu_s
        await asyncio.gather(*(target.send("GET", f"{path}?{hostile_query(motif, chars)}") for _ in range(20)))
        return target.process.cpu_s - before

    short = await cost(SHORT_CHARS)
    assert await cost(SHORT_CHARS * TIMES) <= RATIO_MAX * max(short, 0.02)


async def test_a_path_and_query_have_a_length_that_is_not_exceeded(target: Target) -> None:
    for path in ("/health?" + hostile_query("1-", 20_000), "/v1/customers/" + "1-" * 10_000):
        answer = await target.send("GET", path)
        assert (answer.status, answer.code) == (414, "uri_too_long"), answer


@pytest.mark.parametrize("motif", ["1-", "4-", "4 4-", "4242 4242-", "\u200b4", "3.6 "])
async def test_a_body_costs_the_process_its_length(target: Target, motif: str) -> None:
    async def cost(chars: int) -> float:
        before = target.process.cpu_s
        for _ in range(3):
            body = json.dumps({"name": (motif * chars)[:chars]}, ensure_ascii=False).encode()
            assert (await target.send("POST", "/v1/products", body)).status == 422
        return target.process.cpu_s - before

    short = await cost(8_000)
    assert await cost(8_000 * TIMES) <= RATIO_MAX * max(short, 0.02)
