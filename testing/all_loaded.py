"""Everything that a command may import, imported: what `forked_commands.py` forks its processes from.

The modules of the command line itself are forgotten again: a console reads the width of its terminal as it is made.
"""

import sys

from testing.command_line import every_command

every_command()
for name in [name for name in sys.modules if name == "cli" or name.startswith("cli.")]:
    del sys.modules[name]
