"""Guessing is held back: by account and by address, across processes, never for good, for unknown accounts too."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from domain.identity.lockout import wait_after
from infra.identity.limits import lockout_limits
from infra.identity.log_in_attempts import Attempt, LogInHeldBack
from infra.settings import AuthSettings
from testing.credentials import DAY, NOW, SECOND, Credentials, open_credentials
from testing.services import FreshDatabase

LIMITS = lockout_limits(AuthSettings())
ADA = "ada@example.com"
HOUR = timedelta(hours=1)


@pytest.fixture
async def credentials(database: FreshDatabase) -> AsyncIterator[Credentials]:
    async with open_credentials(database.dsn) as opened:
        yield opened


async def tried(credentials: Credentials, email: str, address: str, now: datetime) -> Attempt | int:
    """The attempt, or the seconds to wait."""
    try:
        return await credentials.attempts.begin(email, address, now)
    except LogInHeldBack as held:
        return held.retry_after_s


async def test_five_failures_of_an_account_are_free_and_waits_double_from_there(credentials: Credentials) -> None:
    now = NOW
    for failures in range(1, 19):
        attempt = await tried(credentials, ADA, f"192.0.2.{failures}", now)
        assert isinstance(attempt, Attempt)
        wait = wait_after(failures, 5, LIMITS)
        if wait:
            too_early = now + wait - timedelta(milliseconds=1)
            assert await tried(credentials, ADA, f"198.51.100.{failures}", now) == wait / SECOND
            assert await tried(credentials, ADA, f"198.51.100.{failures}", too_early) == 1
        now += wait
    assert wait_after(18, 5, LIMITS) == timedelta(minutes=15)


async def test_twenty_failures_of_an_address_hold_it_back_from_every_account(credentials: Credentials) -> None:
    for number in range(20):
        assert isinstance(await tried(credentials, f"user{number}@example.com", "192.0.2.7", NOW), Attempt)
    assert await tried(credentials, "another@example.com", "192.0.2.7", NOW) == 1
    assert isinstance(await tried(credentials, "another@example.com", "192.0.2.8", NOW), Attempt)
    # IPv6: whoever has a network has more addresses than anybody can count.
    for number in range(20):
        assert isinstance(await tried(credentials, f"six{number}@example.com", f"2001:db8::{number:x}", NOW), Attempt)
    assert await tried(credentials, "another@example.com", "2001:db8::ffff", NOW) == 1


async def test_an_address_that_is_held_back_does_not_lock_others_accounts(credentials: Credentials) -> None:
    for number in range(20):
        await tried(credentials, f"user{number}@example.com", "192.0.2.7", NOW)
    for _ in range(50):
        assert await tried(credentials, ADA, "192.0.2.7", NOW) == 1
    assert isinstance(await tried(credentials, ADA, "192.0.2.9", NOW), Attempt)


async def test_guesses_at_once_from_everywhere_by_two_processes_are_compared_no_more_than_five_times(
    database: FreshDatabase,
) -> None:
    async with open_credentials(database.dsn) as one, open_credentials(database.dsn) as other:

        async def storm(now: datetime) -> int:
            found = await asyncio.gather(
                *(
                    tried(process, ADA, f"10.{place}.{number}.1", now)
                    for number in range(30)
                    for place, process in enumerate((one, other))
                )
            )
            return sum(isinstance(each, Attempt) for each in found)

        assert await storm(NOW) == 5
        assert await storm(NOW + SECOND / 2) == 0
        assert await storm(NOW + SECOND) == 1
        assert await storm(NOW + 2 * SECOND) == 0
        assert await storm(NOW + 3 * SECOND) == 1


async def test_a_success_starts_the_account_over_and_gives_the_address_one_attempt_back(
    credentials: Credentials,
) -> None:
    for _ in range(4):
        await credentials.attempts.begin(ADA, "192.0.2.7", NOW)
    await credentials.attempts.succeeded(await credentials.attempts.begin(ADA, "192.0.2.7", NOW), NOW)
    for _ in range(5):
        assert isinstance(await tried(credentials, ADA, "192.0.2.7", NOW), Attempt)
    assert await tried(credentials, ADA, "192.0.2.7", NOW) == 1
    # 4 failures, a success, 5 failures and one that was held back by the account: ten more are free.
    for number in range(10):
        assert isinstance(await tried(credentials, f"user{number}@example.com", "192.0.2.7", NOW), Attempt)
    assert await tried(credentials, "another@example.com", "192.0.2.7", NOW) == 1


async def test_an_attempt_whose_password_was_not_compared_counts_for_nothing(credentials: Credentials) -> None:
    for _ in range(4):
        await credentials.attempts.begin(ADA, "192.0.2.7", NOW)
    for _ in range(30):
        await credentials.attempts.not_compared(await credentials.attempts.begin(ADA, "192.0.2.7", NOW), NOW)
    assert isinstance(await tried(credentials, ADA, "192.0.2.7", NOW), Attempt)
    assert await tried(credentials, ADA, "192.0.2.7", NOW) == 1


async def test_an_account_of_ones_own_does_not_buy_guesses_at_others(credentials: Credentials) -> None:
    guesses = 0
    for number in range(100):
        mine = await tried(credentials, "eve@example.com", "192.0.2.7", NOW)
        if isinstance(mine, Attempt):
            await credentials.attempts.succeeded(mine, NOW)
        guesses += isinstance(await tried(credentials, f"user{number}@example.com", "192.0.2.7", NOW), Attempt)
    assert guesses == 20


async def test_nobody_is_locked_out_for_good_and_old_failures_are_forgotten(credentials: Credentials) -> None:
    now = NOW
    for failures in range(1, 40):
        await credentials.attempts.begin(ADA, f"192.0.2.{failures}", now)
        now += wait_after(failures, 5, LIMITS)
    assert isinstance(await tried(credentials, ADA, "198.51.100.1", now), Attempt)
    later = now + timedelta(minutes=15) + HOUR
    for _ in range(5):
        assert isinstance(await tried(credentials, ADA, "198.51.100.2", later), Attempt)
    assert await tried(credentials, ADA, "198.51.100.2", later) == 1
    await credentials.attempts.forget_old(later + DAY)
    assert await credentials.pool.fetchval("SELECT count(*) FROM access.log_in_failures") == 0


async def test_one_account_is_one_however_its_address_is_typed(credentials: Credentials) -> None:
    for typed in ("ada@example.com", "ADA@example.com", " ada@example.com ", "Ada@Example.COM", "aDa@example.com"):
        await credentials.attempts.begin(typed, "192.0.2.7", NOW)
    assert await tried(credentials, ADA, "192.0.2.8", NOW) == 1


async def test_a_limit_of_one_failure_makes_the_second_attempt_wait(database: FreshDatabase) -> None:
    async with open_credentials(database.dsn, AuthSettings(account_failures=1)) as credentials:
        assert isinstance(await tried(credentials, ADA, "192.0.2.7", NOW), Attempt)
        assert await tried(credentials, ADA, "192.0.2.7", NOW) == 1
        assert isinstance(await tried(credentials, ADA, "192.0.2.7", NOW + SECOND), Attempt)
        assert await tried(credentials, ADA, "192.0.2.7", NOW + SECOND) == 2
