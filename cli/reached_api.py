"""The API as a command with much to send finds it: not there is told at once, gone meanwhile is told once."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import stamina.instrumentation

from cli.api_client import ApiClient, ApiError, TryAgain
from cli.output import console_for
from host.addresses import reached_api_url
from infra.settings import load_settings


def address_of_api(url: str | None) -> tuple[str, Path | None]:
    """Where the API is that a command asks, and the certificate that it is told by: what `--url` says, else what runs.
    Raises SettingsError.
    """
    if url is not None:
        return url, None
    found, certificate_file = reached_api_url(load_settings())
    return found, Path(certificate_file) if certificate_file else None


def how_on(error: ApiError, *, is_dry: bool) -> str:
    """What to do after the API said no to a part of a file."""
    if is_dry:
        return ""
    first = "Run" if isinstance(error, TryAgain) else "Once that is mended, run"
    return f" {first} the same command again: it goes on from where it is, and does nothing twice."


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
