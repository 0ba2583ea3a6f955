"""Which version of each event type is written. What is not listed is at version 1.

To change an event after its release: change its dataclass so that each new field has a default, set the next number
here, write the upcaster (`schemas/upcasters.py`) if old events need more than the defaults, and run `make schemas`.
A change that Avro cannot resolve both ways is a new event type.
"""

from typing import Final

VERSIONS: Final[dict[str, int]] = {}
