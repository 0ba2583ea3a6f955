"""The sandbox gateway as a process under faults: killed, disturbed, disputed, listed and told on by webhooks."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.payments.decline import DeclineCode
from gateway_adapters.port import (
    Declined,
    GatewayTransaction,
    NotFound,
    OutcomeUnknown,
    PaymentRequest,
    PaymentResult,
    RetryLater,
    RetryWhy,
    Succeeded,
    TransactionKind,
    UnknownWhy,
    WebhookEvent,
    WebhookKind,
)
from gateway_adapters.sandbox.adapter import SandboxAdapter
from tests.contracts.gateway_contract import new_reference, payment, refund, succeeded, usd
from tests.contracts.sandbox_process import SandboxProcess
from tests.lengths import LENGTH

WAIT_TIMEOUT_S = 90
TRIES_MAX = 200


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SandboxProcess]:
    async with SandboxProcess(tmp_path_factory.mktemp("gateway"), settle_ms=50, slow_ms=300) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox(shared: SandboxProcess) -> SandboxProcess:
    """The process with all faults off."""
    await shared.faults()
    return shared


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(sandbox: SandboxProcess) -> AsyncIterator[SandboxAdapter]:
    adapter = sandbox.adapter(timeout_ms=2_000)
    yield adapter
    await adapter.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while not await holds():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


async def resolved(gateway: SandboxAdapter, request: PaymentRequest) -> PaymentResult:
    """Charge the way a saga does: the same key until the outcome is known."""
    for _ in range(TRIES_MAX):
        result = await gateway.create_payment(request)
        match result:
            case RetryLater(after_ms=after_ms):
                await asyncio.sleep(after_ms / 1_000)
            case OutcomeUnknown():
                found = await gateway.look_up(request.reference)
                if not isinstance(found, NotFound | OutcomeUnknown):
                    return found
                await asyncio.sleep(0.01)
            case _:
                return result
    raise AssertionError(f"{request.reference} is unknown after {TRIES_MAX} tries")


async def listed(gateway: SandboxAdapter, start: datetime) -> list[GatewayTransaction]:
    end = datetime.now(UTC) + timedelta(minutes=1)
    return [transaction async for transaction in gateway.list_transactions(start, end)]


# ── killed ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_killed_gateway_keeps_every_charge_it_acknowledged_and_makes_none_twice(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print("seed", seed)  # noqa: T201 - randomized tests show their seed
    draw = random.Random(seed)
    async with SandboxProcess(tmp_path) as sandbox:
        gateway = sandbox.adapter(timeout_ms=5_000, connections_max=64)
        requests = [payment("tok_visa", amount=usd(draw.randrange(100, 10_000))) for _ in range(1_500)]
        at_once: dict[str, Succeeded] = {}
        final: dict[str, Succeeded] = {}
        todo = iter(requests)

        async def charge() -> None:
            for request in todo:
                first = await gateway.create_payment(request)
                if isinstance(first, Succeeded):
                    at_once[request.reference] = first
                final[request.reference] = succeeded(await resolved(gateway, request))

        async def kill_now_and_then() -> None:
            for kills in range(1, 6):

                async def enough_charged(least: int = kills * 220 + draw.randrange(50)) -> bool:
                    return len(final) >= least

                await until(enough_charged)
                await sandbox.kill()
                await sandbox.start()

        await asyncio.gather(kill_now_and_then(), *(charge() for _ in range(48)))
        charges = await listed(gateway, datetime.now(UTC) - timedelta(hours=1))
        await gateway.close()
        assert Counter(one.reference for one in charges) == Counter(request.reference for request in requests)
        assert {one.reference: (one.object_id, one.amount) for one in charges} == {
            request.reference: (final[request.reference].gateway_id, request.amount) for request in requests
        }
        assert all(final[reference] == first for reference, first in at_once.items())
        assert await sandbox.money_taken() == (len(requests), sum(request.amount.amount for request in requests))


async def test_a_stop_answers_what_it_took_and_a_restart_continues_the_record(tmp_path: Path) -> None:
    async with SandboxProcess(tmp_path, slow_ms=300) as sandbox:
        gateway = sandbox.adapter()
        slow = asyncio.create_task(gateway.create_payment(payment("tok_slow")))

        async def charged() -> bool:
            return (await sandbox.money_taken())[0] == 1

        await until(charged)
        assert await sandbox.stop() == 0
        succeeded(await slow)
        await sandbox.start()
        assert await sandbox.money_taken() == (1, 1999)
        await gateway.close()


async def test_what_was_processing_at_a_kill_settles_after_the_restart(tmp_path: Path) -> None:
    async with SandboxProcess(tmp_path, settle_ms=500) as sandbox:
        gateway = sandbox.adapter()
        request = payment("tok_processing")
        await gateway.create_payment(request)
        await sandbox.kill()
        await sandbox.start()

        async def settled() -> bool:
            return isinstance(await gateway.look_up(request.reference), Succeeded)

        await until(settled)
        assert await sandbox.money_taken() == (1, 1999)
        await gateway.close()


async def test_a_second_gateway_on_the_same_store_is_refused(sandbox: SandboxProcess) -> None:
    second = SandboxProcess(sandbox.store_path.parent)
    assert await second.fails_to_start() == 2
    await second.close()


async def test_a_full_disk_charges_nobody_and_answers_nobody_until_there_is_room(tmp_path: Path) -> None:
    async with SandboxProcess(tmp_path) as sandbox:
        gateway = sandbox.adapter()
        first = payment("tok_visa")
        succeeded(await gateway.create_payment(first))
        sandbox.limit_file_bytes(sandbox.store_path.with_name(sandbox.store_path.name + "-wal").stat().st_size)
        request = payment("tok_visa")
        assert await gateway.create_payment(request) == OutcomeUnknown(why=UnknownWhy.CONNECTION_LOST)
        sandbox.limit_file_bytes(None)
        assert await gateway.look_up(request.reference) == NotFound(reference=request.reference)
        succeeded(await gateway.create_payment(request))
        await sandbox.kill()
        await sandbox.start()
        assert await sandbox.money_taken() == (2, 2 * 1999)
        await gateway.close()


# ── disturbed ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_hangs_up_has_still_been_charged(sandbox: SandboxProcess, gateway: SandboxAdapter) -> None:
    await sandbox.faults(latency=1, latency_min_ms=200)
    impatient = sandbox.adapter(timeout_ms=50)
    request = payment("tok_visa")
    assert await impatient.create_payment(request) == OutcomeUnknown(why=UnknownWhy.TIMED_OUT)
    await impatient.close()

    async def charged() -> bool:
        return isinstance(await gateway.look_up(request.reference), Succeeded)

    await until(charged)


async def test_a_key_in_flight_is_told_to_come_again(sandbox: SandboxProcess, gateway: SandboxAdapter) -> None:
    await sandbox.faults(latency=1, latency_min_ms=300)
    request = payment("tok_visa")
    first, second = await asyncio.gather(gateway.create_payment(request), gateway.create_payment(request))
    results = sorted([first, second], key=lambda result: isinstance(result, Succeeded))
    assert isinstance(results[0], RetryLater)
    assert results[0].why is RetryWhy.KEY_IN_FLIGHT
    assert await gateway.create_payment(request) == succeeded(results[1])
    assert len(await sandbox.objects(request.reference)) == 1


async def test_the_switch_for_silence_before_the_charge(sandbox: SandboxProcess) -> None:
    await sandbox.faults(timeout_before_charge=1)
    impatient = sandbox.adapter(timeout_ms=100)
    request = payment("tok_visa")
    assert await impatient.create_payment(request) == OutcomeUnknown(why=UnknownWhy.TIMED_OUT)
    assert await sandbox.objects(request.reference) == []
    await sandbox.faults()
    succeeded(await impatient.create_payment(request))
    assert len(await sandbox.objects(request.reference)) == 1
    await impatient.close()


async def test_the_switch_for_silence_after_the_charge(sandbox: SandboxProcess) -> None:
    await sandbox.faults(timeout_after_charge=1)
    impatient = sandbox.adapter(timeout_ms=100)
    request = payment("tok_visa")
    assert await impatient.create_payment(request) == OutcomeUnknown(why=UnknownWhy.TIMED_OUT)
    charged = succeeded(await impatient.look_up(request.reference))
    assert await impatient.create_payment(request) == charged
    assert len(await sandbox.objects(request.reference)) == 1
    await impatient.close()


async def test_a_stored_error_after_the_charge_is_looked_up_and_not_repeated(
    sandbox: SandboxProcess, gateway: SandboxAdapter
) -> None:
    await sandbox.faults(error_after_charge=1)
    request = payment("tok_visa")
    assert await gateway.create_payment(request) == OutcomeUnknown(why=UnknownWhy.GATEWAY_ERROR)
    await sandbox.faults()
    found = succeeded(await gateway.look_up(request.reference))
    assert await gateway.create_payment(request) == found
    assert len(await sandbox.objects(request.reference)) == 1


async def test_a_stored_error_before_the_charge_stays_unknown_for_ever(
    sandbox: SandboxProcess, gateway: SandboxAdapter
) -> None:
    await sandbox.faults(error_before_charge=1)
    request = payment("tok_visa")
    assert await gateway.create_payment(request) == OutcomeUnknown(why=UnknownWhy.GATEWAY_ERROR)
    await sandbox.faults()
    assert await gateway.create_payment(request) == OutcomeUnknown(why=UnknownWhy.STORED_ERROR)
    assert await gateway.look_up(request.reference) == NotFound(reference=request.reference)


async def test_the_switch_for_too_many_requests(sandbox: SandboxProcess, gateway: SandboxAdapter) -> None:
    await sandbox.faults(rate_limit=1, rate_limit_retry_after_ms=70)
    request = payment("tok_visa")
    assert await gateway.create_payment(request) == RetryLater(after_ms=70, why=RetryWhy.RATE_LIMITED)
    assert await sandbox.objects(request.reference) == []


async def test_faults_survive_a_kill_and_are_switched_off_by_hand(tmp_path: Path) -> None:
    async with SandboxProcess(tmp_path) as sandbox:
        await sandbox.faults(rate_limit=1)
        await sandbox.kill()
        await sandbox.start()
        gateway = sandbox.adapter()
        assert isinstance(await gateway.create_payment(payment("tok_visa")), RetryLater)
        await sandbox.control("DELETE", "/faults")
        succeeded(await gateway.create_payment(payment("tok_visa")))
        await gateway.close()


async def test_under_all_faults_at_once_each_payment_is_charged_once(sandbox: SandboxProcess) -> None:
    started = datetime.now(UTC)
    await sandbox.faults(
        seed=7,
        timeout_before_charge=0.05,
        timeout_after_charge=0.05,
        error_after_charge=0.1,
        rate_limit=0.1,
        rate_limit_retry_after_ms=5,
        latency=0.2,
        latency_max_ms=20,
    )
    impatient = sandbox.adapter(timeout_ms=400, connections_max=64)
    requests = [payment("tok_visa") for _ in range(400)]
    results = await asyncio.gather(*(resolved(impatient, request) for request in requests))
    _, faults = await sandbox.control("GET", "/faults")
    charges = Counter(one.reference for one in await listed(impatient, started))
    await impatient.close()
    injected = faults["injected"]
    assert isinstance(injected, dict)
    expected = {"timeout_before_charge", "timeout_after_charge", "error_after_charge", "rate_limit", "latency"}
    assert injected.keys() == expected
    assert all(isinstance(result, Succeeded) for result in results)
    assert charges == Counter(request.reference for request in requests)


async def test_the_same_seed_brings_the_same_faults_to_the_same_keys(sandbox: SandboxProcess) -> None:
    plan = {"seed": 11, "rate_limit": 0.5, "rate_limit_retry_after_ms": 1}
    gateway = sandbox.adapter()
    requests = [payment("tok_decline_do_not_honor") for _ in range(40)]

    async def limited() -> list[str]:
        await sandbox.faults(**plan)
        results = await asyncio.gather(*(gateway.create_payment(request) for request in requests))
        return [
            request.reference
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, RetryLater)
        ]

    first = await limited()
    assert 0 < len(first) < len(requests)
    # Those that were not limited have stored answers now, which no fault disturbs.
    assert await limited() == first
    await gateway.close()


async def test_a_key_that_the_gateway_forgot_charges_again(tmp_path: Path) -> None:
    """Why a key is never used again after its window: the gateway's memory ends."""
    async with SandboxProcess(tmp_path, key_retention_ms=1) as sandbox:
        gateway = sandbox.adapter()
        request = payment("tok_visa")
        first = succeeded(await gateway.create_payment(request))

        async def charged_again() -> bool:
            return succeeded(await gateway.create_payment(request)).gateway_id != first.gateway_id

        await until(charged_again)
        await gateway.close()


