"""What a tenant has chosen. There is nothing to choose yet: this is where handlers ask, and hand the answer on."""

from domain.kernel.rounding import STANDARD_ROUNDING, Rounding
from domain.kernel.stream import Streams


def rounding_of(streams: Streams) -> Rounding:
    """How the tenant rounds. A subscription keeps the answer in its terms, so a later choice changes no running one."""
    del streams  # the tenant's settings will be a stream of its own
    return STANDARD_ROUNDING
