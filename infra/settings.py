"""Every setting of Tallybook, read from the environment: one class per part, one prefix per class.

A field's variable is its class's prefix plus its name in capitals: `WriterSettings.batch_max_events` is
`TALLYBOOK_WRITER_BATCH_MAX_EVENTS`. Units come last in a name and stand in the table that `tallybook settings` prints.
A variable that starts with TALLYBOOK_ and names no setting is refused, so that a typo never means "the default".
"""

import base64
import binascii
import contextlib
import difflib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "TALLYBOOK_"
MASTER_KEY_BYTES = 32
MASTER_KEY_FILE = "vault.master-key"
SANDBOX_API_KEY = "sk_sandbox"
_ORIGIN = r"https?://[a-z0-9.:\[\]-]+"


class SettingsError(Exception):
    """The environment holds something that cannot be used; the message names the variable and what to do."""


def setting(default: object, unit: str, about: str, **constraints: Any) -> Any:
    """Declare one setting: its default, its unit ("" where there is none) and what it is for."""
    return Field(default, description=about, json_schema_extra={"unit": unit}, **constraints)


class Part(BaseSettings):
    """One part's settings. Frozen: what a process started with is what it runs with."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True)
    title: ClassVar[str] = ""


def _prefix(name: str) -> SettingsConfigDict:
    return SettingsConfigDict(env_prefix=PREFIX + name)


class GeneralSettings(Part):
    model_config = _prefix("")
    title = "General"

    environment: Literal["development", "test", "production"] = setting(
        "development", "", "In production no key, password or embedded server is ever made up."
    )
    data_dir: Path = setting(Path(".tallybook"), "folder", "Where embedded servers, generated keys and logs live.")
    cache_dir: Path | None = setting(
        None, "folder", "Where checked downloads and server binaries are kept; the user's cache folder if unset."
    )
    cell: str = setting(
        "main", "", "Name of this cell: one database, one log, one set of topics.", pattern=r"^[a-z][a-z0-9-]{0,30}$"
    )
    instance: str = setting(
        "",
        "",
        "Name of this process in health, kept when it starts again; unset: host and pid.",
        max_length=200,
    )
    start_wait_s: float = setting(60.0, "s", "How long a role waits for its servers before it gives up.", ge=0)
    stop_timeout_s: float = setting(20.0, "s", "How long a role may take to finish its work after SIGTERM.", gt=0)


class DatabaseSettings(Part):
    model_config = _prefix("DATABASE_")
    title = "PostgreSQL"

    url: SecretStr | None = setting(None, "URL", "The role processes' database; unset: the embedded PostgreSQL.")
    owner_url: SecretStr | None = setting(
        None, "URL", "The same database as its owner, for migrations and rebuilds; unset: `url`."
    )
    name: str = setting("tallybook", "", "Database to use on the embedded server.", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    embedded_port: int = setting(0, "port", "Port of the embedded PostgreSQL; 0 takes a free one.", ge=0, le=65535)
    start_timeout_s: float = setting(60.0, "s", "How long the embedded PostgreSQL may take to start.", gt=0)
    stop_timeout_s: float = setting(30.0, "s", "How long its fast shutdown may take before it is killed.", gt=0)
    pool_min_connections: int = setting(1, "connections", "Connections a query pool keeps open.", ge=0)
    pool_max_connections: int = setting(8, "connections", "Most connections a query pool opens.", ge=1)
    connect_timeout_s: float = setting(10.0, "s", "Longest wait for a connection to open.", gt=0)
    acquire_timeout_s: float = setting(5.0, "s", "Longest wait for a free connection of a pool.", gt=0)
    statement_timeout_ms: int = setting(10_000, "ms", "Longest statement of a query; PostgreSQL ends it.", ge=1)
    lock_timeout_ms: int = setting(2_000, "ms", "Longest wait for a lock in migrations and view swaps.", ge=1)
    transaction_timeout_ms: int = setting(
        15_000, "ms", "Longest transaction; a frozen lock holder must not stop the cell.", ge=1
    )


class KafkaSettings(Part):
    model_config = _prefix("KAFKA_")
    title = "Kafka"

    bootstrap: str | None = setting(None, "host:port,…", "Brokers; unset: the embedded Kafka.")
    topic_prefix: str = setting("", "", "Put before every topic's name; topics belong to one cell.")
    partitions: int = setting(12, "partitions", "Partitions of each topic; the same for all, so they join.", ge=1)
    replication_factor: int = setting(1, "replicas", "Copies of each partition; 3 on a real cluster.", ge=1)
    embedded_port: int = setting(0, "port", "Port of the embedded Kafka; 0 takes a free one.", ge=0, le=65535)
    embedded_heap_mib: int = setting(384, "MiB", "Largest Java heap of the embedded Kafka.", ge=128)
    start_timeout_s: float = setting(90.0, "s", "How long the embedded Kafka may take to start.", gt=0)
    stop_timeout_s: float = setting(30.0, "s", "How long it may take to stop before it is killed.", gt=0)
    download_timeout_s: int = setting(60, "s", "Longest silence while fetching one of its jars.", ge=1)
    request_timeout_ms: int = setting(30_000, "ms", "Longest wait for a broker's answer.", ge=1)
    metadata_max_age_ms: int = setting(
        5_000, "ms", "How soon consumers notice topics that were dropped and made again.", ge=100
    )
    session_timeout_ms: int = setting(
        10_000, "ms", "A consumer silent for this long loses its partitions; heartbeats come at a third of it.", ge=1
    )
    rebalance_timeout_ms: int = setting(30_000, "ms", "Longest time to rejoin a group in a rebalance.", ge=20_000)


class WriterSettings(Part):
    model_config = _prefix("WRITER_")
    title = "Event store writer"

    batch_max_events: int = setting(512, "events", "Most events in one group commit.", ge=1)
    batch_max_commands: int = setting(512, "commands", "Most commands in one group commit.", ge=1)
    crowd_commands: int = setting(
        24, "commands", "From twice so many on, half are decided while the other half is being written.", ge=1
    )
    batch_decide_ms: int = setting(50, "ms", "Longest time spent deciding before a batch is sent.", ge=1)
    queue_max_commands: int = setting(10_000, "commands", "A full queue refuses: 503 with Retry-After.", ge=1)
    retry_after_s: int = setting(1, "s", "Retry-After of a refused command.", ge=1)
    conflict_max_retries: int = setting(20, "tries", "Tries of a batch that another process's writes overtake.", ge=1)
    lock_first_batches: int = setting(16, "batches", "Batches that lock first after a conflict.", ge=0)
    cached_streams: int = setting(100_000, "streams", "Stream states kept in memory.", ge=0)
    snapshot_every_events: int = setting(500, "events", "A stream gets a snapshot every so many events.", ge=1)
    look_up_batches: int = setting(
        16, "batches", "Batches whose keys are looked up first after one that held a repeat.", ge=0
    )
    reconnect_max_tries: int = setting(6, "tries", "Tries of a batch whose connection breaks; then 503.", ge=0)
    snapshots_waiting: int = setting(100, "snapshots", "Snapshots that wait to be stored; more are dropped.", ge=0)
    reconnect_pause_ms: int = setting(50, "ms", "First pause before such a try; doubles each time.", ge=0)
    reconnect_max_s: float = setting(30.0, "s", "Longest pause between tries to reach the database again.", gt=0)
    connect_timeout_ms: int = setting(5_000, "ms", "Longest wait for the writer's connection to open.", ge=1)
    transaction_timeout_ms: int = setting(
        10_000, "ms", "Longest append, waiting for the head's lock included; PostgreSQL ends it.", ge=1
    )
    idle_transaction_timeout_ms: int = setting(
        3_000, "ms", "A writer that holds the head's lock and is silent for this long loses it.", ge=1
    )
    clock_apart_max_ms: int = setting(
        5_000,
        "ms",
        "Most that this process's clock may differ from the database's; beyond it nothing is written. A batch decided "
        "longer ago is decided again.",
        ge=1,
    )
    rehearsals_max: int = setting(
        4, "commands", "Dry runs decided at once, each on a connection of its own; beyond, 503 with Retry-After.", ge=1
    )
    rehearsal_timeout_ms: int = setting(5_000, "ms", "Longest dry run; then 503.", ge=1)
    announce_interval_ms: int = setting(5, "ms", "Shortest pause between two notifications that the log grew.", ge=0)


class RelaySettings(Part):
    model_config = _prefix("RELAY_")
    title = "Relay"

    batch_max_events: int = setting(2_000, "events", "Most events read and sent before the checkpoint moves.", ge=1)
    poll_interval_ms: int = setting(500, "ms", "Slow poll, in case a notification is lost.", ge=1)
    lease_ms: int = setting(10_000, "ms", "A relay silent for this long is replaced by another.", ge=1)
    send_timeout_ms: int = setting(20_000, "ms", "Longest wait for a batch's acknowledgements.", ge=1)
    restart_backoff_ms: int = setting(500, "ms", "Pause before starting over from the checkpoint.", ge=1)
    probe_port: int = setting(0, "port", "Health and metrics; 0 takes a free one.", ge=0, le=65535)


class ProjectionSettings(Part):
    model_config = _prefix("PROJECTIONS_")
    title = "Projections"

    poll_max_records: int = setting(2_000, "records", "Most records applied in one transaction.", ge=1)
    poll_timeout_ms: int = setting(200, "ms", "Longest wait of one poll for records.", ge=1)
    cached_rows: int = setting(20_000, "rows", "Rows of each read model kept in memory between batches.", ge=0)
    restart_backoff_ms: int = setting(500, "ms", "Pause before a projection that failed starts over.", ge=1)
    rebuild_batch_events: int = setting(5_000, "events", "Events read from the log at a time in a rebuild.", ge=1)
    rebuild_slice_events: int = setting(
        1_000_000, "events", "A rebuild folds the keys of about so many events at a time: that bounds its memory.", ge=1
    )
    rebuild_parallel_from_events: int = setting(
        150_000, "events", "A log this long is worth starting a rebuild's worker processes.", ge=1
    )
    rebuild_workers: int = setting(2, "workers", "Workers of a rebuild; each has its own keys.", ge=1)
    swap_lock_timeout_ms: int = setting(1_000, "ms", "Longest wait for the lock that swaps a view.", ge=1)
    probe_port: int = setting(0, "port", "Health and metrics; 0 takes a free one.", ge=0, le=65535)


class UsageSettings(Part):
    model_config = _prefix("USAGE_")
    title = "Usage"

    partitions: int = setting(
        12, "partitions", "Partitions of the topic of usage; frozen once it is made: ids are remembered by them.", ge=1
    )
    retention_days: int = setting(
        70, "days", "How long the topic keeps usage: recounts and voids reach so far back.", ge=70
    )
    ingest_in_api: bool = setting(
        default=True,
        unit="",
        about="Whether the API takes usage events; where not, the role `ingest` does (`tallybook run ingest`).",
    )
    ingest_port: int = setting(8082, "port", "Port of the role `ingest`; 0 takes a free one.", ge=0, le=65535)
    age_max_days: int = setting(35, "days", "How far back the time of an event may lie.", ge=1, le=35)
    ack_timeout_ms: int = setting(10_000, "ms", "Longest wait for the brokers to have usage events; then 503.", ge=1)
    in_flight_max_bytes: int = setting(
        67_108_864, "bytes", "Bodies of usage events that a process takes at once; beyond, 503.", ge=1
    )
    meter_cache_s: float = setting(5.0, "s", "How long a meter is believed to be as it was found.", ge=0)
    customer_cache_s: float = setting(60.0, "s", "The same of a customer, who may be deleted meanwhile.", ge=0)


class MeteringSettings(Part):
    model_config = _prefix("METERING_")
    title = "Metering"

    poll_max_records: int = setting(500, "records", "Most records of usage that are counted in one transaction.", ge=1)
    poll_max_bytes: int = setting(
        8_000_000, "bytes", "No further record joins a transaction of so many bytes of usage.", ge=1
    )
    poll_timeout_ms: int = setting(200, "ms", "Longest wait of one poll for records.", ge=1)
    idle_transaction_timeout_ms: int = setting(
        3_000, "ms", "An aggregator that is frozen inside a transaction loses it, and its locks, after this.", ge=1
    )
    meters_max_age_ms: int = setting(1_000, "ms", "How soon an aggregator notices that a meter has changed.", ge=0)
    restart_backoff_ms: int = setting(500, "ms", "Pause before an aggregator that failed starts over.", ge=1)
    upkeep_interval_s: float = setting(
        3_600, "s", "How often ids and conflicts that nobody can ask for any more are removed, and blocks merged.", gt=0
    )
    probe_port: int = setting(0, "port", "Health and metrics; 0 takes a free one.", ge=0, le=65535)


class ProcessorSettings(Part):
    model_config = _prefix("PROCESSORS_")
    title = "Processors"

    batch_max_records: int = setting(500, "records", "Most records that Faust polls at once.", ge=1)
    batch_max_shares: int = setting(24, "partitions", "Most partitions' shares of polls in one batch.", ge=1)
    batch_within_ms: int = setting(100, "ms", "Longest wait for a batch to fill.", ge=1)
    attempts_max: int = setting(5, "tries", "Tries of one record before it is a dead letter.", ge=1)
    attempt_timeout_ms: int = setting(3_000, "ms", "Longest single try.", ge=1)
    attempt_backoff_ms: int = setting(100, "ms", "First pause between tries; doubles each time.", ge=1)
    stop_batch_ms: int = setting(15_000, "ms", "Longest time a batch may take to finish when asked to stop.", ge=1)
    work_poll_interval_ms: int = setting(250, "ms", "Pause between looks for due work.", ge=1)
    work_lease_ms: int = setting(30_000, "ms", "Due work not finished within its lease is somebody else's.", ge=1)
    work_batch_rows: int = setting(100, "rows", "Most due rows claimed at once.", ge=1)
    work_concurrency: int = setting(
        64, "rows", "Due work run at once, per kind; of it, an adapter calls its gateway for 32 at once.", ge=1
    )
    work_gather_ms: int = setting(5, "ms", "Pause before claiming, so that neighbours are claimed together.", ge=0)
    work_failures_max: int = setting(10, "runs", "Failed runs in a row after which due work is held.", ge=1)
    work_backoff_ms: int = setting(250, "ms", "First pause before due work is run again; doubles.", ge=1)
    work_backoff_max_ms: int = setting(30_000, "ms", "Longest such pause.", ge=1)
    usage_look_interval_ms: int = setting(
        500, "ms", "Pause between looks whether what was counted reaches a threshold.", ge=1
    )
    authentication_timeout_s: float = setting(
        86_400, "s", "How long a payment waits for its customer to authenticate before it is given up.", gt=0
    )
    refund_retry_backoff_ms: int = setting(
        60_000, "ms", "Pause before a failed refund of an unneeded capture is asked for again; doubles.", ge=1
    )
    refund_retry_backoff_max_ms: int = setting(21_600_000, "ms", "Longest such pause.", ge=1)
    refund_failures_max: int = setting(8, "refunds", "Failed refunds of an unneeded capture, then it is held.", ge=1)
    clock_slice_ms: int = setting(5_000, "ms", "A test clock advances in slices of this length.", ge=1)
    clock_batch_rows: int = setting(500, "rows", "Most due rows of a test clock run side by side.", ge=1)
    clock_settle_poll_ms: int = setting(25, "ms", "Pause between looks whether a test clock has settled.", ge=1)
    sweep_interval_s: float = setting(15.0, "s", "Pause before an unfinished saga is driven again.", gt=0)
    usage_look_interval_s: float = setting(
        60.0, "s", "Least pause between looks whether the usage of one subscription has reached its threshold.", gt=0
    )
    swept_window_s: float = setting(60.0, "s", "How far back health looks at who started sagas.", gt=0)
    swept_share_max: float = setting(
        0.25, "share", "Larger shares of sagas that the sweeper started are failing health.", ge=0, le=1
    )
    probe_port: int = setting(0, "port", "Health and metrics; 0 takes a free one.", ge=0, le=65535)


class ApiSettings(Part):
    model_config = _prefix("API_")
    title = "API"

    host: str = setting("127.0.0.1", "address", "Address that the API listens on.")
    port: int = setting(8080, "port", "Port that the API listens on; 0 takes a free one.", ge=0, le=65535)
    tls_certificate_file: Path | None = setting(
        None,
        "file",
        "Certificate in PEM, with those that lead to its root behind it. With it and its key the API speaks HTTPS and "
        "nothing else; renewed files are taken up without a restart.",
    )
    tls_key_file: Path | None = setting(
        None, "file", "Its private key in PEM, without a passphrase and closed to others (mode 0600)."
    )
    tls_min_version: Literal["1.2", "1.3"] = setting("1.2", "", "Oldest version of TLS that is spoken.")
    tls_handshake_timeout_s: float = setting(10.0, "s", "How long a handshake may take.", gt=0)
    tls_handshakes_max: int = setting(
        300, "handshakes", "Handshakes of the process at once; beyond, the oldest ends.", ge=1
    )
    tls_handshakes_per_address_max: int = setting(
        50, "handshakes", "Handshakes of one address at once; beyond, a new connection is closed.", ge=1
    )
    tls_check_s: float = setting(10.0, "s", "Pause between looks whether the files were renewed.", gt=0)
    tls_notice_days: int = setting(
        14, "days", "So long before its end `/health` and the log say that a certificate ends.", ge=0
    )
    hsts_max_age_s: int = setting(
        31_536_000, "s", "How long browsers ask by HTTPS alone, said by TLS only; 0: from now on no more.", ge=0
    )
    body_max_bytes: int = setting(1_048_576, "bytes", "Largest request body.", ge=1)
    url_max_bytes: int = setting(8_192, "bytes", "Longest path with its query.", ge=256)
    head_max_bytes: int = setting(32_768, "bytes", "Largest head of a request: its line and its headers.", ge=1_024)
    header_max_count: int = setting(100, "headers", "Most headers of a request.", ge=1)
    head_timeout_s: float = setting(10.0, "s", "How long a request's head may take to arrive.", gt=0)
    body_timeout_s: float = setting(30.0, "s", "How long a request's body may take to arrive.", gt=0)
    send_timeout_s: float = setting(30.0, "s", "How long a client may take nothing of an answer.", gt=0)
    idle_timeout_s: int = setting(75, "s", "How long a connection is kept open between requests.", ge=1)
    connections_max: int = setting(900, "connections", "Connections of the process; beyond, the idlest closes.", ge=1)
    connections_per_address_max: int = setting(300, "connections", "Connections of one address.", ge=1)
    unfinished_max: int = setting(300, "requests", "Unfinished requests of the process; beyond, the oldest ends.", ge=1)
    unfinished_per_address_max: int = setting(50, "requests", "Unfinished requests of one address.", ge=1)
    trusted_proxies: str = setting(
        "", "networks", "Proxies whose X-Forwarded-For is believed, such as `10.0.0.0/8,192.0.2.7`; none if empty."
    )
    cors_origins: str = setting(
        "",
        "origins",
        "Origins whose pages may ask with an API key or an access token, such as `https://shop.example.com`, several "
        "with commas, each without a slash at its end; never with a cookie.",
        pattern=rf"^({_ORIGIN}(, ?{_ORIGIN})*)?$",
    )
    bulk_side_by_side_max: int = setting(
        64, "commands", "Commands of one POST /v1/commands that are under way at once.", ge=1, le=1_000
    )
    bulk_answers_max_bytes: int = setting(
        16_777_216, "bytes", "Answers to one POST /v1/commands; beyond, a command's answer is left out of it.", ge=1
    )
    exports_max: int = setting(4, "exports", "Exports of the process at once; beyond, 503.", ge=1)
    exports_per_tenant_max: int = setting(2, "exports", "Exports of one tenant at once, of those.", ge=1)
    export_timeout_s: float = setting(900.0, "s", "How long an export may take, from its first row to its last.", gt=0)
    command_timeout_ms: int = setting(10_000, "ms", "Longest wait for a command's outcome.", ge=1)
    position_timeout_ms: int = setting(5_000, "ms", "Longest wait for Min-Ledger-Position; then 503.", ge=1)
    position_poll_ms: int = setting(10, "ms", "Pause between looks how far the read models have come.", ge=1)
    page_default_items: int = setting(20, "items", "Length of a list page when none is asked for.", ge=1)
    page_max_items: int = setting(100, "items", "Longest list page.", ge=1)
    anonymous_rate_per_min: int = setting(100, "requests/min", "Requests per address without a key.", ge=1)
    reads_per_hour: int = setting(
        3_600_000, "requests/h", "Reads of an API key or a user that has no limits of its own.", ge=1
    )
    writes_per_hour: int = setting(360_000, "requests/h", "Changes of an API key or a user, likewise.", ge=1)
    usage_requests_per_hour: int = setting(
        3_600_000, "requests/h", "Requests with usage events, of an API key or a user.", ge=1
    )
    admin_per_hour: int = setting(
        36_000, "requests/h", "What takes the scope `admin`, of an API key or a user, likewise.", ge=1
    )
    tenant_requests_per_hour: int = setting(
        7_200_000, "requests/h", "Requests of a tenant: of all its API keys, users and customers.", ge=1
    )
    log_ins_per_min: int = setting(
        10, "requests/min", "Tries to sign in, to register, to get a link for another password, of an address.", ge=1
    )
    limits_url: SecretStr | None = setting(
        None,
        "URL",
        "A Valkey or Redis server in which processes keep their rates, such as `redis://host:6379/0`; it takes the "
        "extra `redis`. Unset: in the database.",
    )
    limits_timeout_ms: int = setting(250, "ms", "Longest wait for shared rates; then a process keeps its own.", ge=1)
    limits_away_ms: int = setting(1_000, "ms", "So long it then keeps its own before it asks again.", ge=1)
    key_cache_s: float = setting(5.0, "s", "How long a checked API key is believed.", ge=0)
    key_cache_max_keys: int = setting(10_000, "keys", "Checked API keys kept in memory.", ge=1)
    rate_limit_max_names: int = setting(100_000, "names", "Addresses and keys whose request rates are kept.", ge=1)

    @property
    def scheme(self) -> Literal["http", "https"]:
        """What the API's own port speaks."""
        return "http" if self.tls_certificate_file is None else "https"

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for part in text.split(","):
            if part.strip():
                ip_network(part.strip())
        return text


