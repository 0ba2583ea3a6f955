"""What the API tells about itself."""

from functools import lru_cache
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

REQUEST_SECONDS: Final = Histogram(
    "tallybook_api_request_seconds",
    "From the request's head to the end of its answer",
    ("method", "route", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
REPLAYED: Final = Counter("tallybook_api_replayed", "Answers repeated under their Idempotency-Key", registry=REGISTRY)
CONNECTIONS_ENDED: Final = Counter(
    "tallybook_api_connections_ended", "Connections that the server ended, by why", ("reason",), registry=REGISTRY
)
CERTIFICATE_ENDS: Final = Gauge(
    "tallybook_api_certificate_ends_timestamp_seconds",
    "When the certificate that is served ends, since the epoch; 0 without TLS",
    registry=REGISTRY,
)
POSITION_WAITS: Final = Counter(
    "tallybook_api_position_waits", "Queries with Min-Ledger-Position, by how it ended", ("outcome",), registry=REGISTRY
)

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"})


@lru_cache(maxsize=2048)
def _series(method: str, route: str, status: int) -> Histogram:
    return REQUEST_SECONDS.labels(method, route, str(status))


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one request. `method` is one of METHODS, or "other": clients make up names without end."""
    _series(method, route, status).observe(seconds)
