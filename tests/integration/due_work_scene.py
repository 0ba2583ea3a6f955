"""Due work run by hand: a real gateway, a real database and the processors' own runs, one run at a time.

Days pass by moving back what both stores have written down; a worker dies by losing its way to the log.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from domain.catalog.price import BillingTiming
from domain.customers.customer import CreateCustomer
from domain.customers.payment_method import AttachPaymentMethod, PaymentMethodKind
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import DraftInvoice
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.money import Money
from domain.kernel.stream import Command, WorkKind
from domain.payments.commands import CreatePayment
from domain.payments.payment import PAYMENT
from gateway_adapters.port import PaymentRequest, PaymentResult, TransactionKind
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.port import Outcome, Rehearsed, Request, SealedPerson, StoreUnavailable, Work, Writer
from infra.event_store.postgres import PostgresStorage
from infra.event_store.writer import GroupCommitWriter
from infra.ids import new_id
from infra.payment_tokens import PaymentTokens, seal_token
from infra.settings import ProcessorSettings, WriterSettings
from infra.vault import Vault
from processors.app import runs_of
from processors.due_work import DueWorkRunner, Run
from processors.invariants.entries import check_entries
from processors.invariants.findings import Difference, Invariant
from processors.invariants.gateway import check_gateway
from processors.invariants.unfinished import check_unfinished
from processors.states import StateReader
from schemas.codec import default_codec
from testing.processors_cell import EUR, VISA, until
from testing.requests import TENANT, request
from testing.services import FreshDatabase
from tests.contracts.sandbox_process import SandboxProcess
from tests.integration.log_filling import domain_writer

QUICK = ProcessorSettings(
    work_backoff_ms=1, refund_retry_backoff_ms=1, refund_retry_backoff_max_ms=1, refund_failures_max=3
)


class DyingWriter:
    """A worker's way to the log, cut off: what it learns is never recorded."""

    async def submit(self, request: Request) -> Outcome:
        raise StoreUnavailable(type(request.command).__name__)

    async def rehearse(self, request: Request) -> Rehearsed:
        raise StoreUnavailable(type(request.command).__name__)

    async def submit_together(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        raise StoreUnavailable(type(requests[0].command).__name__)

    async def rehearse_together(self, requests: Sequence[Request]) -> Sequence[Rehearsed]:
        raise StoreUnavailable(type(requests[0].command).__name__)


@dataclass(slots=True)
class Scene:
    """What a test acts on."""

    writer: GroupCommitWriter
    states: StateReader
    queue: PostgresDueWork
    sandbox: SandboxProcess
    pool: asyncpg.Pool
    settings: ProcessorSettings = QUICK
    sandbox_timeout_ms: int = 10_000
    vault: Vault = field(default_factory=lambda: Vault(bytes(range(32))))

    async def do(self, command: Command, *, seals: SealedPerson | None = None) -> None:
        outcome = await self.writer.submit(request(command, seals=seals))
        assert outcome.refusal_code is None, outcome.refusal_code

    async def customer(self, token: str = VISA) -> str:
        """A customer with a default payment method of this token."""
        customer_id = new_id("cus_")
        await self.do(CreateCustomer(customer_id=customer_id, currency="EUR"))
        await self.card(customer_id, token, default=True)
        return customer_id

    async def card(self, customer_id: str, token: str, *, default: bool = False) -> str:
        """A payment method of this token."""
        method_id = new_id("pm_")
        key = await self.vault.key_of(self.pool, TENANT, customer_id)
        sealed = seal_token(self.vault, TENANT, customer_id, token, key)
        await self.do(
            AttachPaymentMethod(
                payment_method_id=method_id,
                customer_id=customer_id,
                kind=PaymentMethodKind.CARD,
                gateway="sandbox",
                token_reference=sealed.rows.reference,
                make_default=default,
            ),
            seals=sealed.rows,
        )
        return method_id

    async def pay(self, token: str = VISA) -> str:
        """A payment whose call is due."""
        customer_id, payment_id = await self.customer(token), new_id("pay_")
        await self.do(
            CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=Money(4_200, EUR), confirm=True)
        )
        return payment_id

    async def run(
        self,
        kind: WorkKind,
        *,
        dies: bool = False,
        settings: ProcessorSettings | None = None,
        claimed: Sequence[Work] = (),
    ) -> None:
        """Run what is due of a kind as one process does: what was `claimed` before, or what is claimed now."""
        adapter = self.sandbox.adapter(timeout_ms=self.sandbox_timeout_ms)
        try:
            writer: Writer = DyingWriter() if dies else self.writer
            settings = settings or self.settings
            runs = runs_of(writer, self.states, {"sandbox": adapter}, PaymentTokens(self.vault, self.pool), settings)
            runner = DueWorkRunner(self.queue, runs, settings)
            for work in claimed or await self.claim(kind, runner.owner):
                await (_die(runs[kind], work) if dies else runner.run_one(work))
        finally:
            await adapter.close()

    async def make_due(self, kind: WorkKind) -> None:
        """Let the pauses of a kind of work be over."""
        await self.pool.execute("UPDATE log.due_work SET ready_at = now() WHERE kind = $1", kind.value)

    async def customer_of(self, payment_id: str) -> str:
        """Whose a payment is."""
        payment = await self.states.read(PAYMENT, TENANT, payment_id)
        assert payment is not None
        return payment.customer_id

    async def invoice(self, customer_id: str, collection: CollectionMethod) -> str:
        """An open invoice of EUR 88.00."""
        invoice_id = new_id("in_")
        line = InvoiceLine(
            line_id=new_id("il_"),
            description="Set-up",
            amount=Money(8_800, EUR),
            quantity=Decimal(1),
            timing=BillingTiming.IN_ARREARS,
        )
        await self.do(
            DraftInvoice(
                invoice_id=invoice_id, customer_id=customer_id, collection=collection, currency=EUR, lines=(line,)
            )
        )
        await self.do(FinalizeInvoice(invoice_id=invoice_id))
        return invoice_id

    async def claim(self, kind: WorkKind, owner: str) -> list[Work]:
        found: list[Work] = []

        async def is_due() -> bool:
            found.extend(await self.queue.claim({kind: 10}, owner=owner, lease_ms=30_000))
            return bool(found)

        await until(is_due, f"{kind} is due")
        return found

    async def pass_time(self, hours: float) -> None:
        """What both stores have written down is so much older now; leases have run out."""
        past = timedelta(hours=hours)
        for column in ("due_at", "ready_at", "lease_until", "first_run_at", "claimed_at"):
            await self.pool.execute(f"UPDATE log.due_work SET {column} = {column} - $1::interval", past)  # noqa: S608
        await self.sandbox.stop()
        with contextlib.closing(sqlite3.connect(self.sandbox.store_path)) as store, store:
            store.execute("UPDATE answers SET created_ms = created_ms - ?", (round(hours * 3_600_000),))
        await self.sandbox.start()

    async def taken(self, kind: TransactionKind) -> list[str | None]:
        """The references of what the gateway took or returned."""
        adapter = self.sandbox.adapter()
        try:
            listed = adapter.list_transactions(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
            return [each.reference async for each in listed if each.kind is kind]
        finally:
            await adapter.close()

    async def call_comes_late(self, payment_id: str, token: str = VISA) -> PaymentResult:
        """A call of the first attempt that was on its way for long, or that a worker makes who froze before it."""
        adapter, payment = self.sandbox.adapter(), await self.states.read(PAYMENT, TENANT, payment_id)
        assert payment is not None
        reference = f"{payment_id}:1"
        try:
            return await adapter.create_payment(
                PaymentRequest(
                    reference=reference,
                    amount=payment.amount,
                    payment_method_token=token,
                    idempotency_key=reference,
                    customer_reference=payment.customer_id,
                )
            )
        finally:
            await adapter.close()

    async def events(self, stream_id: str) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT event_type FROM log.events WHERE stream_id = $1 ORDER BY stream_version", stream_id
        )
        return [row[0] for row in rows]