class GatewaySettings(Part):
    model_config = _prefix("GATEWAY_")
    title = "Payment gateway"

    url: str | None = setting(None, "URL", "The sandbox gateway; unset: the one that `tallybook dev` starts.")
    host: str = setting("127.0.0.1", "address", "Address that the sandbox gateway listens on.")
    port: int = setting(8081, "port", "Port that the sandbox gateway listens on; 0 takes a free one.", ge=0, le=65535)
    api_key: SecretStr | None = setting(
        None, "", "Key that the sandbox gateway is shown and expects; required in production, else `sk_sandbox`."
    )
    webhook_secrets: SecretStr | None = setting(
        None, "whsec_…,…", "Secrets that the sandbox gateway's webhooks are checked with."
    )
    call_timeout_ms: int = setting(10_000, "ms", "A call silent for this long is unknown.", ge=1)
    calls_max: int = setting(32, "calls", "Calls to the gateway at once.", ge=1)


class TaxServiceSettings(Part):
    model_config = _prefix("TAX_SERVICE_")
    title = "Tax service"

    url: str | None = setting(
        None,
        "URL",
        "A tax service for tenants whose tax_calculator is `remote`; unset: the sandbox gateway, in production none.",
    )
    api_key: SecretStr | None = setting(None, "", "Key that the tax service is shown; required with `url`.")
    call_timeout_ms: int = setting(5_000, "ms", "Longest wait for a whole answer.", ge=1)
    calls_max: int = setting(16, "calls", "Calls to the tax service at once, per process.", ge=1)
    preview_timeout_ms: int = setting(3_000, "ms", "Longest wait for it in a preview; then 503.", ge=1)
    breaker_failures_max: int = setting(5, "calls", "Failures in a row after which it is left alone for a while.", ge=1)
    breaker_pause_ms: int = setting(10_000, "ms", "How long; then one call tries.", ge=1)
    unfit_answers_max: int = setting(
        5, "answers", "Answers in a row that cannot be taken, after which its invoice waits for a person.", ge=1
    )


