"""Handing a command to the writer: the key that it is known by, what makes it the same one, and what becomes of it."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from api.http.call import Call
from api.http.problems import (
    BUSY,
    CLOCK_APART,
    INVALID_HEADER,
    KEY_IN_FLIGHT,
    KEY_REUSED,
    MISSING_KEY,
    OUTCOME_PENDING,
    PARTLY_DONE,
    Problem,
    retry_after,
    unavailable,
)
from infra.event_store.port import (
    ClockApart,
    IdempotencyKeyReused,
    Outcome,
    PartlyDone,
    QueueFull,
    Request,
    StoreUnavailable,
)

_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")


async def submitted(call: Call, request: Request) -> Outcome:
    """What became of a command. Raises the problem of one whose outcome there is none of, or none yet."""
    try:
        async with asyncio.timeout(call.parts.settings.api.command_timeout_ms / 1000):
            return await call.writer.submit(request)
    except IdempotencyKeyReused:
        raise Problem(KEY_REUSED, param="Idempotency-Key") from None
    except PartlyDone:
        raise Problem(PARTLY_DONE, param="Idempotency-Key") from None
    except QueueFull as full:
        raise Problem(BUSY, headers=retry_after(full.retry_after_ms // 1000)) from None
    except ClockApart as apart:
        raise Problem(CLOCK_APART, str(apart), headers=retry_after(1)) from None
    except StoreUnavailable:
        raise unavailable(is_command=True) from None
    except TimeoutError:
        raise Problem(OUTCOME_PENDING, headers=retry_after(1)) from None


@contextmanager
def in_flight(held: set[tuple[str, str]], tenant_id: str, key: str) -> Iterator[None]:
    """Hold the key while its first request is being done; 409 for another meanwhile."""
    name = (tenant_id, key)
    if name in held:
        raise Problem(KEY_IN_FLIGHT, param="Idempotency-Key", headers=retry_after(1))
    held.add(name)
    try:
        yield
    finally:
        held.discard(name)


def idempotency_key(headers: Mapping[bytes, bytes]) -> str:
    """The key that a command came with. Raises the 400 of none, or of one of no such form."""
    key = headers.get(b"idempotency-key")
    if key is None:
        raise Problem(MISSING_KEY, param="Idempotency-Key")
    if _KEY.fullmatch(key) is None:
        raise Problem(INVALID_HEADER, "Idempotency-Key is 1 to 255 visible ASCII characters.", param="Idempotency-Key")
    return key.decode()


def canonical_request(method: str, path: str, tenant_id: str, value: object) -> bytes:
    """What makes a request the same one: method, path, tenant, and the body whatever its spacing and order of names."""
    body = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return json.dumps([method, path, tenant_id, body]).encode()
