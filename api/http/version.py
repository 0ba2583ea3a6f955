"""The version of the HTTP API, as clients name it."""

from typing import Final

VERSION: Final = "2026-11-21"
