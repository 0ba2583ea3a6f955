"""Every limit, delay and price of the sandbox gateway, with its unit."""

from dataclasses import dataclass, field
from pathlib import Path

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxServerSettings:
    """What `serve` needs. The secrets stay out of `repr`."""

    store_path: Path
    """The SQLite file; its folder must exist."""
    api_key: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8081
    """0 takes a free port; `on_ready` of `serve` is told which."""

    webhook_url: str | None = None
    """Where webhooks go; None sends none."""
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    """`whsec_` secrets; each delivery is signed with all of them."""
    webhook_timeout_ms: int = 5_000
    webhook_deliveries_at_once: int = 16
    webhook_attempts_max: int = 12
    """Deliveries of one webhook that may fail before it is given up; it stays readable under /v1/events."""
    webhook_backoff_ms: int = 250
    """Pause before the second attempt; doubles up to `webhook_backoff_max_ms`."""
    webhook_backoff_max_ms: int = 60_000

    key_retention_ms: int = 24 * HOUR_MS
    """How long an idempotency key is remembered; after that it is as good as new, as with a real gateway."""
    key_chars_max: int = 255
    text_chars_max: int = 500
    """Longest reference, token, customer or description."""
    amount_max: int = 1_000_000_000_000
    """Largest single amount, in minor units."""
    page_rows_max: int = 1_000
    page_rows: int = 100

    body_bytes_max: int = 65_536
    head_bytes_max: int = 16_384
    connections_max: int = 2_000
    pipelined_max: int = 64
    """Requests that wait on one connection behind the one being answered."""

    hang_ms: int = 60_000
    """How long a "time-out" keeps the connection open in silence before it drops it."""
    slow_ms: int = 2_000
    """Delay of the token `tok_slow`."""
    settle_ms: int = 1_000
    """How long "processing" payments and refunds take to settle."""
    answers_kept_for_faults_max: int = 100_000
    """Keys whose tries are counted while faults are on, so that a try repeated after a restart draws anew."""

    fee_basis_points: int = 290
    fee_fixed: int = 30
    """Fee of a charge: basis points of the amount, rounded half up, plus minor units; never above the amount."""
    dispute_fee: int = 1_500
    """Minor units, kept when a dispute is opened and not returned."""
    dispute_evidence_due_ms: int = 7 * 24 * HOUR_MS

    store_cache_bytes: int = 64 * 1024 * 1024
    store_checkpoint_pages: int = 4_000
    """Pages in the write-ahead log before it is folded into the file."""
    stop_ms: int = 5_000
    """How long a stop waits for connections that are being answered."""
