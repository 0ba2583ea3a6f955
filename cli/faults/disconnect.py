"""A client that goes away in the middle of its request, at any byte of it."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S: Final = 2.5
BETWEEN_RATE: Final = 0.3
"""How often it goes exactly between the head and the body, where half a request looks most like a whole one."""


async def begin_and_go(url: str, method: str, path: str, headers: Mapping[str, str], body: bytes, share: float) -> bool:
    """Send a share of a request, from 0 up to all but its last byte, and close. False where nobody listens."""
    where = urlsplit(url)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {where.netloc}", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]) + "\r\n\r\n"
    request = head.encode("latin-1") + body
    after = int((share - BETWEEN_RATE) / (1 - BETWEEN_RATE) * len(request)) if share >= BETWEEN_RATE else len(head)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(where.hostname, where.port)
            try:
                writer.write(request[:after])
                await writer.drain()
            finally:
                writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return True
    return False
