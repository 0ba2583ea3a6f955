"""Invoices that wait for the tax of a service outside, on a real database and a real service: taxed once, or not yet.

A service that fails leaves them waiting; whoever dies, or asks twice, taxes them once; and a person can end any wait.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from domain.catalog.price import BillingTiming
from domain.customers.customer import CreateCustomer
from domain.customers.tax_location import TaxLocation
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import DraftInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice, InvoiceStatus, WaitingFor
from domain.kernel.money import Money
from domain.kernel.stream import WorkKind
from domain.pricing.models import PerUnit
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.tax.remote import TaxCalculator
from domain.tax.settings import ChangeTaxSettings
from gateway_adapters.tax.http_service import HttpTaxService
from infra.event_store.port import Work, Writer
from infra.http.circuit_breaker import CircuitBreaker
from infra.ids import new_id
from infra.settings import TaxServiceSettings
from processors.due_work import DueWorkRunner
from processors.runs.tax_requests import GIVES_BACK_DRAFT, NOT_CONFIGURED, TaxRequests
from testing.examples.streams import CUSTOMER_ID, PRICE_ID, SUBSCRIPTION_ID, plan_on_sale, subscribe
from testing.examples.taxes import taxed_in_germany
from testing.processors_cell import EUR
from testing.requests import TENANT
from testing.services import FreshDatabase
from tests.contracts.sandbox_process import API_KEY
from tests.integration.due_work_scene import DyingWriter, Scene, holds, open_scene
from tests.integration.log_filling import domain_writer

TAX = WorkKind.INVOICE_TAX
SETTINGS = TaxServiceSettings(unfit_answers_max=3)
BERLIN = TaxLocation(country="DE", postal_prefix="101")
ROW = "SELECT held, attempts, last_error FROM log.due_work WHERE kind = 'invoice.tax' AND subject = $1"
NUMBERS = "SELECT count(*) || ' of ' || max(stream_version) FROM log.events WHERE event_type = 'invoice_number.taken'"


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(database, tmp_path) as running:
        for command in (*taxed_in_germany(), ChangeTaxSettings(calculator=TaxCalculator.REMOTE)):
            await running.do(command)
        yield running


async def waiting(scene: Scene, *, category: str | None = None, amount: int = 10_000) -> str:
    """An invoice that was finalized and waits for its tax; a category that the sandbox is wrong about, if one."""
    customer_id, invoice_id = new_id("cus_"), new_id("in_")
    await scene.do(CreateCustomer(customer_id=customer_id, currency="EUR", tax_location=BERLIN))
    line = InvoiceLine(
        line_id=new_id("il_"),
        description="Set-up",
        amount=Money(amount, EUR),
        quantity=Decimal(1),
        timing=BillingTiming.IN_ARREARS,
        tax_category=category,
    )
    await scene.do(
        DraftInvoice(
            invoice_id=invoice_id,
            customer_id=customer_id,
            collection=CollectionMethod.SEND_INVOICE,
            currency=EUR,
            lines=(line,),
        )
    )
    await scene.do(FinalizeInvoice(invoice_id=invoice_id))
    assert (await invoice(scene, invoice_id)).waiting_for is WaitingFor.TAX
    return invoice_id


async def invoice(scene: Scene, invoice_id: str) -> Invoice:
    found = await scene.states.read(INVOICE, TENANT, invoice_id)
    assert found is not None
    return found


async def latest_invoice(scene: Scene) -> str:
    found = await scene.states.read(SUBSCRIPTION, TENANT, SUBSCRIPTION_ID)
    assert found is not None
    assert found.latest_invoice_id is not None
    return found.latest_invoice_id


async def row(scene: Scene, invoice_id: str) -> tuple[bool, int, str | None] | None:
    """Whether its work is held, how often it was run, and what was last said of it; None once it is done."""
    found = await scene.pool.fetchrow(ROW, invoice_id)
    return None if found is None else (found["held"], found["attempts"], found["last_error"])


@contextlib.asynccontextmanager
async def runs(
    scene: Scene, *, url: str | None = None, timeout_ms: int = 5_000, writer: Writer | None = None
) -> AsyncIterator[tuple[DueWorkRunner, TaxRequests]]:
    """One process's runs of this work, on the scene's sandbox unless another address is named."""
    service = HttpTaxService(
        base_url=url or scene.sandbox.url,
        api_key=API_KEY,
        timeout_ms=timeout_ms,
        connections_max=8,
        check_timeout_ms=1_000,
        breaker=CircuitBreaker(failures_max=1_000, pause_ms=1),
    )
    try:
        requests = TaxRequests(writer or scene.writer, scene.states, service, SETTINGS)
        yield DueWorkRunner(scene.queue, {TAX: requests.ask}, scene.settings), requests
    finally:
        await service.close()


async def run(
    scene: Scene, *, url: str | None = None, timeout_ms: int = 5_000, claimed: list[Work] | None = None
) -> None:
    """Ask for what is due, or for what was `claimed` before."""
    async with runs(scene, url=url, timeout_ms=timeout_ms) as (runner, _):
        work = await scene.claim(TAX, runner.owner) if claimed is None else claimed
        await asyncio.gather(*(runner.run_one(each) for each in work))


async def again(scene: Scene, **how: str | int) -> None:
    await scene.make_due(TAX)
    await run(scene, **how)  # type: ignore[arg-type]


async def test_the_answer_of_the_service_finalizes_it(scene: Scene) -> None:
    invoice_id = await waiting(scene)
    await run(scene)
    found = await invoice(scene, invoice_id)
    assert (found.status, found.total, found.waiting_for) == (InvoiceStatus.OPEN, Money(11_900, EUR), None)
    assert found.tax is not None
    assert (found.tax.calculation_id or "").startswith("txc_")
    assert await row(scene, invoice_id) is None
    await holds(scene)


async def test_a_service_that_times_out_leaves_drafts_waiting_and_is_asked_again(scene: Scene) -> None:
    ids = [await waiting(scene) for _ in range(3)]
    await scene.sandbox.faults(seed=1, timeout_before_charge=1.0)
    for _ in range(3):
        await again(scene, timeout_ms=150)
    for each in ids:
        found = await invoice(scene, each)
        assert (found.status, found.waiting_for, found.tax) == (InvoiceStatus.DRAFT, WaitingFor.TAX, None)
        assert found.tax_request is not None
        assert found.tax_request.unanswered == "timed_out"
        assert (await scene.events(each)).count("invoice.tax_unanswered") == 1, "said once, however often it fails"
        assert await row(scene, each) == (False, 3, "timed_out"), "and never given up"
    assert await scene.pool.fetchval(NUMBERS) is None, "no number is taken by what is not finalized"
    await scene.sandbox.faults()
    await again(scene)
    assert [(await invoice(scene, each)).total for each in ids] == [Money(11_900, EUR)] * 3
    assert await scene.pool.fetchval(NUMBERS) == "3 of 3"
    await holds(scene)


async def test_a_service_that_is_down_is_asked_again_once_it_is_back(scene: Scene) -> None:
    invoice_id = await waiting(scene)
    await scene.sandbox.kill()
    await run(scene)
    assert await row(scene, invoice_id) == (False, 1, "unreachable")
    await scene.sandbox.start()
    await again(scene)
    assert (await invoice(scene, invoice_id)).status is InvoiceStatus.OPEN


async def test_what_gives_back_a_line_that_waits_is_asked_about_behind_it(scene: Scene) -> None:
    seats = plan_on_sale(in_advance=PerUnit(currency=EUR, unit_amount=Decimal(1_000)))
    customer = CreateCustomer(customer_id=CUSTOMER_ID, currency="EUR", tax_location=BERLIN)
    four = (RequestedItem(price_id=PRICE_ID, quantity=Decimal(4)),)
    for command in (*seats, customer, subscribe(items=four)):
        await scene.do(command)
    first = await latest_invoice(scene)
    two = ChangedItem(price_id=PRICE_ID, quantity=Decimal(2))
    await scene.do(ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(two,)))
    second = await latest_invoice(scene)
    await scene.sandbox.faults(seed=1, error_before_charge=1.0)
    await again(scene)
    told = [(await invoice(scene, each)).tax_request for each in (first, second)]
    assert [each and each.unanswered for each in told] == ["service_error", GIVES_BACK_DRAFT]
    assert await row(scene, second) == (False, 1, GIVES_BACK_DRAFT)
    await scene.sandbox.faults()
    for _ in "12":
        await again(scene)
    found = [await invoice(scene, each) for each in (first, second)]
    assert [each.total for each in found] == [Money(4_760, EUR), Money(-2_380, EUR)]
    assert [each.number for each in found] == ["INV-000001", "INV-000002"]
    await holds(scene)


async def test_an_error_that_the_service_keeps_for_its_key_does_not_stay_for_ever(scene: Scene) -> None:
    invoice_id = await waiting(scene)
    await scene.sandbox.faults(seed=1, error_before_charge=1.0)
    await run(scene)
    await scene.sandbox.faults()
    assert await row(scene, invoice_id) == (False, 1, "service_error")
    await again(scene)
    assert (await invoice(scene, invoice_id)).status is InvoiceStatus.OPEN


async def test_whoever_dies_between_answer_and_finalization_the_invoice_is_taxed_once(scene: Scene) -> None:
    invoice_id = await waiting(scene)
    async with runs(scene, writer=DyingWriter()) as (runner, requests):
        (work,) = await scene.claim(TAX, runner.owner)
        with pytest.raises(Exception, match="FinalizeWithTax"):
            await requests.ask(work)  # the service has answered; nobody hears of it
    assert (await invoice(scene, invoice_id)).status is InvoiceStatus.DRAFT
    await scene.pool.execute("UPDATE log.due_work SET lease_until = now() WHERE kind = $1", TAX.value)
    await again(scene)
    assert (await scene.events(invoice_id)).count("invoice.finalized") == 1
    await run(scene, claimed=[work])
    assert (await scene.events(invoice_id)).count("invoice.finalized") == 1, "the dead worker's work, taken up late"
    assert await scene.pool.fetchval(NUMBERS) == "1 of 1"
    await holds(scene)


async def test_two_workers_that_ask_at_once_tax_it_once(scene: Scene, database: FreshDatabase) -> None:
    ids = [await waiting(scene) for _ in range(6)]
    work: list[Work] = []
    while len(work) < len(ids):
        work += await scene.claim(TAX, "workers")
    async with domain_writer(database.dsn) as other, runs(scene) as (mine, _), runs(scene, writer=other) as (yours, _):
        await asyncio.gather(*(runner.run_one(each) for runner in (mine, yours) for each in work))
    for each in ids:
        assert (await scene.events(each)).count("invoice.finalized") == 1
        assert (await invoice(scene, each)).total == Money(11_900, EUR)
    assert await scene.pool.fetchval(NUMBERS) == "6 of 6"


@pytest.mark.parametrize(
    ("category", "why"),
    [
        ("sandbox_negative", "tax_answer_unfit"),
        ("sandbox_wrong_total", "tax_answer_unfit"),
        ("sandbox_too_little", "tax_answer_unfit"),
        ("sandbox_missing_line", "tax_answer_unfit"),
        ("sandbox_other_currency", "unreadable"),
        ("sandbox_unreadable", "unreadable"),
        ("sandbox_refused", "refused"),
    ],
)
async def test_an_answer_that_cannot_be_taken_waits_for_a_person_who_ends_it(
    scene: Scene, category: str, why: str
) -> None:
    invoice_id = await waiting(scene, category=category)
    for _ in range(SETTINGS.unfit_answers_max):
        await again(scene)
    held, _, told = await row(scene, invoice_id) or (None, None, None)
    assert held, "after several such answers"
    assert told is not None
    assert told.startswith(why)
    found = await invoice(scene, invoice_id)
    assert found.tax_request is not None
    assert (found.status, found.tax_request.unanswered) == (InvoiceStatus.DRAFT, why)
    await scene.do(FinalizeInvoice(invoice_id=invoice_id))
    assert await row(scene, invoice_id) == (False, 0, None), "asked for anew"
    await scene.do(FinalizeInvoice(invoice_id=invoice_id, by_table=True))
    found = await invoice(scene, invoice_id)
    assert (found.status, found.total) == (InvoiceStatus.OPEN, Money(11_900, EUR))
    assert await row(scene, invoice_id) is None
    await holds(scene)


async def test_an_answer_that_comes_after_a_person_changes_nothing(scene: Scene) -> None:
    voided, finalized = await waiting(scene), await waiting(scene)
    work = list(await scene.claim(TAX, "worker"))
    while len(work) < 2:
        work += await scene.claim(TAX, "worker")
    await scene.do(VoidInvoice(invoice_id=voided))
    await scene.do(FinalizeInvoice(invoice_id=finalized, by_table=True))
    await run(scene, claimed=work)
    assert (await invoice(scene, voided)).status is InvoiceStatus.VOID
    assert (await scene.events(voided)).count("invoice.finalized") == 0
    assert (await scene.events(finalized)).count("invoice.finalized") == 1
    await holds(scene)


async def test_without_a_service_it_says_so_and_waits_for_a_person(scene: Scene) -> None:
    invoice_id = await waiting(scene)
    requests = TaxRequests(scene.writer, scene.states, None, SETTINGS)
    runner = DueWorkRunner(scene.queue, {TAX: requests.ask}, scene.settings)
    for work in await scene.claim(TAX, runner.owner):
        await runner.run_one(work)
    held, _, _ = await row(scene, invoice_id) or (None, None, None)
    assert held
    found = await invoice(scene, invoice_id)
    assert found.tax_request is not None
    assert found.tax_request.unanswered == NOT_CONFIGURED
