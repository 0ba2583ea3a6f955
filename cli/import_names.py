"""What the lines of a file name by another name than its id, looked up once each."""

import asyncio
from typing import Final

from cli.api_client import ApiClient
from cli.import_kinds import Reference

LOOK_UPS_MAX: Final = 16
"""At once."""
KNOWN_MAX: Final = 100_000
"""Ids that are kept, before they are looked up anew."""


class Names:
    """The ids behind the names of one kind."""

    def __init__(self, api: ApiClient, reference: Reference) -> None:
        self._api = api
        self._reference = reference
        self._known: dict[str, str] = {}
        self._look_ups = asyncio.Semaphore(LOOK_UPS_MAX)

    async def id_of(self, name: str) -> str | None:
        """The id; None where nothing has that name. Raises ApiError."""
        known = self._known.get(name)
        if known is None:
            async with self._look_ups:
                page = await self._api.get(
                    self._reference.path, {self._reference.parameter: name, "limit": 1}, fresh=True
                )
            if not page["data"]:
                return None
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[name] = str(page["data"][0]["id"])
        return known