# ── money ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_card_declines_and_recovers_by_its_tries(gateway: SandboxAdapter) -> None:
    def attempt(number: int) -> PaymentRequest:
        return PaymentRequest(
            reference=f"{reference}:{number}",
            amount=usd(500),
            payment_method_token="tok_decline_insufficient_funds_2x_then_succeed",
            idempotency_key=f"{reference}:{number}",
            customer_reference=reference,
        )

    reference = new_reference("cus")
    for number in (1, 1, 2):  # the repeat of a key is not a try
        result = await gateway.create_payment(attempt(number))
        assert isinstance(result, Declined)
        assert result.code is DeclineCode.INSUFFICIENT_FUNDS
    assert succeeded(await gateway.create_payment(attempt(3))).amount == usd(500)


async def test_of_several_payments_under_one_reference_the_one_that_took_money_counts(
    gateway: SandboxAdapter,
) -> None:
    reference = new_reference()
    tokens = ("tok_decline_do_not_honor", "tok_visa", "tok_decline_fraudulent")
    results = [
        await gateway.create_payment(
            PaymentRequest(
                reference=reference, amount=usd(5), payment_method_token=token, idempotency_key=f"{reference}:{token}"
            )
        )
        for token in tokens
    ]
    assert await gateway.look_up(reference) == succeeded(results[1])


