"""Requests for the event store's tests."""

import hashlib
from collections.abc import Callable

from domain.kernel.stream import Command
from infra.event_store.port import Answer, Credential, Decided, Request, SealedPerson
from infra.ids import new_id

TENANT = "acme"


def request(
    command: Command,
    *,
    key: str | None = None,
    tenant_id: str = TENANT,
    correlation_id: str = "corr",
    seals: SealedPerson | None = None,
    erases: str | None = None,
    credentials: tuple[Credential, ...] = (),
    answer: Callable[[Decided], Answer] | None = None,
) -> Request:
    """A request whose hash is its command's; each has a key of its own unless one is given."""
    return Request(
        tenant_id=tenant_id,
        idempotency_key=key or new_id("idem_"),
        request_hash=hashlib.sha256(repr(command).encode()).digest(),
        command=command,
        actor="key_test",
        correlation_id=correlation_id,
        seals=seals,
        erases=erases,
        credentials=credentials,
        answer=answer,
    )
