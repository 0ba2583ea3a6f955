"""What decides: this release of the code, and the version of the time-zone data that it reckons with.

The time zones are those of the `tzdata` package, which is locked with everything else, and never the machine's: two
processes must not differ about when a month ends. Importing this module sees to it, before any zone is loaded.
"""

import zoneinfo
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import tzdata  # type: ignore[import-untyped]  # it has data, and this one name

zoneinfo.reset_tzpath(to=())
zoneinfo.ZoneInfo.clear_cache()

TIME_ZONE_DATA: Final[str] = tzdata.IANA_VERSION
"""The version of the IANA data, such as 2026f."""


def _release() -> str:
    try:
        return version("tallybook")
    except PackageNotFoundError:  # run from a tree that was not installed
        return "0"


RELEASE: Final = _release()
