"""Holds guessing back: failed log-ins are counted in the database, by account and by address.

An attempt is counted before the password is looked at, and taken back when it was right: however many come at once, by
however many processes, no more of them are compared than may fail. What is counted is a keyed hash of the address
typed, so unknown accounts are held back like known ones and nobody reads here who tried where.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.identity.addresses import normalized_address
from domain.identity.lockout import LockoutLimits, network_of, waits
from infra.database import Pool
from infra.identity.keyring import Keyring, Use

_NOW: Final = "$3::timestamptz"
_FORGOTTEN_AFTER: Final = "$4::interval"
_WAITS: Final = "($5::interval[])"
_COUNTED: Final = f"""
    INSERT INTO access.log_in_failures AS f (subject, failures, free_at)
    {{source}}
    ON CONFLICT (subject) DO UPDATE SET
        failures = CASE WHEN f.free_at + {_FORGOTTEN_AFTER} <= {_NOW} THEN 1 ELSE f.failures + 1 END,
        free_at = {_NOW} + coalesce({_WAITS}[least(
            CASE WHEN f.free_at + {_FORGOTTEN_AFTER} <= {_NOW} THEN 1 ELSE f.failures + 1 END - {{free}} + 1,
            cardinality({_WAITS}))], '0')
        WHERE f.free_at <= {_NOW}
    RETURNING f.subject
"""
_FIRST: Final = f"1, {_NOW} + CASE WHEN {{free}} <= 1 THEN {_WAITS}[1] ELSE '0' END"
_ACCOUNT_FREE: Final = "$6::integer"
_ADDRESS_FREE: Final = "$7::integer"
# One statement: a row that another attempt is counting is waited for, and looked at as that one left it. The address
# comes first, so that whoever is held back there cannot go on counting up other people's accounts.
_ATTEMPT: Final = f"""
WITH address AS ({
    _COUNTED.format(source=f"SELECT $1::bytea, {_FIRST.format(free=_ADDRESS_FREE)}", free=_ADDRESS_FREE)
}), account AS ({
    _COUNTED.format(source=f"SELECT $2::bytea, {_FIRST.format(free=_ACCOUNT_FREE)} FROM address", free=_ACCOUNT_FREE)
})
SELECT EXISTS (SELECT FROM address) AS address, EXISTS (SELECT FROM account) AS account
"""  # noqa: S608  from this file
_FREE_AT: Final = "SELECT max(free_at) FROM access.log_in_failures WHERE subject = ANY ($1)"
# An attempt's address is given it back, and no more: otherwise whoever has an account here could guess at others' for
# ever. Rows are locked in the order in which an attempt locks them.
_GIVEN_BACK: Final = """
WITH address AS (
    UPDATE access.log_in_failures SET failures = greatest(failures - 1, 0), free_at = $3 WHERE subject = $1
    RETURNING true
)
"""
_SUCCEEDED: Final = f"""{_GIVEN_BACK}
DELETE FROM access.log_in_failures WHERE subject = $2 AND (SELECT count(*) FROM address) >= 0
"""  # noqa: S608  from this file
_NOT_COMPARED: Final = f"""{_GIVEN_BACK}
UPDATE access.log_in_failures SET failures = greatest(failures - 1, 0), free_at = $3
WHERE subject = $2 AND (SELECT count(*) FROM address) >= 0
"""  # noqa: S608  from this file


class LogInHeldBack(Exception):
    """Too many log-ins failed: try again after `retry_after_s`. The same for accounts that are there and are not."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"too many log-ins failed; retry after {retry_after_s} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A log-in that may go on, and counts as failed until it is said to have succeeded."""

    address: bytes
    account: bytes


class LogInAttempts:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring, limits: LockoutLimits) -> None:
        self._pool = pool
        self._keyring = keyring
        self._limits = limits
        self._waits = list(waits(limits))

    async def begin(self, email: str, address: str, now: datetime) -> Attempt:
        """Count an attempt on an account, by the e-mail address typed, from an IP address. Raises LogInHeldBack."""
        attempt = Attempt(
            address=self._keyring.mac(Use.LOCKOUT, "address", network_of(address)),
            account=self._keyring.mac(Use.LOCKOUT, "account", normalized_address(email)),
        )
        limits = self._limits
        row = await self._pool.fetchrow(
            _ATTEMPT,
            attempt.address,
            attempt.account,
            now,
            limits.forgotten_after,
            self._waits,
            limits.account_failures,
            limits.address_failures,
        )
        assert row is not None, "it is a query without a FROM"
        if row["address"] and row["account"]:
            return attempt
        held = attempt.account if row["address"] else attempt.address
        free_at: datetime | None = await self._pool.fetchval(_FREE_AT, [held])
        raise LogInHeldBack(max(1, math.ceil(((free_at or now) - now) / timedelta(seconds=1))))

    async def succeeded(self, attempt: Attempt, now: datetime) -> None:
        """The password was right: the account starts over."""
        await self._pool.execute(_SUCCEEDED, attempt.address, attempt.account, now)

    async def not_compared(self, attempt: Attempt, now: datetime) -> None:
        """The password was not looked at (`HashingBusy`): the attempt counts for nothing."""
        await self._pool.execute(_NOT_COMPARED, attempt.address, attempt.account, now)

    async def forget_old(self, now: datetime) -> None:
        """Drop what counts no more."""
        query = "DELETE FROM access.log_in_failures WHERE free_at + $2 <= $1"
        await self._pool.execute(query, now, self._limits.forgotten_after)
