"""Health answers whatever its database does: for a probe, no answer would be the one thing that says nothing."""

import asyncio
import os
import signal

import pytest

from host.embedded.postgres import EmbeddedPostgres
from testing.api_client import running_api
from testing.services import FreshDatabase

ANSWER_LIMIT_S = 60.0
"""Bounds a test that would otherwise hang; the look itself is bounded by a fifth of a second and as much again."""

READERS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tallybook-reader'
"""


async def test_a_look_that_a_frozen_database_does_not_end_is_given_up(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(database.server, EmbeddedPostgres):
        pytest.skip("the processes of a container are not ours to freeze")
    monkeypatch.setenv("TALLYBOOK_TELEMETRY_HEALTH_TIMEOUT_MS", "200")
    async with running_api(database) as api:
        backends = [row["pid"] for row in await api.parts.reader.pool.fetch(READERS)]
        assert backends
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                told = (await api.http.get("/health")).json()
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        parts = {part["name"]: part for part in told["parts"]}
        assert told["status"] == "failing"
        assert parts["other processes"]["detail"].startswith("cannot be asked for")
        assert parts["postgresql"]["ok"], "its own connection is another, and was not frozen"
        assert (await api.http.get("/health")).json()["parts"], "and it goes on"
