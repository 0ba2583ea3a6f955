"""The adapter to a tax service: the sandbox's answers fit, and whatever a service does wrong is a named failure."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio

from domain.customers.tax_location import TaxLocation
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.tax.remote import TaxAnswer, TaxAnswerUnfit, TaxQuestion, TaxQuestionLine, check_answer
from gateway_adapters.tax.http_service import ANSWER_BYTES_MAX, HttpTaxService
from gateway_adapters.tax.port import Calculated, CalculationResult, NoAnswer, NoAnswerWhy, TaxServiceSilent
from gateway_adapters.tax.wire import question_body
from infra.http.circuit_breaker import CircuitBreaker
from sandbox_gateway.taxes import DISTURBED, RATES, REFUSED, WRONG
from testing.certificates import MadeCertificate
from tests.contracts.sandbox_process import API_KEY, SandboxProcess

EUR = CurrencyCode("EUR")
GERMANY = TaxLocation(country="DE", postal_prefix="101")


def question(
    *amounts: int, place: TaxLocation = GERMANY, category: str | None = None, inclusive: bool = False
) -> TaxQuestion:
    return TaxQuestion(
        currency=EUR,
        on=date(2026, 1, 1),
        seller_country="DE",
        place=place,
        lines=tuple(
            TaxQuestionLine(line_id=f"il_{nth}", amount=Money(amount, EUR), inclusive=inclusive, category=category)
            for nth, amount in enumerate(amounts or (10_000,))
        ),
    )


def service(base_url: str, *, timeout_ms: int = 5_000, breaker: CircuitBreaker | None = None) -> HttpTaxService:
    return HttpTaxService(
        base_url=base_url,
        api_key=API_KEY,
        timeout_ms=timeout_ms,
        connections_max=4,
        check_timeout_ms=1_000,
        breaker=breaker or CircuitBreaker(failures_max=1_000, pause_ms=60_000),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SandboxProcess]:
    async with SandboxProcess(tmp_path_factory.mktemp("taxes")) as process:
        yield process


async def asked(base_url: str, of: TaxQuestion, key: str, *, timeout_ms: int = 5_000) -> CalculationResult:
    adapter = service(base_url, timeout_ms=timeout_ms)
    try:
        return await adapter.calculate(of, key=key)
    finally:
        await adapter.close()


def calculated(result: CalculationResult) -> TaxAnswer:
    assert isinstance(result, Calculated), result
    return result.answer


async def test_every_place_that_the_sandbox_knows_has_an_answer_that_fits(sandbox: SandboxProcess) -> None:
    for country, region in RATES:
        for inclusive in (False, True):
            of = question(9_999, -333, place=TaxLocation(country=country, region=region), inclusive=inclusive)
            answer = calculated(await asked(sandbox.url, of, f"fits:{country}:{region}:{inclusive}"))
            check_answer(of, answer)


async def test_a_question_asked_again_has_the_same_answer(sandbox: SandboxProcess) -> None:
    first, again = [calculated(await asked(sandbox.url, question(), "again")) for _ in range(2)]
    assert first == again


async def test_an_answer_that_was_lost_is_there_the_next_time(sandbox: SandboxProcess) -> None:
    await sandbox.faults(seed=1, timeout_after_charge=1.0)
    lost = await asked(sandbox.url, question(), "lost", timeout_ms=200)
    assert lost == NoAnswer(why=NoAnswerWhy.TIMED_OUT)
    await sandbox.faults()
    calculated(await asked(sandbox.url, question(), "lost"))


@pytest.mark.parametrize("category", sorted(WRONG))
async def test_what_the_sandbox_answers_wrongly_on_purpose_is_not_taken(sandbox: SandboxProcess, category: str) -> None:
    of = question(category=category)
    result = await asked(sandbox.url, of, category)
    if isinstance(result, Calculated):
        with pytest.raises(TaxAnswerUnfit):
            check_answer(of, result.answer)
    else:
        assert (result.why, result.is_passing) == (NoAnswerWhy.UNREADABLE, False)


@pytest.mark.parametrize(
    ("category", "why", "is_passing"),
    [
        ("sandbox_silent", NoAnswerWhy.TIMED_OUT, True),
        ("sandbox_error", NoAnswerWhy.SERVICE_ERROR, True),
        (REFUSED, NoAnswerWhy.REFUSED, False),
    ],
)
async def test_what_the_sandbox_does_not_answer_is_named(
    sandbox: SandboxProcess, category: str, why: NoAnswerWhy, is_passing: bool
) -> None:
    result = await asked(sandbox.url, question(category=category), category, timeout_ms=300)
    assert isinstance(result, NoAnswer)
    assert (result.why, result.is_passing) == (why, is_passing)
    assert {*DISTURBED, REFUSED} == {"sandbox_silent", "sandbox_error", REFUSED}


async def test_a_wrong_key_and_a_place_without_a_rate_are_for_a_person(sandbox: SandboxProcess) -> None:
    nowhere = await asked(sandbox.url, question(place=TaxLocation(country="JP")), "nowhere")
    assert nowhere == NoAnswer(why=NoAnswerWhy.REFUSED)
    async with answering(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n") as url:
        assert await asked(url, question(), "key") == NoAnswer(why=NoAnswerWhy.NOT_AUTHORIZED)


async def test_it_says_whether_it_is_there(sandbox: SandboxProcess) -> None:
    for url, is_there in ((sandbox.url, True), ("http://127.0.0.1:1", False)):
        adapter = service(url)
        try:
            if is_there:
                await adapter.check()
            else:
                with pytest.raises(TaxServiceSilent):
                    await adapter.check()
        finally:
            await adapter.close()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def said(**changes: object) -> bytes:
    tax = {"country": "DE", "region": None, "kind": "vat", "percent": "19", "taxable": 10_000, "amount": 1_900}
    answer = {"id": "txc_1", "currency": "EUR", "tax": 1_900, "lines": [{"id": "il_0", "taxes": [tax]}]}
    return json.dumps({**answer, **changes}).encode()


@asynccontextmanager
async def answering(
    *pieces: bytes, pause_s: float = 0, tls: ssl.SSLContext | None = None, ends: bool = False
) -> AsyncIterator[str]:
    """A server that sends these pieces to whoever asks, with a pause behind each, and then waits, or `ends`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            if not ends:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    finally:
        server.close()


