"""The gateway's own record: one SQLite file with a write-ahead log, written by one process.

All that arrives in one turn of the event loop shares a transaction, and no answer leaves before its commit. A commit
is a write to the operating system, so a killed process loses nothing that was answered; a power cut may lose the last
moments, but leaves the file whole (synchronous=NORMAL).
"""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCHEMA_VERSION = 1

OPEN_TIMEOUT_S = 1.0
"""How long another process may take to let go of the file, as one that is being stopped does."""

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE payments (
    seq INTEGER PRIMARY KEY,
    reference TEXT NOT NULL,
    customer TEXT NOT NULL,
    description TEXT NOT NULL,
    token TEXT NOT NULL,
    method_seq INTEGER,
    manual_capture INTEGER NOT NULL,
    status TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    captured INTEGER NOT NULL CHECK (captured BETWEEN 0 AND amount),
    refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    currency TEXT NOT NULL,
    fee INTEGER NOT NULL,
    decline_code TEXT,
    created_ms INTEGER NOT NULL,
    settle_ms INTEGER
);
CREATE INDEX payments_reference ON payments (reference);
CREATE INDEX payments_settling ON payments (settle_ms) WHERE settle_ms IS NOT NULL;
CREATE TABLE refunds (
    seq INTEGER PRIMARY KEY,
    reference TEXT NOT NULL,
    payment_seq INTEGER NOT NULL REFERENCES payments (seq),
    status TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    decline_code TEXT,
    created_ms INTEGER NOT NULL,
    settle_ms INTEGER
);
CREATE INDEX refunds_reference ON refunds (reference);
CREATE INDEX refunds_settling ON refunds (settle_ms) WHERE settle_ms IS NOT NULL;
CREATE TABLE disputes (
    seq INTEGER PRIMARY KEY,
    payment_seq INTEGER NOT NULL REFERENCES payments (seq),
    reference TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    fee INTEGER NOT NULL,
    evidence TEXT NOT NULL DEFAULT '',
    evidence_due_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
);
CREATE INDEX refunds_payment ON refunds (payment_seq);
CREATE INDEX disputes_payment ON disputes (payment_seq);
CREATE TABLE payouts (
    seq INTEGER PRIMARY KEY,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    gross INTEGER NOT NULL,
    fees INTEGER NOT NULL,
    transactions INTEGER NOT NULL,
    after_transaction INTEGER NOT NULL,
    through_transaction INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
);
CREATE TABLE transactions (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    object_seq INTEGER NOT NULL,
    reference TEXT,
    amount INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    currency TEXT NOT NULL,
    created_ms INTEGER NOT NULL
);
CREATE TABLE methods (
    seq INTEGER PRIMARY KEY,
    token TEXT NOT NULL,
    customer TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    deleted_ms INTEGER
);
CREATE TABLE tries (subject TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL, created_ms INTEGER NOT NULL);
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    event_seq INTEGER NOT NULL REFERENCES events (seq),
    due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX deliveries_due ON deliveries (due_ms);
