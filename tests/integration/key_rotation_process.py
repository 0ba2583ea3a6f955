"""A process of its own that rotates signing keys until it is killed.

`python -m tests.integration.key_rotation_process DSN`: a line with the number of each rotation that
was done goes to standard output.
"""

import asyncio
import sys

from infra.clock import system_clock
from testing.credentials import open_credentials


async def run(dsn: str) -> None:
    async with open_credentials(dsn) as credentials:
        while True:
            await credentials.signing.keep_up(system_clock())
            number = await credentials.signing.rotate(system_clock())
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
