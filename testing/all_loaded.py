"""Everything that a command or a role may import, imported: what `forked.py` forks its processes from.

The modules of the command line itself are forgotten again: a console reads the width of its terminal as it is made.
"""

import gc
import sys
from importlib import import_module
from typing import Final

from testing.command_line import every_command

OF_ROLES: Final = (
    "api.app",
    "infra.kafka.relay",
    "processors.app",
    "projections.folding.worker",
    "sandbox_gateway.server",
    "sandbox_gateway.settings",
    "usage.aggregation.log_meters",
    "usage.aggregation.role",
)
"""What `host/run.py` imports when a role needs it."""

every_command()
for name in OF_ROLES:
    import_module(name)
for name in [name for name in sys.modules if name == "cli" or name.startswith("cli.")]:
    del sys.modules[name]
gc.collect()
gc.freeze()  # what is loaded is no garbage in any process