class VaultSettings(Part):
    model_config = _prefix("VAULT_")
    title = "Vault for personal data"

    master_key: SecretStr | None = setting(
        None, "base64", "32 bytes that wrap each person's key; in development one is made in the data folder."
    )


class AuthSettings(Part):
    model_config = _prefix("AUTH_")
    title = "Users, sessions and tokens"

    public_url: str | None = setting(
        None,
        "URL",
        "Where people reach Tallybook, such as `https://billing.example.com`: links in mail begin so, and a browser's "
        "requests must come from there. Unset: the API's own address.",
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$",
    )
    registration: bool = setting(
        default=False, unit="", about="Whether strangers may register by themselves; else people are invited."
    )
    argon2_memory_kib: int = setting(19_456, "KiB", "Memory of hashing one password (argon2id).", ge=8_192)
    argon2_passes: int = setting(2, "passes", "Passes over that memory.", ge=1, le=20)
    hashing_threads: int = setting(1, "processes", "Passwords hashed at once.", ge=1, le=64)
    hashing_queue_max: int = setting(64, "passwords", "Passwords that wait for a process; then 503.", ge=0)
    hashing_per_s: float = setting(
        0.5, "passwords/s", "Passwords hashed in the long run by one process of the API; beyond, 503.", gt=0
    )
    hashing_burst: int = setting(30, "passwords", "As many at once where none came before.", ge=1)
    hashing_retry_after_s: int = setting(2, "s", "Retry-After of such a refusal.", ge=1)
    reset_lasts_s: int = setting(3_600, "s", "How long the link of a password's reset works.", ge=60)
    invitation_lasts_s: int = setting(604_800, "s", "How long an invitation works.", ge=60)
    verification_lasts_s: int = setting(86_400, "s", "How long the link that verifies an address works.", ge=60)
    session_idle_s: int = setting(604_800, "s", "A session that is not used for so long is over.", ge=60)
    session_max_s: int = setting(2_592_000, "s", "Longest session, however much it is used.", ge=60)
    refresh_grace_s: float = setting(
        10.0, "s", "So long after a rotation the refresh token before is answered with the current one.", ge=0, le=60
    )
    portal_link_s: int = setting(300, "s", "How long the link that lets a customer into the portal works.", ge=30)
    portal_session_s: int = setting(3_600, "s", "How long a customer stays in the portal.", ge=60, le=86_400)
    confirmed_s: int = setting(900, "s", "How long an entered password permits what is dangerous.", ge=1)
    account_failures: int = setting(5, "failures", "Failed log-ins of an account before it has to wait.", ge=1)
    address_failures: int = setting(20, "failures", "Failed log-ins from an address before it has to wait.", ge=1)
    lockout_first_s: float = setting(1.0, "s", "The first wait; doubles with each failure.", gt=0)
    lockout_max_s: float = setting(900.0, "s", "Longest wait: nobody is locked out for good.", gt=0)
    lockout_forget_s: float = setting(3_600.0, "s", "So long after the last wait failures count no more.", gt=0)
    issuer: str = setting("tallybook", "", "`iss` of access tokens.", min_length=1, max_length=200)
    audience: str = setting("tallybook-api", "", "`aud` of access tokens.", min_length=1, max_length=200)
    access_token_s: int = setting(3_600, "s", "How long an access token works.", ge=60, le=86_400)
    token_leeway_s: int = setting(30, "s", "Most that another's clock may differ in a token's times.", ge=0, le=300)
    token_max_chars: int = setting(4_096, "characters", "Longest access token that is looked at.", ge=1_024, le=16_384)
    signing_key_days: int = setting(90, "days", "How long a key signs access tokens.", ge=1)
    signing_key_notice_h: int = setting(24, "h", "How long a key is published before it signs.", ge=1)
    signing_keys_cache_s: float = setting(60.0, "s", "How long a process goes without looking for other keys.", ge=0)
    api_key_days: int = setting(
        90, "days", "When an API key ends that is made without an end; 0: when it is revoked.", ge=0, le=3_650
    )
    api_key_notice_days: int = setting(
        14, "days", "So long before its end an API key is told so, by the header Tallybook-Key-Expires.", ge=0
    )
    log_days: int = setting(400, "days", "How long the auth log is kept; it goes by the month.", ge=1)
    log_flush_ms: int = setting(1_000, "ms", "Pause between writes to the auth log.", ge=1)
    log_queue_max: int = setting(1_000, "rows", "Rows of the auth log that wait; beyond, they are dropped.", ge=1)
    key_use_every_s: float = setting(60.0, "s", "The use of an API key is written once in so long.", ge=0)
    foreign_issuers: str = setting(
        "",
        "issuer=file,…",
        "Issuers whose access tokens are believed, each with a file of its public keys (JWKS); nothing is fetched.",
    )
    foreign_issuers_look_s: float = setting(
        5.0, "s", "How long a process goes without looking whether a file of an issuer's keys has changed.", ge=0
    )


