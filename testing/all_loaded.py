"""Everything that a command or a role may import, imported: what `forked.py` forks its processes from.

The modules of the command line itself are forgotten again: a console reads the width of its terminal as it is made.
"""

import gc
import sys

import sandbox_gateway.server  # noqa: F401
from testing.command_line import every_command

every_command()
for name in [name for name in sys.modules if name == "cli" or name.startswith("cli.")]:
    del sys.modules[name]
gc.collect()
gc.freeze()  # what is loaded is no garbage in any process
