"""A small client of our own API, for the seed, the demo and imports: a key on every change, the same key on a retry."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import stamina

from infra.http.certificates import pin_of

RETRIES_MAX: Final = 30
RETRY_PAUSE_S: Final = 0.2
RETRY_PAUSE_MAX_S: Final = 2.0
PAGE_ITEMS: Final = 100
PIECE_BYTES: Final = 65_536
SILENCE_MAX_S: Final = 120.0
"""How long a download may stand still: a large export sorts before its first row."""
_TRY_AGAIN: Final = frozenset({409, 429, 500, 502, 503, 504})
_IN_FLIGHT: Final = "idempotency_key_in_flight"

Resource = dict[str, Any]


class ApiError(Exception):
    """The API said no, and saying it again would not help; the problem's own words are in the message."""

    def __init__(self, status: int, problem: Mapping[str, Any], request: str) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.errors: list[Resource] = problem.get("errors", [])
        detail = str(problem.get("detail", "")).rstrip(".")
        super().__init__(f"{request}: {status} {self.code}: {detail}")


class TryAgain(ApiError):
    """The API could not answer now: the same request may be made again."""


class ApiAbsent(Exception):
    """Nothing answers where the API should be."""


class BrokenOff(Exception):
    """An answer ended before it was whole."""


class Download:
    """An answer that is taken piece by piece."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.headers = answer.headers
        self._answer = answer

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, some at a time. Raises BrokenOff."""
        try:
            async for piece in self._answer.content.iter_chunked(PIECE_BYTES):
                yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BrokenOff(str(error) or "the server said nothing more") from None


class ApiClient:
    """Speaks for one API key. Use it as an async context manager.

    `certificate_file` is what a server of our own serves HTTPS with: it is known by that, whatever its address is.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        certificate_file: Path | None = None,
        connections_max: int = 64,
        timeout_s: float = 30.0,
    ) -> None:
        self._base = base_url
        self._certificate_file = certificate_file
        self._headers = {"Authorization": f"Bearer {key}"}
        self._connections_max = connections_max
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self.position = 0

    async def __aenter__(self) -> Self:
        file = self._certificate_file
        self._session = aiohttp.ClientSession(
            base_url=self._base,
            headers=self._headers,
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(
                limit=self._connections_max, ssl=True if file is None else aiohttp.Fingerprint(pin_of(file))
            ),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None, "entered"
        await self._session.close()

    async def reach(self) -> None:
        """See that a server answers, asked once. Raises ApiAbsent."""
        assert self._session is not None, "use it as a context manager"
        try:
            async with self._session.get("/health/live"):
                pass
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise ApiAbsent(str(error) or f"{self._base} does not answer") from None

    async def post(
        self, path: str, body: Mapping[str, Any] | Sequence[Any] | None, *, key: str, dry_run: bool = False
    ) -> Resource:
        """Change something, exactly once per key: what is lost on the way is asked for again under the same key."""
        headers = {"Idempotency-Key": key, **({"Tallybook-Dry-Run": "true"} if dry_run else {})}
        return await self._request("POST", path, body, headers=headers)

    async def patch(self, path: str, body: Mapping[str, Any], *, key: str) -> Resource:
        """Change parts of something, as `post`."""
        return await self._request("PATCH", path, body, headers={"Idempotency-Key": key})

    async def delete(self, path: str, *, key: str) -> Resource:
        """Take something away, as `post`."""
        return await self._request("DELETE", path, None, headers={"Idempotency-Key": key})

    async def get(
        self, path: str, parameters: Mapping[str, str | int] | None = None, *, fresh: bool = False
    ) -> Resource:
        """Read something; `fresh` waits until it shows everything that this client has changed."""
        headers = {"Min-Ledger-Position": str(self.position)} if fresh and self.position else {}
        return await self._request("GET", path, None, headers=headers, parameters=parameters)

    async def pages(
        self, path: str, parameters: Mapping[str, str | int], *, fresh: bool = False
    ) -> AsyncIterator[list[Resource]]:
        """A list, page by page; `fresh` as for `get`."""
        cursor: dict[str, str | int] = {}
        while True:
            page = await self.get(path, {"limit": PAGE_ITEMS, **parameters, **cursor}, fresh=fresh)
            yield page["data"]
            if not page["has_more"]:
                return
            cursor = {"starting_after": page["next_cursor"]}

    @asynccontextmanager
    async def download(self, path: str, parameters: Mapping[str, str]) -> AsyncIterator[Download]:
        """Something long, however long it takes. Raises ApiError."""
        assert self._session is not None, "use it as a context manager"
        patient = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.total, sock_read=SILENCE_MAX_S)
        async with self._session.get(path, params=parameters, timeout=patient) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, await answer.json(content_type=None), f"GET {path}")
            yield Download(answer)

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Any] | None,
        *,
        headers: Mapping[str, str],
        parameters: Mapping[str, str | int] | None = None,
    ) -> Resource:
        assert self._session is not None, "use it as a context manager"
        what = f"{method} {path}"
        async for attempt in stamina.retry_context(
            on=(TryAgain, aiohttp.ClientConnectionError, TimeoutError),
            attempts=RETRIES_MAX,
            timeout=None,
            wait_initial=RETRY_PAUSE_S,
            wait_max=RETRY_PAUSE_MAX_S,
        ):
            with attempt:
                async with self._session.request(method, path, json=body, headers=headers, params=parameters) as answer:
                    content: Resource = await answer.json(content_type=None)
                    if answer.status < 400:
                        self.position = max(self.position, int(answer.headers.get("Ledger-Position", 0)))
                        return content
                    again = answer.status in _TRY_AGAIN and (answer.status != 409 or content.get("code") == _IN_FLIGHT)
                    raise (TryAgain if again else ApiError)(answer.status, content, what)
        raise AssertionError("the last attempt returns or raises")