@settings(max_examples=LENGTH.scaled(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    captured=st.integers(1, 10_000),
    parts=st.lists(st.tuples(st.integers(1, 6_000), st.sampled_from(["new", "repeat"])), max_size=12),
)
async def test_refunds_never_exceed_what_was_captured(
    gateway: SandboxAdapter, captured: int, parts: list[tuple[int, str]]
) -> None:
    charged = succeeded(await gateway.create_payment(payment("tok_visa", amount=usd(captured))))
    left = captured
    for amount, how in parts:
        request = refund(charged, usd(amount))
        result = await gateway.refund(request)
        if amount <= left:
            assert succeeded(result).amount == usd(amount)
            left -= amount
        else:
            assert isinstance(result, Declined)
            assert result.code is DeclineCode.REFUND_EXCEEDS_CAPTURED
        if how == "repeat":
            assert await gateway.refund(request) == result


async def test_refunds_may_fail_or_take_their_time(gateway: SandboxAdapter) -> None:
    failing = succeeded(await gateway.create_payment(payment("tok_refund_fails")))
    refused = await gateway.refund(refund(failing, usd(100)))
    assert isinstance(refused, Declined)
    assert refused.code is DeclineCode.ACCOUNT_CLOSED
    slow = succeeded(await gateway.create_payment(payment("tok_refund_processing")))
    request = refund(slow, usd(1999))
    await gateway.refund(request)

    async def returned() -> bool:
        return isinstance(await gateway.look_up(request.reference), Succeeded)

    await until(returned)


async def test_disputes_and_payouts_move_the_balance(tmp_path: Path) -> None:
    async with SandboxProcess(tmp_path) as sandbox:
        gateway = sandbox.adapter()
        started = datetime.now(UTC) - timedelta(minutes=1)
        charges = [succeeded(await gateway.create_payment(payment("tok_visa", amount=usd(10_000)))) for _ in range(3)]
        for charge, outcome in zip(charges, ("won", "lost", None), strict=True):
            status, dispute = await sandbox.control(
                "POST", "/v1/disputes", {"payment": charge.gateway_id, "lost": outcome is None}
            )
            assert status == 200, dispute
            if outcome is not None:
                await sandbox.control("POST", f"/v1/disputes/{dispute['id']}/evidence", {"evidence": "a receipt"})
                await sandbox.control("POST", f"/v1/disputes/{dispute['id']}/close", {"outcome": outcome})
        status, payout = await sandbox.control("POST", "/v1/payouts", {"currency": "USD"})
        movements = await listed(gateway, started)
        assert Counter(one.kind for one in movements) == {
            TransactionKind.CHARGE: 3,
            TransactionKind.DISPUTE: 3,
            TransactionKind.DISPUTE_REVERSAL: 1,
            TransactionKind.PAYOUT: 1,
        }
        assert sum(one.amount.amount - one.fee.amount for one in movements) == 0
        assert (status, payout["amount"]) == (200, 10_000 - 3 * charges[0].fee.amount - 3 * 1_500)
        assert (await sandbox.control("POST", "/v1/payouts", {"currency": "USD"}))[0] == 409
        await gateway.close()


async def test_the_listing_is_complete_while_charges_go_on(sandbox: SandboxProcess, gateway: SandboxAdapter) -> None:
    started = datetime.now(UTC) - timedelta(milliseconds=1)
    acknowledged: list[str] = []
    todo = iter([payment("tok_visa") for _ in range(1_500)])

    async def charge() -> None:
        for request in todo:
            succeeded(await gateway.create_payment(request))
            acknowledged.append(request.reference)

    async def list_meanwhile() -> None:
        while len(acknowledged) < 1_500:
            before = list(acknowledged)
            found = Counter(one.reference for one in await listed(gateway, started))
            assert all(found[reference] == 1 for reference in before)

    await asyncio.gather(list_meanwhile(), *(charge() for _ in range(24)))
    everything = Counter(one.reference for one in await listed(gateway, started))
    assert all(everything[reference] == 1 for reference in acknowledged)


async def test_the_listing_is_half_open_in_time(gateway: SandboxAdapter) -> None:
    request = payment("tok_visa")
    succeeded(await gateway.create_payment(request))
    charge = next(
        one
        for one in await listed(gateway, datetime.now(UTC) - timedelta(minutes=1))
        if one.reference == request.reference
    )

    async def found(start: datetime, end: datetime) -> bool:
        return charge in [one async for one in gateway.list_transactions(start, end)]

    at, later = charge.occurred_at, charge.occurred_at + timedelta(milliseconds=1)
    assert await found(at, later)
    assert not await found(at - timedelta(seconds=1), at)
    assert not await found(later, later + timedelta(seconds=1))


# ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────────────


class Receiver:
    """A merchant's endpoint: checks and keeps what comes; `refuse_first` deliveries are answered 500."""

    def __init__(self, refuse_first: int = 0) -> None:
        self.refuse = refuse_first
        self.events: list[WebhookEvent] = []
        self.rejected: list[object] = []
        self.adapter: SandboxAdapter | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/hook"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        assert self.adapter is not None
        if self.refuse > 0:
            self.refuse -= 1
            return web.Response(status=500)
        event = await self.adapter.parse_webhook(request.headers, await request.read())
        if isinstance(event, WebhookEvent):
            self.events.append(event)
        else:
            self.rejected.append(event)
        return web.Response()


async def test_webhooks_come_signed_late_twice_and_out_of_order_but_come(tmp_path: Path) -> None:
    receiver = Receiver(refuse_first=5)
    await receiver.start()
    async with SandboxProcess(tmp_path, webhook_url=receiver.url, webhook_backoff_ms=10) as sandbox:
        gateway = receiver.adapter = sandbox.adapter()
        await sandbox.faults(
            seed=3, webhook_duplicate=0.4, webhook_late=0.2, webhook_late_ms=100, webhook_shuffle_ms=50
        )
        requests = [payment("tok_visa") for _ in range(60)]
        for request in requests:
            succeeded(await gateway.create_payment(request))
        declined = payment("tok_decline_fraudulent")
        refusal = await gateway.create_payment(declined)

        async def all_delivered() -> bool:
            _, totals = await sandbox.control("GET", "/v1/totals")
            return totals["deliveries_owed"] == 0

        await until(all_delivered)
        await gateway.close()
    await receiver.stop()
    assert receiver.rejected == []
    by_reference = {event.reference: event for event in receiver.events}
    assert by_reference.keys() == {request.reference for request in [*requests, declined]}
    assert by_reference[declined.reference].kind is WebhookKind.PAYMENT_DECLINED
    assert by_reference[declined.reference].result == refusal
    times = Counter(event.event_id for event in receiver.events)
    assert len(times) == 61
    assert set(times.values()) == {1, 2}
    came = [event.reference for event in receiver.events]
    assert came != [request.reference for request in requests]


async def test_webhooks_owed_at_a_kill_are_delivered_after_it(tmp_path: Path) -> None:
    receiver = Receiver(refuse_first=1_000_000)
    await receiver.start()
    async with SandboxProcess(tmp_path, webhook_url=receiver.url, webhook_backoff_ms=10) as sandbox:
        gateway = receiver.adapter = sandbox.adapter()
        request = payment("tok_visa")
        charged = succeeded(await gateway.create_payment(request))
        await sandbox.kill()
        receiver.refuse = 0
        await sandbox.start()

        async def told() -> bool:
            return bool(receiver.events)

        await until(told)
        await gateway.close()
    await receiver.stop()
    assert (receiver.events[0].kind, receiver.events[0].result) == (WebhookKind.PAYMENT_SUCCEEDED, charged)
    assert receiver.events[0].reference == request.reference


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 1.5},
        {"amount": True},
        {"amount": 10**15},
        {"amount": "1999"},
        {"currency": "usd"},
        {"currency": None},
        {"reference": ""},
        {"reference": "x" * 501},
        {"reference": "\ud800"},
        {"payment_method": "4242424242424242"},
        {"confirm": "yes"},
        {"capture": "never"},
        {"surprise": 1},
    ],
    ids=str,
)
async def test_a_malformed_request_is_refused_and_writes_nothing(
    sandbox: SandboxProcess, change: dict[str, object]
) -> None:
    reference = new_reference()
    good: dict[str, object] = {"reference": reference, "amount": 1, "currency": "USD", "payment_method": "tok_visa"}
    before = await sandbox.money_taken()
    status, answer = await sandbox.control("POST", "/v1/payments", good | change, key=reference)
    assert status == 400, answer
    assert await sandbox.money_taken() == before


async def test_a_wrong_api_key_is_a_matter_for_the_operator_and_no_decline(sandbox: SandboxProcess) -> None:
    stranger = SandboxAdapter(base_url=sandbox.url, api_key="sk_wrong")
    result = await stranger.create_payment(payment("tok_visa"))
    await stranger.close()
    assert isinstance(result, RetryLater)
    assert result.why is RetryWhy.NOT_AUTHORIZED


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/payments HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 70_000,
        b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
    ids=["tls", "version", "long path", "large body", "upgrade"],
)
async def test_a_connection_that_makes_no_sense_is_answered_and_closed(
    sandbox: SandboxProcess, request_bytes: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), WAIT_TIMEOUT_S)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 4")
    assert (await sandbox.control("GET", "/health/ready"))[0] == 200