"""

Row = tuple[int | str | bytes | None, ...]


class StoreNotReadable(Exception):
    """The file is not a store of this version; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered under an idempotency key."""

    fingerprint: bytes
    status: int
    body: bytes
    created_ms: int


class Store:
    """The connection, the batch that is open on it, and the gateway's clock."""

    def __init__(self, path: Path, *, cache_bytes: int, checkpoint_pages: int) -> None:
        try:
            self._connection = sqlite3.connect(
                path, timeout=OPEN_TIMEOUT_S, isolation_level=None, cached_statements=256
            )
        except sqlite3.OperationalError as error:
            raise StoreNotReadable(f"{path}: {error}: does its folder exist, and may it be written?") from error
        self.execute = self._connection.execute
        self.in_batch = False
        try:
            self._prepare(cache_bytes, checkpoint_pages)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            cause = "another gateway has it open" if locked else f"{error}: name another file or remove this one"
            raise StoreNotReadable(f"{path}: {cause}") from error
        except StoreNotReadable:
            self._connection.close()
            raise
        self.incarnation = self._fact("incarnation") or self._new_incarnation()
        self._last_ms = self._latest_ms()

    def _prepare(self, cache_bytes: int, checkpoint_pages: int) -> None:
        # Exclusive: a second server on the same file is refused, and the lock is not taken anew for every batch.
        self.execute("PRAGMA locking_mode=EXCLUSIVE")
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")
        self.execute(f"PRAGMA cache_size={-(cache_bytes // 1024)}")
        self.execute(f"PRAGMA wal_autocheckpoint={checkpoint_pages}")
        (version,) = self.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise StoreNotReadable(f"a store of version {version}, this gateway reads {SCHEMA_VERSION}: remove it")

    def _new_incarnation(self) -> str:
        """A mark in all ids, so that a store made anew never repeats the ids of the one before."""
        mark = secrets.token_hex(4)
        self.keep_fact("incarnation", mark)
        return mark

    def _latest_ms(self) -> int:
        (latest,) = self.execute(
            "SELECT max("
            " coalesce((SELECT created_ms FROM transactions ORDER BY seq DESC LIMIT 1), 0),"
            " coalesce((SELECT created_ms FROM events ORDER BY seq DESC LIMIT 1), 0))"
        ).fetchone()
        return int(latest)

    def now_ms(self) -> int:
        """Unix milliseconds that never run backwards: the order of numbers is the order of times."""
        self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000)
        return self._last_ms

    # ── batches ──

    def begin(self) -> None:
        """Open the batch."""
        self.execute("BEGIN IMMEDIATE")
        self.in_batch = True

    def commit(self) -> None:
        """Make the batch durable. Raises sqlite3.Error, and then nothing of it was kept."""
        self.execute("COMMIT")
        self.in_batch = False

    def roll_back(self) -> None:
        """Forget the batch."""
        self.in_batch = False
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._connection.close()

    # ── small things ──

    def insert(self, statement: str, values: Row) -> int:
        """Run an INSERT; returns the number of the new row."""
        number = self.execute(statement, values).lastrowid
        assert number is not None
        return number

    def _fact(self, name: str) -> str | None:
        row = self.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def fact(self, name: str) -> str | None:
        """A setting kept through restarts."""
        return self._fact(name)

    def keep_fact(self, name: str, value: str) -> None:
        self.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def name_of(self, prefix: str, seq: int) -> str:
        """The id that clients see of row `seq`: prefix, incarnation, number."""
        return f"{prefix}_{self.incarnation}_{seq}"

    def seq_of(self, prefix: str, name: str) -> int | None:
        """The row that an id names, or None for an id that this store never gave out."""
        start = f"{prefix}_{self.incarnation}_"
        digits = name.removeprefix(start)
        if not name.startswith(start) or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            return None
        return int(digits)

    # ── idempotency ──

    def answer(self, key: str) -> StoredAnswer | None:
        """What was answered under `key`, however old."""
        row = self.execute("SELECT fingerprint, status, body, created_ms FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else StoredAnswer(*row)

    def keep_answer(self, key: str, answer: StoredAnswer) -> None:
        self.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (key, answer.fingerprint, answer.status, answer.body, answer.created_ms),
        )

    def forget_answers_before(self, before_ms: int) -> int:
        """Drop the answers of keys past their retention; returns how many."""
        return self.execute("DELETE FROM answers WHERE created_ms < ?", (before_ms,)).rowcount

    def count_try(self, subject: str) -> int:
        """Count one more try of `subject`; returns how many came before it."""
        (count,) = self.execute(
            "INSERT INTO tries VALUES (?, 1) ON CONFLICT (subject) DO UPDATE SET count = count + 1 RETURNING count",
            (subject,),
        ).fetchone()
        return int(count) - 1

    # ── the balance ──

    def add_transaction(
        self, kind: str, object_seq: int, reference: str | None, amount: int, fee: int, currency: str, now_ms: int
    ) -> int:
        """Write a movement: `amount` is signed, `fee` is taken off as well."""
        return self.insert(
            "INSERT INTO transactions (kind, object_seq, reference, amount, fee, currency, created_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (kind, object_seq, reference, amount, fee, currency, now_ms),
        )

    def transactions(self, start_ms: int, end_ms: int, after_seq: int, rows_max: int) -> Iterator[Row]:
        """Movements in [start, end) behind `after_seq`, in order."""
        yield from self.execute(
            "SELECT seq, kind, object_seq, reference, amount, fee, currency, created_ms FROM transactions"
            " WHERE seq > ? AND created_ms < ? ORDER BY seq LIMIT ?",
            (max(after_seq, self._last_transaction_before(start_ms)), end_ms, rows_max),
        )

    def _last_transaction_before(self, start_ms: int) -> int:
        """The last number older than `start_ms`: found by halving, because numbers and times rise together."""
        (highest,) = self.execute("SELECT coalesce(max(seq), 0) FROM transactions").fetchone()
        low, high = 0, int(highest)
        while low < high:
            middle = (low + high + 1) // 2
            (created_ms,) = self.execute("SELECT created_ms FROM transactions WHERE seq = ?", (middle,)).fetchone()
            if created_ms < start_ms:
                low = middle
            else:
                high = middle - 1
        return low
