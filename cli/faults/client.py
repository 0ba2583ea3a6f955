"""A client that never gives up: every command has a key, and is repeated under it until it is acknowledged.

It keeps what it was told, so that the log can be held against it, and repeats some commands that were acknowledged
long ago: the answer must be the first one, byte for byte. Sometimes it goes away in the middle of a request, and comes
back with it or does not: what did not arrive whole must never have been done.
"""

import asyncio
import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from api.http.replies import KEY_NAMESPACE
from cli.faults.disconnect import begin_and_go
from processors.invariants.findings import Difference
from processors.invariants.log_integrity import Acknowledged

TRY_TIMEOUT_S: Final = 2.5
"""Longest wait for one answer, connecting included; then the same is asked of the next API."""

RETRY_PAUSE_S: Final = 0.1
IN_FLIGHT: Final = "idempotency_key_in_flight"
KEY_REUSED: Final = "idempotency_key_reused"
CUTS: Final = 6
"""Bytes of one request after which the client goes away, before it comes back or gives up."""

STATUS_REFUSED: Final = 400
STATUS_FAILING: Final = 500
STATUS_DEFECT: Final = 500
STATUS_TOO_MANY: Final = 429
REPEATABLE_MAX: Final = 2_000
USAGE_PATH: Final = "/v1/usage/events"
"""What the role `ingest` takes, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer: what the client was told, once and for all."""

    method: str
    path: str
    sent: bytes
    key: str
    status: int
    position: str
    location: str
    digest: bytes
    body: Mapping[str, Any]

    @property
    def accepted(self) -> bool:
        return self.status < STATUS_REFUSED


class FaultClient:
    """Speaks for one tenant to several APIs; usage is sent to those of `usage_urls`. `seed` makes its keys; other
    tenants' clients use the same ones. `counts` is shared by all of them.

    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        *,
        usage_urls: Sequence[str],
        tenant_id: str,
        key: str,
        seed: int,
        counts: Counter[str],
    ) -> None:
        self._session = session
        self._urls = urls
        self._usage_urls = usage_urls
        self.tenant_id = tenant_id
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._numbers = itertools.count(1)
        self._turns = itertools.count()
        self._seed = seed
        self._repeatable: list[Told] = []
        self.acknowledged: list[Acknowledged] = []
        self.store_may_be_lost = False
        """Whether the database may go away. A writer that lost it cannot tell a repeat from the command it just sent:
        the answer is the same, and only the mark on it may be missing."""

        self.given_up: list[str] = []
        """Keys, as the log would hold them, of commands that never arrived whole."""

        self.counts = counts
        self.differences: list[Difference] = []

    async def command(
        self, method: str, path: str, body: Mapping[str, object] | Sequence[Mapping[str, object]]
    ) -> Told:
        """Have a command acknowledged, whatever it takes; accepted or refused is in the answer."""
        return await self._have_told(method, path, json.dumps(body).encode(), self._next_key())

    async def post(self, path: str, body: Mapping[str, object]) -> Told:
        """The same of a POST."""
        return await self.command("POST", path, body)

    async def made(self, path: str, body: Mapping[str, object]) -> Mapping[str, Any]:
        """What is made by a POST that must be accepted."""
        told = await self.post(path, body)
        if not told.accepted:
            raise RuntimeError(f"POST {path} was refused, and should not have been: {told.body}")
        return told.body

    async def leave(self, method: str, path: str, body: Mapping[str, object], chance: random.Random) -> None:
        """Begin a command and go away, after some of its bytes; then come back with all of it, or give it up."""
        key, sent = self._next_key(), json.dumps(body).encode()
        headers = {**self._headers, "Idempotency-Key": key}
        for url, share in [(self._next_url(path), chance.random()) for _ in range(CUTS)]:
            self.counts["requests broken off"] += await begin_and_go(url, method, path, headers, sent, share)
        if chance.random() < 1 / 2:
            await self._have_told(method, path, sent, key)
        else:
            self.given_up.append(KEY_NAMESPACE + key)

    def _next_key(self) -> str:
        return f"faults-{self._seed}-{next(self._numbers)}"

    def _next_url(self, path: str) -> str:
        urls = self._usage_urls if path == USAGE_PATH else self._urls
        return urls[next(self._turns) % len(urls)]

    async def _have_told(self, method: str, path: str, sent: bytes, key: str) -> Told:
        told, _ = await self._until_told(method, path, sent, key)
        self.counts["acknowledged"] += 1
        self.counts["refused"] += not told.accepted
        if told.body.get("code") == KEY_REUSED:
            self._differ(told, "its key was used by a request that did not arrive whole", kind="half a request")
        if told.position:
            code = None if told.accepted else str(told.body.get("code"))
            self.acknowledged.append(
                Acknowledged(
                    tenant_id=self.tenant_id,
                    idempotency_key=KEY_NAMESPACE + key,
                    position=int(told.position),
                    refusal_code=code,
                )
            )
            if len(self._repeatable) < REPEATABLE_MAX:
                self._repeatable.append(told)
            else:
                self._repeatable[int(told.position) % REPEATABLE_MAX] = told
        return told

    async def repeat_one(self, chance: random.Random) -> None:
        """Ask once more for something that was acknowledged, and compare."""
        if not self._repeatable:
            return
        first = chance.choice(self._repeatable)
        again, replayed = await self._until_told(first.method, first.path, first.sent, first.key)
        self.counts["repeats compared"] += 1
        if (again.status, again.digest, again.position, again.location) != (
            first.status,
            first.digest,
            first.position,
            first.location,
        ):
            self._differ(first, f"first {first.status} at {first.position}, then {again.status} at {again.position}")
        elif not replayed and not self.store_may_be_lost:
            self._differ(first, "the repeat was not marked as replayed")

    def _differ(self, first: Told, detail: str, *, kind: str = "another answer") -> None:
        subject = f"{self.tenant_id} {first.method} {first.path} {first.key}"
        self.differences.append(Difference(kind=kind, subject=subject, detail=detail))

    def must(self, told: Told, what: str, *, holds: bool) -> None:
        """Note a difference where something that was told cannot be."""
        if not holds:
            self._differ(told, f"{what}; told {told.status} {told.body.get('code', '')}", kind="must not be")

    async def _until_told(self, method: str, path: str, sent: bytes, key: str) -> tuple[Told, bool]:
        headers = {**self._headers, "Idempotency-Key": key}
        while True:
            url = self._next_url(path)
            self.counts["requests"] += 1
            try:
                async with self._session.request(method, url + path, data=sent, headers=headers) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                self.counts["answers lost"] += 1
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            body = json.loads(content)
            if answer.status == STATUS_DEFECT:
                self.counts["internal errors"] += 1
                self.differences.append(
                    Difference(kind="internal error", subject=f"{method} {path} {key}", detail=str(body))
                )
            if answer.status >= STATUS_FAILING or answer.status == STATUS_TOO_MANY or body.get("code") == IN_FLIGHT:
                self.counts["asked to retry"] += 1
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            told = Told(
                method=method,
                path=path,
                sent=sent,
                key=key,
                status=answer.status,
                position=answer.headers.get("Ledger-Position", ""),
                location=answer.headers.get("Location", ""),
                digest=hashlib.sha256(content).digest(),
                body=body,
            )
            return told, answer.headers.get("Idempotent-Replayed") == "true"
