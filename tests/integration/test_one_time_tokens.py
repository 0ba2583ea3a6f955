"""Tokens that are used once: by one of twenty, for one purpose, in time, from the newest letter."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from infra.identity.keyring import Keyring, email_index
from infra.identity.one_time_tokens import Grant, Purpose
from testing.credentials import DAY, MASTER_KEY, NOW, SECOND, USER, Credentials, open_credentials
from testing.services import FreshDatabase

RESET = Grant(purpose=Purpose.RESET_PASSWORD, subject_id=USER)
ADA = email_index(Keyring(MASTER_KEY), "Ada@Example.com ")
INVITATION = Grant(
    purpose=Purpose.INVITATION, subject_id="inv_1", tenant_id="acme", role="billing_admin", email_index=ADA
)


@pytest.fixture
async def credentials(database: FreshDatabase) -> AsyncIterator[Credentials]:
    async with open_credentials(database.dsn) as opened:
        yield opened


async def test_of_twenty_uses_at_once_one_gets_it(database: FreshDatabase) -> None:
    async with open_credentials(database.dsn) as one, open_credentials(database.dsn) as other:
        for purpose in Purpose:
            token = await one.one_time.make(Grant(purpose=purpose, subject_id=USER), lasts=DAY, now=NOW)
            found = await asyncio.gather(
                *(process.one_time.use(token, purpose, NOW) for _ in range(10) for process in (one, other))
            )
            assert sum(each is not None for each in found) == 1


async def test_a_token_is_good_until_its_end(credentials: Credentials) -> None:
    token = await credentials.one_time.make(RESET, lasts=DAY, now=NOW)
    assert await credentials.one_time.look(token, Purpose.RESET_PASSWORD, NOW + DAY - SECOND) == RESET
    assert await credentials.one_time.look(token, Purpose.RESET_PASSWORD, NOW + DAY) is None
    assert await credentials.one_time.use(token, Purpose.RESET_PASSWORD, NOW + DAY) is None
    assert await credentials.one_time.use(token, Purpose.RESET_PASSWORD, NOW + DAY - SECOND) == RESET
    assert await credentials.one_time.look(token, Purpose.RESET_PASSWORD, NOW) is None


async def test_a_token_is_good_for_one_purpose(credentials: Credentials) -> None:
    token = await credentials.one_time.make(RESET, lasts=DAY, now=NOW)
    for purpose in set(Purpose) - {Purpose.RESET_PASSWORD}:
        assert await credentials.one_time.use(token, purpose, NOW) is None
    assert await credentials.one_time.use(token, Purpose.RESET_PASSWORD, NOW) == RESET


async def test_an_invitation_is_bound_to_its_address_and_role(credentials: Credentials) -> None:
    token = await credentials.one_time.make(INVITATION, lasts=DAY, now=NOW)
    eve = email_index(Keyring(MASTER_KEY), "eve@example.com")
    assert await credentials.one_time.use(token, Purpose.INVITATION, NOW, email_index=eve) is None
    # Told as Ada types it, and with the role of the invitation, whatever the request may say.
    typed = email_index(Keyring(MASTER_KEY), "ada@EXAMPLE.com")
    assert await credentials.one_time.use(token, Purpose.INVITATION, NOW, email_index=typed) == INVITATION


async def test_only_the_newest_letter_works_however_many_are_asked_for_at_once(credentials: Credentials) -> None:
    tokens = await asyncio.gather(*(credentials.one_time.make(RESET, lasts=DAY, now=NOW) for _ in range(20)))
    found = [await credentials.one_time.use(token, Purpose.RESET_PASSWORD, NOW) for token in tokens]
    assert sum(each is not None for each in found) == 1


async def test_of_letters_that_are_asked_for_at_once_one_goes_out_until_a_pause_is_over(
    credentials: Credentials,
) -> None:
    async def asked(now: datetime) -> str | None:
        return await credentials.one_time.make_after_pause(RESET, lasts=DAY, now=now, pause=60 * SECOND)

    found = await asyncio.gather(*(asked(NOW) for _ in range(20)))
    (first,) = [token for token in found if token is not None]
    assert await asked(NOW + 59 * SECOND) is None
    assert await credentials.one_time.look(first, Purpose.RESET_PASSWORD, NOW) == RESET
    assert await asked(NOW + 60 * SECOND) is not None
    assert await credentials.one_time.look(first, Purpose.RESET_PASSWORD, NOW) is None


async def test_another_users_token_stays(credentials: Credentials) -> None:
    other = Grant(purpose=Purpose.RESET_PASSWORD, subject_id="usr_other")
    theirs = await credentials.one_time.make(other, lasts=DAY, now=NOW)
    mine = await credentials.one_time.make(RESET, lasts=DAY, now=NOW)
    invited = await credentials.one_time.make(INVITATION, lasts=DAY, now=NOW)
    await credentials.one_time.withdraw(USER, Purpose.RESET_PASSWORD, Purpose.INVITATION)
    assert await credentials.one_time.use(mine, Purpose.RESET_PASSWORD, NOW) is None
    assert await credentials.one_time.use(theirs, Purpose.RESET_PASSWORD, NOW) == other
    assert await credentials.one_time.use(invited, Purpose.INVITATION, NOW) == INVITATION


async def test_what_has_not_the_form_of_a_token_is_none(credentials: Credentials) -> None:
    token = await credentials.one_time.make(RESET, lasts=DAY, now=NOW)
    for forged in ("", token[:-1], token + "a", token.upper(), token + "\n", "a" * 1_000_000, "é" * 52):
        assert await credentials.one_time.use(forged, Purpose.RESET_PASSWORD, NOW) is None


async def test_old_ones_are_dropped(credentials: Credentials) -> None:
    await credentials.one_time.make(RESET, lasts=DAY, now=NOW)
    await credentials.one_time.make(INVITATION, lasts=7 * DAY, now=NOW)
    await credentials.one_time.forget_old(NOW + 2 * DAY)
    assert await credentials.pool.fetchval("SELECT array_agg(purpose) FROM access.one_time_tokens") == ["invitation"]