async def differences(scene: Scene) -> list[Difference]:
    """What the audit says of the gateway's record and ours, of books and documents, and of what is unfinished."""
    adapter, codec = scene.sandbox.adapter(), default_codec()
    try:
        checked = [
            await check_gateway(scene.pool, codec, {"sandbox": adapter}),
            *(await check_entries(scene.pool, codec, [Invariant.DOCUMENTS])).values(),
            await check_unfinished(scene.pool, codec),
        ]
        return [each for check in checked for each in check.named]
    finally:
        await adapter.close()


async def holds(scene: Scene) -> None:
    """The gateway's record is ours, the books are what the documents say, and nothing is unfinished."""
    assert await differences(scene) == []


async def _die(run: Run, work: Work) -> None:
    with pytest.raises(StoreUnavailable):
        await run(work)


@contextlib.asynccontextmanager
async def open_scene(database: FreshDatabase, folder: Path) -> AsyncIterator[Scene]:
    """A scene on a database and a gateway of its own."""
    settings = WriterSettings()
    codec = default_codec()
    pool = await asyncpg.create_pool(database.dsn, min_size=1, max_size=2)
    reading = PostgresStorage(database.dsn, settings)
    try:
        async with SandboxProcess(folder) as sandbox, domain_writer(database.dsn) as writer:
            states = StateReader(reading, codec, writer.held)
            yield Scene(writer, states, PostgresDueWork(pool), sandbox, pool)
    finally:
        await reading.close()
        await pool.close()
