"""Delivers events to the merchant's URL until they are taken: signed, retried with backoff, then given up.

What is owed is in the store, so a killed gateway goes on delivering after its restart. A delivery that was taken just
before a kill comes again: at least once, never less.
"""

import asyncio
import contextlib
import logging
from typing import Final

import aiohttp

from infra.http.standard_webhooks import secret_bytes, signed_headers
from sandbox_gateway.gateway import SandboxGateway
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import Store

IDLE_CHECK_S: Final = 30.0
"""Longest sleep when nothing is owed; a new delivery ends it at once."""

log = logging.getLogger(__name__)


class WebhookSender:
    """One task that hands due deliveries to a bounded number of others."""

    def __init__(self, settings: SandboxServerSettings, store: Store, gateway: SandboxGateway, url: str) -> None:
        self._settings = settings
        self._store = store
        self._gateway = gateway
        self._url = url
        self._keys = [secret_bytes(secret) for secret in settings.webhook_secrets]
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        gateway.on_new_deliveries = self._changed.set

    async def run(self) -> None:
        """Deliver until cancelled."""
        timeout = aiohttp.ClientTimeout(total=self._settings.webhook_timeout_ms / 1_000)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                while True:
                    self._changed.clear()
                    wait_s = self._start_due(session)
                    # Not wait_for: in Python 3.11 it swallows a cancellation that meets the event's own end.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await self._changed.wait()
            finally:
                for task in self._under_way.values():
                    task.cancel()
                await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def _start_due(self, session: aiohttp.ClientSession) -> float:
        """Start what is due and fits; returns the seconds until there may be more to do."""
        self._gateway.commit()  # what is told must be durable first: a killed gateway cannot take a message back
        room = self._settings.webhook_deliveries_at_once - len(self._under_way)
        if room <= 0:
            return IDLE_CHECK_S
        now_ms = self._store.now_ms()
        rows = self._store.execute(
            "SELECT seq, event_seq, due_ms, attempts FROM deliveries ORDER BY due_ms, seq LIMIT ?",
            (room + len(self._under_way) + 1,),
        ).fetchall()
        for seq, event_seq, due_ms, attempts in rows:
            if seq in self._under_way:
                continue
            if due_ms > now_ms:
                return float(due_ms - now_ms) / 1_000
            if len(self._under_way) >= self._settings.webhook_deliveries_at_once:
                break
            self._under_way[seq] = asyncio.create_task(self._deliver(session, seq, event_seq, attempts))
        return IDLE_CHECK_S

    async def _deliver(self, session: aiohttp.ClientSession, seq: int, event_seq: int, attempts: int) -> None:
        row = self._store.execute(
            "SELECT seq, kind, body, created_ms FROM events WHERE seq = ?", (event_seq,)
        ).fetchone()
        event_id, body = self._gateway.notices.message(*row)
        headers = signed_headers(self._keys, event_id, self._store.now_ms() // 1_000, body)
        try:
            async with session.post(
                self._url,
                data=body,
                headers={**headers, "content-type": "application/json"},
                allow_redirects=False,
            ) as answer:
                taken = 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("webhook %s was not delivered: %s", event_id, error or type(error).__name__)
            taken = False
        finally:
            del self._under_way[seq]
        self._note(seq, event_id, attempts + 1, taken=taken)
        self._changed.set()

    def _note(self, seq: int, event_id: str, attempts: int, *, taken: bool) -> None:
        settings = self._settings
        self._gateway.batch()
        if taken or attempts >= settings.webhook_attempts_max:
            if not taken:
                log.warning("webhook %s was given up after %d attempts", event_id, attempts)
            self._store.execute("DELETE FROM deliveries WHERE seq = ?", (seq,))
            return
        wait_ms = min(settings.webhook_backoff_ms << (attempts - 1), settings.webhook_backoff_max_ms)
        self._store.execute(
            "UPDATE deliveries SET attempts = ?, due_ms = ? WHERE seq = ?",
            (attempts, self._store.now_ms() + wait_ms, seq),
        )
