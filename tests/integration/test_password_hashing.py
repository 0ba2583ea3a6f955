"""Hashing: parameters, imported hashes, a bounded queue, and the same work whoever is asked about."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import bcrypt
import psutil
import pytest

from infra.database import Connection
from infra.identity.password_hashing import HashingBusy, PasswordHashing, UnusableHash, Verified, imported_hash
from infra.settings import AuthSettings
from testing.credentials import USER, Credentials, open_credentials
from testing.services import FreshDatabase

PASSWORD = "a sentence of nothing but words"
IS_WAITING = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""
WEAKER = AuthSettings(argon2_memory_kib=8_192, argon2_passes=1)


@pytest.fixture
def hashing() -> Iterator[PasswordHashing]:
    opened = PasswordHashing(AuthSettings())
    yield opened
    opened.close()


@pytest.fixture
async def owner(database: FreshDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def credentials(database: FreshDatabase) -> AsyncIterator[Credentials]:
    async with open_credentials(database.dsn) as opened:
        yield opened


async def store(owner: Connection, password_hash: bytes) -> None:
    await owner.execute("INSERT INTO access.passwords (user_id, hash) VALUES ($1, $2)", USER, password_hash)


async def stored(owner: Connection) -> bytes:
    found: bytes = await owner.fetchval("SELECT hash FROM access.passwords WHERE user_id = $1", USER)
    return found


def bcrypt_hash(password: str, *, cost: int = 4, prefix: bytes = b"2b") -> bytes:
    made = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost))
    return made.replace(b"$2b$", b"$" + prefix + b"$", 1)


async def test_a_password_is_hashed_with_argon2id_by_the_parameters_of_the_settings(hashing: PasswordHashing) -> None:
    first, second = await hashing.hash(PASSWORD), await hashing.hash(PASSWORD)
    assert first.startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert await hashing.verify(first, PASSWORD) == Verified(is_right=True)
    assert await hashing.verify(first, PASSWORD.upper()) == Verified(is_right=False)


async def test_a_hash_of_other_parameters_is_replaced_at_the_next_log_in(
    owner: Connection, credentials: Credentials
) -> None:
    weaker = PasswordHashing(WEAKER)
    old = await weaker.hash(PASSWORD)
    weaker.close()
    await store(owner, old)
    assert not await credentials.passwords.check(USER, "another sentence of words")
    assert await stored(owner) == old
    assert await credentials.passwords.check(USER, PASSWORD)
    assert (await stored(owner)).startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")
    assert await credentials.passwords.check(USER, PASSWORD)


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
async def test_an_imported_hash_works_and_is_replaced_at_the_first_log_in(
    owner: Connection, credentials: Credentials, prefix: bytes
) -> None:
    await store(owner, imported_hash(bcrypt_hash(PASSWORD, prefix=prefix).decode()))
    assert not await credentials.passwords.check(USER, PASSWORD + "!")
    assert await credentials.passwords.check(USER, PASSWORD)
    assert (await stored(owner)).startswith(b"$argon2id$")
    assert await credentials.passwords.check(USER, PASSWORD)
    assert not await credentials.passwords.check(USER, PASSWORD + "!")


async def test_a_long_password_that_bcrypt_cut_off_works_and_counts_whole_from_then_on(
    owner: Connection, credentials: Credentials
) -> None:
    password = "long " * 20
    await store(owner, imported_hash(bcrypt_hash(password).decode()))
    assert await credentials.passwords.check(USER, password)
    assert not await credentials.passwords.check(USER, password[:72])


@pytest.mark.parametrize(
    "text",
    [
        "",
        PASSWORD,
        "$1$salt$" + "a" * 22,
        "$2b$15$" + "a" * 53,
        "$2b$03$" + "a" * 53,
        "$2b$12$" + "a" * 52,
        "$2b$12$" + "a" * 53 + "\n",
        "$2x$12$" + "a" * 53,
        "$argon2id$v=19$m=4000000,t=99,p=1$c2FsdHNhbHQ$" + "a" * 43,
    ],
)
def test_a_hash_that_cannot_be_verified_at_a_bounded_cost_is_not_imported(text: str) -> None:
    with pytest.raises(UnusableHash):
        imported_hash(text)


async def test_whoever_is_unknown_costs_the_same_hash(owner: Connection, credentials: Credentials) -> None:
    await store(owner, await credentials.hashing.hash(PASSWORD))
    costs: list[int] = []
    for user_id, password in (
        (USER, "wrong sentence of words"),
        ("usr_nobody", PASSWORD),
        (None, PASSWORD),
        (USER, "nul\x00"),
        (None, ""),
        (USER, PASSWORD),
    ):
        before = credentials.hashing.hashed
        is_right = await credentials.passwords.check(user_id, password)
        assert bool(is_right) is (user_id == USER and password == PASSWORD)
        costs.append(credentials.hashing.hashed - before)
    assert costs == [1] * 6


async def test_the_dummy_is_nobodys_password(hashing: PasswordHashing) -> None:
    assert not (await hashing.verify(None, "whoever is unknown is compared with this")).is_right


async def test_passwords_typed_in_other_forms_of_the_same_letters_are_the_same(
    owner: Connection, credentials: Credentials
) -> None:
    await store(owner, await credentials.hashing.hash("caf\u00e9 au lait noir"))
    assert await credentials.passwords.check(USER, "cafe\u0301\u00a0au lait\u3000noir")


async def test_a_hashing_process_that_was_killed_is_started_again(hashing: PasswordHashing) -> None:
    made = await hashing.hash(PASSWORD)
    own = [each for each in psutil.Process().children() if "infra.identity.hashing_process" in each.cmdline()]
    assert own
    for process in own:
        process.kill()
    assert (await hashing.verify(made, PASSWORD)).is_right


async def test_hashing_processes_give_way_and_end_with_whoever_started_them() -> None:
    opened = PasswordHashing(WEAKER)
    await opened.hash(PASSWORD)
    own = [each for each in psutil.Process().children() if "8192" in each.cmdline()]
    assert {each.nice() for each in own} == {10}
    assert all(os.getsid(each.pid) == each.pid for each in own), "Linux shares the processor out by sessions first"
    opened.close()
    assert not [each for each in own if each.is_running()]


async def test_beyond_its_queue_hashing_refuses_and_goes_on(hashing: PasswordHashing) -> None:
    bounded = PasswordHashing(WEAKER.model_copy(update={"hashing_threads": 1, "hashing_queue_max": 3}))
    try:
        found = await asyncio.gather(*(bounded.hash(PASSWORD) for _ in range(10)), return_exceptions=True)
        refused = [each for each in found if isinstance(each, HashingBusy)]
        assert (len(refused), refused[0].retry_after_s) == (6, 2)
        assert (await bounded.verify(await bounded.hash(PASSWORD), PASSWORD)).is_right
    finally:
        bounded.close()


async def test_beyond_its_pace_hashing_refuses_before_anything_is_done() -> None:
    """Whatever is sent, in the long run it has no more of the processor than so many hashes take."""
    now = 0.0
    paced = PasswordHashing(WEAKER.model_copy(update={"hashing_per_s": 2.0, "hashing_burst": 3}), clock=lambda: now)
    try:
        for _ in range(3):
            await paced.hash(PASSWORD)
        with pytest.raises(HashingBusy):
            paced.check_room()
        with pytest.raises(HashingBusy):
            await paced.hash(PASSWORD)
        now = 0.5
        await paced.hash(PASSWORD)
        with pytest.raises(HashingBusy):
            paced.check_room()
        assert paced.hashed == 4
    finally:
        paced.close()


async def test_a_caller_who_gives_up_leaves_their_place_taken_until_the_thread_is_done() -> None:
    bounded = PasswordHashing(WEAKER.model_copy(update={"hashing_threads": 1, "hashing_queue_max": 0}))
    try:
        waiting = asyncio.ensure_future(bounded.hash(PASSWORD))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(HashingBusy):
            await bounded.hash(PASSWORD)
        while bounded.hashed < 2:
            try:
                await bounded.hash(PASSWORD)
            except HashingBusy:
                await asyncio.sleep(0.005)
    finally:
        bounded.close()


async def test_a_new_password_is_not_overruled_by_a_log_in_with_the_old_one(
    owner: Connection, credentials: Credentials
) -> None:
    weaker = PasswordHashing(WEAKER)
    await store(owner, await weaker.hash(PASSWORD))
    weaker.close()
    newer = await credentials.hashing.hash("a newer sentence of words")
    async with owner.transaction():
        await owner.execute("UPDATE access.passwords SET hash = $2 WHERE user_id = $1", USER, newer)
        # It reads the old hash, and waits for this row when it is to replace it.
        checking = asyncio.ensure_future(credentials.passwords.check(USER, PASSWORD))
        while not await owner.fetchval(IS_WAITING):
            await asyncio.sleep(0.005)
    assert await checking
    assert await stored(owner) == newer
    assert not await credentials.passwords.check(USER, PASSWORD)
