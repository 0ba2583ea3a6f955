"""An aggregator in a process of its own, to be killed: `python -m tests.integration.metering_process`.

It knows the meters of `testing.usage`; the environment says which database, broker and prefix, as it does for a role.
"""

import uvloop

from infra.settings import load_settings
from testing.usage import tenants_meters
from usage.aggregation.meters import FixedMeters
from usage.aggregation.role import Metering


async def main() -> None:
    """Count until killed."""
    settings = load_settings()
    assert settings.database.url is not None
    assert settings.kafka.bootstrap is not None
    dsn = settings.database.url.get_secret_value()
    meters = FixedMeters(tenants_meters())
    await Metering(settings, dsn=dsn, bootstrap=settings.kafka.bootstrap, meters=meters).run()


if __name__ == "__main__":
    uvloop.run(main())
