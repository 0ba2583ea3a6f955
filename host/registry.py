"""Where the parts that the command line starts are found: `module:function`, imported only when it is needed.

A role's process so imports its own part and no other. A role is `def run(settings: Settings) -> None`; it blocks until
SIGTERM, then finishes its work. `SEED` is `async def seed(stack: Stack) -> str`: it makes the small tenant of
`tallybook dev` unless it is there, and returns its API key; `SIGN_IN_LINK` likewise returns a link that signs in once.
`MIGRATE` is `async def migrate(dsn: str) -> None`.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

ROLES: Mapping[str, str] = {
    "gateway": "host.run:gateway",
    "relay": "host.run:relay",
    "projections": "host.run:projections",
    "processors": "host.run:processors",
    "metering": "host.run:metering",
    "api": "host.run:api",
}
ON_DEMAND: Mapping[str, str] = {"ingest": "host.run:ingest"}
"""Roles that a cell may have besides: what they do, another role does where they do not run."""
MIGRATE = "projections.folding.tables:migrate"
SEED = "cli.seed:seed"
SIGN_IN_LINK = "cli.seed:sign_in_link"


def load(place: str) -> Callable[..., Any]:
    """Import what a place names."""
    module, name = place.split(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found
