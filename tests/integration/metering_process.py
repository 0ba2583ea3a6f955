"""An aggregator in a process of its own, to be killed: `python -m tests.integration.metering_process`.

It knows the meters of `testing.usage`; the environment says which database, broker and prefix, as it does for a role,
and how far its clock is ahead.
"""

import os
import time

import uvloop

from infra.settings import load_settings
from testing.usage import tenants_meters
from tests.integration.usage_scene import SKEW_VARIABLE
from usage.aggregation.meters import FixedMeters
from usage.aggregation.role import Metering


def skew(seconds: int) -> None:
    """From here on it is so much later here than elsewhere."""
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + seconds * 10**9


async def main() -> None:
    """Count until killed."""
    skew(int(os.environ.get(SKEW_VARIABLE, "0")))
    settings = load_settings()
    assert settings.database.url is not None
    assert settings.kafka.bootstrap is not None
    dsn = settings.database.url.get_secret_value()
    meters = FixedMeters(tenants_meters())
    await Metering(settings, dsn=dsn, bootstrap=settings.kafka.bootstrap, meters=meters).run()


if __name__ == "__main__":
    uvloop.run(main())
