"""A relay in a process of its own, to be killed and frozen: `python -m tests.integration.relay_process`.

The environment says which database, broker and prefix, as it does for a role.
"""

import uvloop

from domain.catalogue import STREAMS
from infra.kafka.relay import Relay
from infra.settings import load_settings


async def main() -> None:
    """Relay until killed."""
    settings = load_settings()
    assert settings.database.url is not None
    assert settings.kafka.bootstrap is not None
    dsn = settings.database.url.get_secret_value()
    await Relay(settings, dsn=dsn, bootstrap=settings.kafka.bootstrap, streams=STREAMS).run()


if __name__ == "__main__":
    uvloop.run(main())