class MailSettings(Part):
    model_config = _prefix("MAIL_")
    title = "Mail"

    url: SecretStr | None = setting(
        None,
        "URL",
        "The mail server: `smtp://user:password@host:587` (STARTTLS) or `smtps://…:465`. Unset: files in the data "
        "folder's `mail`, in production no letters.",
    )
    sender: str = setting(
        "Tallybook <tallybook@localhost>", "", "Whom letters are from.", pattern=r"^[^\r\n]+@[^\r\n]+$"
    )
    timeout_s: float = setting(10.0, "s", "Longest silence of the mail server.", gt=0)


class DocumentSettings(Part):
    model_config = _prefix("DOCUMENTS_")
    title = "Documents"

    processes: int = setting(1, "processes", "Documents that an API process makes at once.", ge=1)
    queue_max: int = setting(16, "documents", "Documents that wait; beyond, 503 with Retry-After.", ge=0)
    timeout_ms: int = setting(10_000, "ms", "Longest wait for a document, with what waits before it; then 503.", ge=1)
    retry_after_s: int = setting(1, "s", "Retry-After of a document that there was no room for.", ge=1)
    link_s: int = setting(604_800, "s", "How long the link to an invoice's PDF works.", ge=60, le=31_536_000)


class TelemetrySettings(Part):
    model_config = _prefix("TELEMETRY_")
    title = "Telemetry"

    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "", "Least severe line that is logged.")
    log_format: Literal["json", "console"] = setting("json", "", "One JSON object per line, or lines for people.")
    probe_host: str = setting("127.0.0.1", "address", "Address of the health and metrics server of a role.")
    health_timeout_ms: int = setting(2_000, "ms", "Longest wait for a part's health; silence is not ready.", ge=1)
    health_fresh_ms: int = setting(250, "ms", "For so long an answer of the parts is given again.", ge=0)
    heartbeat_interval_ms: int = setting(
        2_000, "ms", "Pause between two heartbeats of a process, each with a look at its parts.", ge=1
    )
    heartbeat_silence_ms: int = setting(7_000, "ms", "A process silent for this long is shown as failing.", ge=1)
    heartbeat_forget_s: float = setting(120.0, "s", "A process silent for this long is no longer shown.", gt=0)
    stalled_ms: int = setting(
        10_000, "ms", "A part that has work and has not moved on for this long is shown as failing.", ge=1
    )


