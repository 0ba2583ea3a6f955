"""Payments with and without a storm of log-ins, in turn, in one run: a queue of passwords must not hold them up.

Every second password is right. Each log-in comes from an address of its own and is of an account of its own, so that
nothing is held back before it is compared: that is the worst that many machines can ask for. What comes quicker than
passwords are hashed is refused with 503. In the calm as many requests are sent that ask for nothing
(`GET /health/live`), so that what is told is the log-ins and not the generator's own share of the processors.

At half of the payments that two cores can take, and at all of them: where nothing of the processors is left, whatever
is added is waited for. A pair comes first that is not counted, while what is new is still being made and read.

The slowest twentieth of one short run is a few dozen payments, and differs by half from run to run. So calm and storm
change places with each pair, and the ratio told is that of the percentiles of all calm and of all stormy payments.
"""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import aiohttp

from benchmarks.http import Client, Target, payment_body
from benchmarks.http_load import Load, Measured, measure, percentile_ms
from benchmarks.results import Row
from benchmarks.servers import bench_stack, found_by
from cli.tenants import create_tenant
from cli.users import create_admin
from domain.kernel.tenant_mode import TenantMode
from host.configured import owner_dsn
from host.stack import Stack
from infra.settings import AuthSettings

ROUNDS: Final = 18
DURATION_S: Final = 10.0
PAYMENTS_PER_S: Final = (25, 50)
LOG_INS_PER_S: Final = 100
USERS: Final = 40
PASSWORD: Final = "a sentence that is known"  # noqa: S105  of the benchmark's own users
ENVIRONMENT: Final = {
    "TALLYBOOK_API_TRUSTED_PROXIES": "127.0.0.1/32",
    "TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN": "1000000000",
    # An account is tried again and again here, which is to be compared every time.
    "TALLYBOOK_AUTH_ACCOUNT_FAILURES": "1000000",
    "TALLYBOOK_AUTH_ADDRESS_FAILURES": "1000000",
    # What is measured is what keeps passwords from being hashed too quickly.
    "TALLYBOOK_AUTH_HASHING_PER_S": str(AuthSettings().hashing_per_s),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A calm and a storm, one after the other."""

    calm: Measured
    stormy: Measured
    storm: Measured

    @property
    def ratio(self) -> float:
        """The payments' 95th percentile in the storm by the one in the calm."""
        return self.stormy.p95_ms / self.calm.p95_ms

    def __str__(self) -> str:
        return (
            f"calm p95 {self.calm.p95_ms} ms, in the storm {self.stormy.p95_ms} ms "
            f"({self.stormy.failed} payments failed, {self.storm.done_per_s} log-ins/s let in, "
            f"{self.storm.failed} refused)"
        )


async def rows() -> list[Row]:
    """log-in-storm: the 95th percentile of payments, calm and in the storm, per rate of payments."""
    async with bench_stack(ENVIRONMENT) as stack:
        target = await _target(stack)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {target.key}"}) as session:
            customer, method = await Client(session, target).customer()
        found: list[Row] = []
        for per_s in PAYMENTS_PER_S:
            pairs = [await _pair(target, customer, method, number, per_s) for number in range(ROUNDS + 1)]
            found.append(_row(per_s, pairs[1:]))
    return found


async def _pair(target: Target, customer: str, method: str, number: int, per_s: int) -> Pair:
    name = f"{per_s}-{number}"
    calm = (_payments(target, customer, method, name, per_s), _nothing(target))
    storm = (_payments(target, customer, method, f"{name}-storm", per_s), _storm(target))
    if number % 2:
        in_the_storm, log_ins = await _together(*storm)
        in_the_calm, _ = await _together(*calm)
    else:
        in_the_calm, _ = await _together(*calm)
        in_the_storm, log_ins = await _together(*storm)
    return Pair(in_the_calm, in_the_storm, log_ins)


async def _together(payments: Load, beside: Load) -> tuple[Measured, Measured]:
    return await asyncio.gather(measure(payments), measure(beside))


async def _target(stack: Stack) -> Target:
    dsn = owner_dsn(stack.settings)
    tenant = await create_tenant(dsn, stack.settings, tenant_id="bench", name="Benchmark", mode=TenantMode.TEST)
    for number in range(USERS):
        email = f"user-{number}@example.com"
        await create_admin(dsn, stack.settings, tenant_id="bench", email=email, password=PASSWORD)
    return Target(host=stack.settings.api.host, port=stack.settings.api.port, key=tenant.key.secret)


def _payments(target: Target, customer: str, method: str, name: str, per_s: int) -> Load:
    return Load(
        host=target.host,
        port=target.port,
        method="POST",
        paths=["/v1/payments"],
        headers={
            "Authorization": f"Bearer {target.key}",
            "Idempotency-Key": f"bench-{uuid.uuid4().hex[:8]}-{name}-{{n}}",
        },
        body=payment_body(customer, method),
        requests_per_s=per_s,
        duration_s=DURATION_S,
    )


def _storm(target: Target) -> Load:
    """Half of them by users who are there, half by nobody: either costs a hash."""
    body = f'{{"email":"EMAIL","password":"{PASSWORD}","kind":"program"}}'
    emails = [f"user-{number}@example.com" for number in range(USERS)] + [
        f"nobody-{number}@example.com" for number in range(USERS)
    ]
    load = Load(
        host=target.host,
        port=target.port,
        method="POST",
        paths=["/v1/auth/login"],
        headers={"X-Forwarded-For": "2001:db8:{n}::1", "X-Forwarded-Proto": "https"},
        body="",
        requests_per_s=LOG_INS_PER_S,
        duration_s=DURATION_S,
        connections=200,
    )
    ordered = [email for pair in zip(emails[:USERS], emails[USERS:], strict=True) for email in pair]
    return replace(load, bodies=[body.replace("EMAIL", email) for email in ordered])


def _nothing(target: Target) -> Load:
    return replace(_storm(target), method="GET", paths=["/health/live"], body=None, bodies=())


def _row(per_s: int, pairs: Sequence[Pair]) -> Row:
    calm = _p95_ms(pair.calm for pair in pairs)
    stormy = _p95_ms(pair.stormy for pair in pairs)
    return Row(
        f"log-in-storm-{per_s}",
        stormy,
        f"ms (p95 of {per_s} payments a second)",
        {"without-the-storm": round(stormy / calm, 2)},
        "; ".join(str(pair) for pair in pairs),
    )


def _p95_ms(runs: Iterable[Measured]) -> float:
    """Of all payments of the runs together."""
    return percentile_ms(sorted(ms / 1000 for run in runs for ms in run.latencies_ms), 95)


if __name__ == "__main__":
    for row in found_by(rows()):
        print(row.id, row.ours, row.unit, row.ratios)
        print(row.notes.replace("; ", "\n"))