async def test_the_answer_that_is_expected_is_read() -> None:
    async with answering(ok(said())) as url:
        check_answer(question(), calculated(await asked(url, question(), "key")))


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (ok(b"nineteen percent"), NoAnswerWhy.UNREADABLE),
        (ok(b"[" * 100_000), NoAnswerWhy.UNREADABLE),
        (ok(b"[]"), NoAnswerWhy.UNREADABLE),
        (ok(said(tax=19.0)), NoAnswerWhy.UNREADABLE),
        (ok(said(tax=True)), NoAnswerWhy.UNREADABLE),
        (ok(said(tax=10**30)), NoAnswerWhy.UNREADABLE),
        (ok(said(currency="USD")), NoAnswerWhy.UNREADABLE),
        (ok(said(id="a\nb")), NoAnswerWhy.UNREADABLE),
        (ok(said(id=None)), NoAnswerWhy.UNREADABLE),
        (ok(said(lines=[{"id": "il_0", "taxes": [{"percent": "1e9"}]}])), NoAnswerWhy.UNREADABLE),
        (ok(said(lines=[{"id": "il_0"}] * 1_001)), NoAnswerWhy.UNREADABLE),
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n", NoAnswerWhy.REFUSED),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", NoAnswerWhy.REFUSED),
        (b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n", NoAnswerWhy.SERVICE_ERROR),
        (b"SSH-2.0-OpenSSH_9.9\r\n", NoAnswerWhy.CONNECTION_LOST),
        (ok(b" " * (ANSWER_BYTES_MAX + 1)), NoAnswerWhy.CONNECTION_LOST),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300_000, NoAnswerWhy.CONNECTION_LOST),
    ],
)
async def test_a_hostile_answer_is_a_named_failure(sent: bytes, why: NoAnswerWhy) -> None:
    async with answering(sent) as url:
        result = await asked(url, question(), "key")
    assert isinstance(result, NoAnswer)
    assert result.why is why


async def test_bytes_that_come_one_by_one_are_waited_for_no_longer_than_for_all() -> None:
    async with answering(*(bytes([each]) for each in ok(said())), pause_s=0.05) as url:
        assert await asked(url, question(), "key", timeout_ms=300) == NoAnswer(why=NoAnswerWhy.TIMED_OUT)


async def test_an_answer_that_breaks_off_is_none() -> None:
    async with answering(ok(said())[:-10], ends=True) as url:
        assert await asked(url, question(), "key") == NoAnswer(why=NoAnswerWhy.CONNECTION_LOST)


async def test_a_certificate_that_nobody_vouches_for_is_not_taken(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*MadeCertificate().write(tmp_path))
    async with answering(ok(said()), tls=tls) as url:
        assert await asked(url, question(), "key") == NoAnswer(why=NoAnswerWhy.UNREACHABLE)


async def test_it_waits_as_long_as_it_is_asked_to_within_reason() -> None:
    for header, after_ms in ((b"3", 3_000), (b"999999", 300_000), (b"soon", None), (b"-1", None)):
        sent = b"HTTP/1.1 429 Slow down\r\nretry-after: %s\r\ncontent-length: 0\r\n\r\n" % header
        async with answering(sent) as url:
            assert await asked(url, question(), "key") == NoAnswer(why=NoAnswerWhy.RATE_LIMITED, after_ms=after_ms)


async def test_who_fails_several_times_in_a_row_is_left_alone_and_then_tried_by_one_call() -> None:
    now = [0.0]
    breaker = CircuitBreaker(failures_max=3, pause_ms=10_000, monotonic_s=lambda: now[0])
    adapter = service("http://127.0.0.1:1", breaker=breaker)
    try:
        for _ in range(3):
            assert await adapter.calculate(question(), key="k") == NoAnswer(why=NoAnswerWhy.UNREACHABLE)
        assert await adapter.calculate(question(), key="k") == NoAnswer(why=NoAnswerWhy.PAUSED, after_ms=10_000)
        now[0] = 10.5
        assert breaker.wait_ms() == 0, "one goes out"
        assert breaker.wait_ms() > 0, "and all others wait for what it comes to"
        breaker.failed()
        assert breaker.wait_ms() == 10_000
        now[0] = 21.0
        assert breaker.wait_ms() == 0
        breaker.succeeded()
        assert breaker.wait_ms() == 0
        assert breaker.wait_ms() == 0
    finally:
        await adapter.close()


def test_a_question_is_the_same_bytes_each_time_and_names_nobody() -> None:
    of = question(1, 2, category="saas")
    assert question_body(of) == question_body(replace(of))
    assert set(json.loads(question_body(of))) == {"currency", "date", "seller", "customer", "lines"}
