"""What a tenant is for: real business, or rehearsing it. A tenant is one or the other for as long as it exists."""

from enum import StrEnum


class TenantMode(StrEnum):
    """Only a test tenant has test clocks, so that everything in a live tenant's books happened."""

    LIVE = "live"
    TEST = "test"
