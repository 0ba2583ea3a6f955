"""The API as a command with much to send finds it: not there is told at once, gone meanwhile is told once."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import stamina.instrumentation

from cli.api_client import ApiClient
from cli.output import console_for


@contextlib.asynccontextmanager
async def reached_api(url: str, key: str, *, certificate_file: Path | None) -> AsyncIterator[ApiClient]:
    """A client of an API that answers. Raises ApiAbsent."""
    async with ApiClient(url, key, certificate_file=certificate_file) as api:
        await api.reach()
        _tell_once_of_waiting(url)
        yield api


def _tell_once_of_waiting(url: str) -> None:
    """Say when the API does not answer any more, and not each time that it is asked again."""
    told: set[str] = set()

    def tell(details: stamina.instrumentation.RetryDetails) -> None:
        if url not in told:
            console_for(as_json=True).print(f"{url} does not answer; it is asked again.", soft_wrap=True)
        told.add(url)

    stamina.instrumentation.set_on_retry_hooks([tell])