class SupervisorSettings(Part):
    model_config = _prefix("SUPERVISOR_")
    title = "Supervisor of role processes"

    restart_backoff_ms: int = setting(250, "ms", "Pause before a role that ended is started again; doubles.", ge=1)
    restart_backoff_max_ms: int = setting(10_000, "ms", "Longest such pause.", ge=1)
    restarts_max: int = setting(20, "restarts", "Restarts of one process in the window before giving up.", ge=0)
    restart_window_s: float = setting(60.0, "s", "Window in which restarts are counted.", gt=0)
    ready_timeout_s: float = setting(
        60.0, "s", "How long a role may take to answer, and from then on to become ready.", gt=0
    )
    watch_interval_ms: int = setting(2_000, "ms", "Pause between two looks at servers and roles in `dev`.", ge=1)
    watch_timeout_ms: int = setting(5_000, "ms", "A server or role silent for this long does not answer.", ge=1)
    log_max_bytes: int = setting(20_000_000, "bytes", "A role's log file is rolled over at start beyond this.", ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All parts. `Settings()` reads the environment; a part given by hand is taken as it is."""

    general: GeneralSettings = field(default_factory=GeneralSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    writer: WriterSettings = field(default_factory=WriterSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    projections: ProjectionSettings = field(default_factory=ProjectionSettings)
    usage: UsageSettings = field(default_factory=UsageSettings)
    metering: MeteringSettings = field(default_factory=MeteringSettings)
    processors: ProcessorSettings = field(default_factory=ProcessorSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    tax_service: TaxServiceSettings = field(default_factory=TaxServiceSettings)
    vault: VaultSettings = field(default_factory=VaultSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    mail: MailSettings = field(default_factory=MailSettings)
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    supervisor: SupervisorSettings = field(default_factory=SupervisorSettings)


PARTS: tuple[type[Part], ...] = (
    GeneralSettings,
    DatabaseSettings,
    KafkaSettings,
    WriterSettings,
    RelaySettings,
    ProjectionSettings,
    UsageSettings,
    MeteringSettings,
    ProcessorSettings,
    ApiSettings,
    GatewaySettings,
    TaxServiceSettings,
    VaultSettings,
    AuthSettings,
    MailSettings,
    DocumentSettings,
    TelemetrySettings,
    SupervisorSettings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One line of the documented table."""

    part: str
    variable: str
    default: str
    unit: str
    about: str


def setting_rows() -> Iterator[SettingRow]:
    """Yield every setting in the order of the classes, with its variable, default, unit and meaning."""
    for part in PARTS:
        prefix = str(part.model_config.get("env_prefix", PREFIX))
        for name, info in part.model_fields.items():
            extra = info.json_schema_extra
            default = info.default
            yield SettingRow(
                part=part.title,
                variable=prefix + name.upper(),
                default="" if default is None else str(default),
                unit=str(extra.get("unit", "")) if isinstance(extra, dict) else "",
                about=f"{info.description or ''}{_choices(info.annotation)}",
            )


def _choices(annotation: object) -> str:
    """The values of a setting that has only so many of them."""
    return f" One of {', '.join(map(str, get_args(annotation)))}." if get_origin(annotation) is Literal else ""


def settings_markdown() -> str:
    """Return the documented table as Markdown, for docs/."""
    lines: list[str] = []
    part = ""
    for row in setting_rows():
        if row.part != part:
            part = row.part
            lines += ["", f"## {part}", "", "| variable | default | unit | meaning |", "|---|---|---|---|"]
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.variable}` | {default} | {row.unit} | {row.about} |")
    return "\n".join(lines).lstrip("\n") + "\n"


def load_settings() -> Settings:
    """Read and check all settings; SettingsError names every variable that is wrong or unknown."""
    known = {row.variable for row in setting_rows()}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`tallybook settings` lists all of them."
            raise SettingsError(f"{name} is not a setting of Tallybook; {hint}")
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    prefixes = {part.__name__: str(part.model_config.get("env_prefix", PREFIX)) for part in PARTS}
    prefix = prefixes.get(error.title, PREFIX)
    about = {row.variable: row.about for row in setting_rows()}
    told: list[str] = []
    for each in error.errors():
        variable = f"{prefix}{'_'.join(map(str, each['loc'])).upper()}"
        # The input is left out on purpose: it may be a secret. A pattern tells a person less than what is meant.
        is_form = each["type"] == "string_pattern_mismatch"
        told.append(f"{variable} is not of its form: {about[variable]}" if is_form else f"{variable}: {each['msg']}")
    return "; ".join(told)


def data_dir(settings: Settings) -> Path:
    """Return the data folder as an absolute path, made if it is missing.

    Mode 0711: the database's own user passes through it to its folder; what is secret in it has mode 0600 or 0700.
    """
    folder = data_path(settings)
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}DATA_DIR is {folder}, which cannot be made a folder: {error.strerror}. Name another one."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsError(
            f"{PREFIX}DATA_DIR is {folder}, in which nothing can be written. Give it to this user, or name another one."
        )
    return folder


def data_path(settings: Settings) -> Path:
    """Return the data folder's absolute path, and make nothing: for those who only look."""
    return settings.general.data_dir.expanduser().absolute()


def cache_dir(settings: Settings) -> Path:
    """Return the folder of checked downloads. Root's own cache is closed to the server's user, so root has another."""
    configured = settings.general.cache_dir
    if configured is not None:
        return configured.expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/tallybook")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tallybook"


def vault_master_key(settings: Settings) -> bytes:
    """Return the 32-byte key that wraps personal keys.

    Outside production a missing one is generated once into the data folder, with mode 0600. Losing that file loses
    every name and address, by design; production therefore never makes one up.
    """
    configured = settings.vault.master_key
    if configured is not None:
        return _decode_master_key(configured.get_secret_value(), f"{PREFIX}VAULT_MASTER_KEY")
    if settings.general.environment == "production":
        raise SettingsError(
            f"{PREFIX}VAULT_MASTER_KEY is not set. Make one with `openssl rand -base64 32`, keep it safe, and set it."
        )
    path = data_dir(settings) / MASTER_KEY_FILE
    if not path.exists():
        write_secret_once(path, base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode("ascii"))
    return _decode_master_key(path.read_text(encoding="ascii"), str(path))


def gateway_api_key(settings: Settings) -> str:
    """Return the sandbox gateway's key. Raises SettingsError in production, where none is taken for granted."""
    configured = settings.gateway.api_key
    if configured is not None:
        return configured.get_secret_value()
    if settings.general.environment == "production":
        raise SettingsError(
            f"{PREFIX}GATEWAY_API_KEY is not set. Set the same for the gateway, the API and the processors: the output "
            "of `openssl rand -hex 16`."
        )
    return SANDBOX_API_KEY


def tax_service_api_key(settings: Settings) -> str:
    """Return the tax service's key. Raises SettingsError where its address is set without one."""
    configured = settings.tax_service.api_key
    if configured is None:
        raise SettingsError(
            f"{PREFIX}TAX_SERVICE_API_KEY is not set. Set the key that the service at {PREFIX}TAX_SERVICE_URL wants."
        )
    return configured.get_secret_value()


def write_secret_once(path: Path, text: str) -> None:
    """Write a secret with mode 0600 unless the file is there: of processes that start at once, one wins, all agree."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and refuses to replace: nobody ever reads half a key.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _decode_master_key(text: str, source: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise SettingsError(f"{source} is not base64.") from error
    if len(key) != MASTER_KEY_BYTES:
        raise SettingsError(f"{source} must hold {MASTER_KEY_BYTES} bytes in base64; it holds {len(key)}.")
    return key
