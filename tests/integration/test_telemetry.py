"""Logs carry correlation ids and nothing secret or personal; health and metrics answer over HTTP."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import aiohttp
import pytest
import structlog
from prometheus_client import REGISTRY, Counter

from infra.card_numbers import holds_card_number
from infra.probes import start_probe_server
from infra.settings import TelemetrySettings
from infra.telemetry import (
    MASK,
    Health,
    PartHealth,
    configure_logging,
    correlated,
    correlation_id,
    mask_text,
    masked,
    timed_part,
)

CARD = "4242 4242 4242 4242"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging(TelemetrySettings(), role="tests", stream=stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def last(stream: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return found


def test_a_line_is_json_with_role_and_correlation(lines: io.StringIO) -> None:
    with correlated("cor-1", causation_id="evt-1"):
        structlog.get_logger().info("invoice finalized", amount=1999)
        assert correlation_id() == "cor-1"
    line = last(lines)
    assert line.pop("timestamp")
    assert line == {
        "event": "invoice finalized", "level": "info", "role": "tests", "amount": 1999,
        "correlation_id": "cor-1", "causation_id": "evt-1",
    }  # fmt: skip
    assert correlation_id() == ""


async def test_correlation_follows_into_tasks_and_not_across_them(lines: io.StringIO) -> None:
    async def work(name: str) -> str:
        with correlated(name):
            await asyncio.sleep(0)
            return correlation_id()

    assert await asyncio.gather(*(work(f"cor-{n}") for n in range(10))) == [f"cor-{n}" for n in range(10)]


def test_other_libraries_lines_go_through_the_same_mask(lines: io.StringIO) -> None:
    logging.getLogger("aiokafka").warning("cannot reach postgresql://clerk:hunter2@db/x for ada@example.org")
    text = lines.getvalue()
    assert "hunter2" not in text
    assert "ada@example.org" not in text
    assert last(lines)["logger"] == "aiokafka"


def test_a_pool_that_cannot_reach_its_server_says_so_in_one_line_without_a_traceback(lines: io.StringIO) -> None:
    for logger in ("asyncpg.pool", "asyncio"):
        try:
            raise ConnectionRefusedError("nobody listens")
        except ConnectionRefusedError:
            logging.getLogger(logger).warning("Failed to restore the pool connection floor; retrying", exc_info=True)
        line = last(lines)
        assert ("exception" in line) is (logger == "asyncio")
        assert "nobody listens" in str(line.get("error", line.get("exception")))


def test_a_traceback_is_masked(lines: io.StringIO) -> None:
    try:
        raise ValueError(f"bad card {CARD}")
    except ValueError:
        structlog.get_logger().exception("refused")
    assert "4242" not in lines.getvalue()
    assert "ValueError" in lines.getvalue()


@pytest.mark.parametrize("key", ["password", "TALLYBOOK_VAULT_MASTER_KEY", "Authorization", "email", "tax_id"])
def test_secret_and_personal_keys_are_masked_at_any_depth(key: str) -> None:
    assert masked({"outer": [{key: {"deep": "value"}}]}) == {"outer": [{key: MASK}]}


@pytest.mark.parametrize("text", [CARD, "4242424242424242", "5555-5555-5555-4444", "378282246310005"])
def test_card_numbers_are_found(text: str) -> None:
    assert holds_card_number(f"paid with {text}.")
    assert mask_text(f"paid with {text}.") == f"paid with {MASK}."
    assert masked(4242424242424242) == MASK


@pytest.mark.parametrize("text", ["4242424242424241", "position 1763720000123456", "in_" + "42" * 13, "12.50"])
def test_other_numbers_are_left_alone(text: str) -> None:
    assert not holds_card_number(text)
    assert mask_text(text) == text


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_the_probe_server_tells_ready_from_live() -> None:
    parts = [PartHealth(name="kafka", ok=True, lag_events=3)]

    async def health() -> Health:
        return Health(role="relay", parts=tuple(parts))

    Counter("probe_test_things", "Things", registry=REGISTRY).inc(7)
    server = await start_probe_server(0, health)
    try:
        status, body = await get(server.port, "/health/ready")
        assert (status, json.loads(body)["parts"]) == (
            200, [{"name": "kafka", "ok": True, "detail": "", "lag_events": 3}],
        )  # fmt: skip
        parts[0] = PartHealth(name="kafka", ok=False, detail="postgresql://a:secret@b is away")
        status, body = await get(server.port, "/health/ready")
        assert status == 503
        assert "secret" not in body
        assert (await get(server.port, "/health/live"))[0] == 200
        status, body = await get(server.port, "/metrics")
        assert status == 200
        assert "probe_test_things_total 7.0" in body
        assert "process_resident_memory_bytes" in body
    finally:
        await server.stop()


async def test_a_silent_or_broken_check_is_not_ready() -> None:
    async def silent() -> Health:
        await asyncio.Event().wait()
        raise AssertionError

    async def broken() -> Health:
        raise RuntimeError("no pool")

    for health, what in ((silent, "no answer within 50 ms"), (broken, "RuntimeError: no pool")):
        server = await start_probe_server(0, health, timeout_ms=50)
        try:
            status, body = await get(server.port, "/health/ready")
        finally:
            await server.stop()
        assert status == 503
        assert what in body


async def test_a_parts_exception_is_its_detail() -> None:
    async def fails() -> None:
        raise ConnectionError("away")

    assert await timed_part("database", fails) == PartHealth(name="database", ok=False, detail="ConnectionError: away")
