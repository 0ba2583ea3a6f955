"""Where shared rates are kept, as settings say: in the database, or in a Valkey or Redis server."""

import contextlib
from collections.abc import AsyncIterator

from infra.database import Pool
from infra.rate_limits.buckets import Buckets
from infra.rate_limits.postgres import PostgresBuckets
from infra.rate_limits.shared import SharedRates
from infra.settings import ApiSettings, SettingsError


@contextlib.asynccontextmanager
async def open_rates(api: ApiSettings, pool: Pool) -> AsyncIterator[SharedRates]:
    """The rates of one process. Raises SettingsError for a server whose client is not installed."""
    buckets = _buckets(api, pool)
    try:
        yield SharedRates(
            buckets,
            names_max=api.rate_limit_max_names,
            timeout_s=api.limits_timeout_ms / 1_000,
            away_s=api.limits_away_ms / 1_000,
        )
    finally:
        await buckets.close()


def _buckets(api: ApiSettings, pool: Pool) -> Buckets:
    if api.limits_url is None:
        return PostgresBuckets(pool)
    try:
        # An extra: most cells keep their rates in the database.
        from infra.rate_limits.valkey import ValkeyBuckets
    except ImportError:
        raise SettingsError("TALLYBOOK_API_LIMITS_URL needs the client: pip install tallybook[redis]") from None
    return ValkeyBuckets(api.limits_url.get_secret_value(), timeout_s=api.limits_timeout_ms / 1_000)
