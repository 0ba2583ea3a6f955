"""Signing keys in the database: rotation by two processes, through kills, and by hand; what others may read of them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.identity.key_rotation import KeyState
from infra.clock import system_clock
from infra.identity.access_tokens import AccessToken, InvalidToken
from infra.identity.signing_keys import KeysAt, KeysInHand, NoSigningKey, jwks_json
from testing.credentials import DAY, MASTER_KEY, NOW, SECOND, USER, Credentials, open_credentials
from testing.services import FreshDatabase
from tests.lengths import LENGTH

HOUR = timedelta(hours=1)
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def credentials(database: FreshDatabase) -> AsyncIterator[Credentials]:
    async with open_credentials(database.dsn) as opened:
        yield opened


def states(keys: KeysAt) -> dict[int, KeyState]:
    return {key.number: key.state for key in keys.keys}


def sign(credentials: Credentials, keys: KeysAt) -> str:
    return credentials.tokens.sign(keys, user_id=USER, tenant_id="acme", role="admin", session_id="ses_1", now=keys.at)


async def test_keys_follow_one_another_by_themselves(credentials: Credentials) -> None:
    signing = credentials.signing
    with pytest.raises(NoSigningKey):
        _ = (await signing.at(NOW)).active
    assert await signing.keep_up(NOW)
    assert not await signing.keep_up(NOW + 89 * DAY - SECOND)
    assert await signing.keep_up(NOW + 89 * DAY)
    assert not await signing.keep_up(NOW + 89 * DAY)
    before = await signing.at(NOW + 90 * DAY - SECOND)
    assert states(before) == {1: KeyState.ACTIVE, 2: KeyState.NEXT}
    token = sign(credentials, before)
    after = await signing.at(NOW + 90 * DAY)
    assert states(after) == {1: KeyState.RETIRED, 2: KeyState.ACTIVE}
    assert isinstance(credentials.tokens.verify(after, token, NOW + 90 * DAY), AccessToken)
    last = NOW + 90 * DAY + HOUR - 2 * SECOND
    assert isinstance(credentials.tokens.verify(await signing.at(last), token, last), AccessToken)
    assert states(await signing.at(last + 5 * 60 * SECOND)) == {2: KeyState.ACTIVE}


async def test_two_processes_that_look_at_once_make_one_key(database: FreshDatabase) -> None:
    async with open_credentials(database.dsn) as one, open_credentials(database.dsn) as other:
        for at in (NOW, NOW + 89 * DAY):
            made = await asyncio.gather(*(process.signing.keep_up(at) for process in (one, other)))
            assert sum(made) == 1
        assert states(await one.signing.at(NOW + 89 * DAY)) == {1: KeyState.ACTIVE, 2: KeyState.NEXT}
        assert jwks_json(await one.signing.at(NOW + 89 * DAY)) == jwks_json(await other.signing.at(NOW + 89 * DAY))


async def test_a_rotation_by_hand_takes_the_next_key_or_makes_one(credentials: Credentials) -> None:
    signing = credentials.signing
    assert await signing.rotate(NOW) == 1
    assert await signing.rotate(NOW + DAY) == 2
    assert states(await signing.at(NOW + DAY)) == {1: KeyState.RETIRED, 2: KeyState.ACTIVE}
    await signing.keep_up(NOW + 90 * DAY)
    next_kid = (await signing.at(NOW + 90 * DAY)).keys[-1].kid
    assert await signing.rotate(NOW + 90 * DAY) == 3
    assert (await signing.at(NOW + 90 * DAY)).active.kid == next_kid


async def test_what_a_distrusted_key_signed_is_valid_no_more(credentials: Credentials) -> None:
    await credentials.signing.keep_up(NOW)
    token = sign(credentials, await credentials.signing.at(NOW))
    await credentials.signing.rotate(NOW + SECOND)
    kept = await credentials.signing.at(NOW + SECOND)
    assert isinstance(credentials.tokens.verify(kept, token, NOW + SECOND), AccessToken)
    await credentials.signing.rotate(NOW + 2 * SECOND, distrust=True)
    keys = await credentials.signing.at(NOW + 2 * SECOND)
    assert states(keys) == {3: KeyState.ACTIVE}
    with pytest.raises(InvalidToken, match="kid"):
        credentials.tokens.verify(keys, token, NOW + 2 * SECOND)


async def test_a_rotation_survives_kills_at_any_moment_and_two_at_once(
    database: FreshDatabase, credentials: Credentials
) -> None:
    started = await credentials.signing.rotate(system_clock())
    token = sign(credentials, await credentials.signing.at(system_clock()))
    done = started
    for _ in range(LENGTH.kills):
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.key_rotation_process",
                database.dsn,
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            done = max(done, int(await process.stdout.readline()))
        for process in processes:
            process.kill()
        for process in processes:
            await process.wait()
        now = system_clock()
        keys = await credentials.signing.at(now)
        numbers = [row[0] for row in await credentials.pool.fetch("SELECT number FROM access.signing_keys ORDER BY 1")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= done
        assert list(states(keys).values()).count(KeyState.ACTIVE) == 1
        # What was signed before all of it is still good, and so is what is signed now.
        for each in (token, sign(credentials, keys)):
            assert isinstance(credentials.tokens.verify(keys, each, now), AccessToken)


async def test_the_key_set_shows_public_parts_only_and_the_next_key_before_it_signs(credentials: Credentials) -> None:
    await credentials.signing.keep_up(NOW)
    await credentials.signing.keep_up(NOW + 89 * DAY)
    keys = await credentials.signing.at(NOW + 89 * DAY)
    shown = json.loads(jwks_json(keys))
    assert [key["kid"] for key in shown["keys"]] == [key.kid for key in keys.keys]
    for key in shown["keys"]:
        assert key.pop("kid")
        assert len(key.pop("n")) == 342
        assert key == {"kty": "RSA", "e": "AQAB", "alg": "RS256", "use": "sig"}


async def test_a_row_that_was_not_made_with_the_master_key_is_as_if_it_were_not_there(
    database: FreshDatabase, credentials: Credentials
) -> None:
    await credentials.signing.keep_up(NOW)
    token = sign(credentials, await credentials.signing.at(NOW))
    async with open_credentials(database.dsn, master_key=MASTER_KEY[::-1]) as stranger:
        await stranger.signing.rotate(NOW + SECOND)
        forged = sign(stranger, await stranger.signing.at(NOW + SECOND))
    # A key of ours under another number is no key either: what is sealed is bound to its row.
    await credentials.pool.execute(
        "INSERT INTO access.signing_keys SELECT 3, kid || 'x', sealed, signs_from + '1 s', made_at "
        "FROM access.signing_keys WHERE number = 1"
    )
    keys = await credentials.signing.at(NOW + SECOND)
    assert states(keys) == {1: KeyState.ACTIVE}
    assert isinstance(credentials.tokens.verify(keys, token, NOW + SECOND), AccessToken)
    with pytest.raises(InvalidToken, match="kid"):
        credentials.tokens.verify(keys, forged, NOW + SECOND)
    assert await credentials.signing.keep_up(NOW + 89 * DAY)
    assert states(await credentials.signing.at(NOW + 89 * DAY)) == {1: KeyState.ACTIVE, 4: KeyState.NEXT}


async def test_a_process_looks_again_for_a_key_it_does_not_know_once_a_second(credentials: Credentials) -> None:
    in_hand = KeysInHand(credentials.signing, cache=timedelta(minutes=1))
    await credentials.signing.keep_up(NOW)
    first = await in_hand.get(NOW)
    await credentials.signing.rotate(NOW + SECOND)
    kid = (await credentials.signing.at(NOW + SECOND)).active.kid
    assert await in_hand.get(NOW + 59 * SECOND) is first
    assert await in_hand.get(NOW + SECOND / 2, kid=kid) is first
    second = await in_hand.get(NOW + SECOND, kid=kid)
    assert second.active.kid == kid
    for number in range(100):
        assert await in_hand.get(NOW + 1.9 * SECOND, kid=f"invented {number}") is second
    assert await in_hand.get(NOW + 61 * SECOND) is not second
