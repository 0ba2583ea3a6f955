"""The processors' process: Faust agents for whatever consumes events, and the runner of due work, put together."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Mapping
from typing import Final

import faust
import structlog
from aiokafka import AIOKafkaProducer

from domain.kernel.stream import WorkKind
from gateway_adapters.port import Gateway
from gateway_adapters.registry import gateways_from
from gateway_adapters.tax.opening import tax_service_from
from infra.database import CONNECTION_ERRORS, Pool, Role, open_pool
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.log import Listener, PostgresLog
from infra.event_store.opening import open_writer
from infra.event_store.port import Writer
from infra.event_store.postgres import PostgresStorage
from infra.heartbeat import Heartbeat
from infra.kafka.dead_letters import DeadLetters
from infra.kafka.topics import ensure_topics
from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.payment_tokens import PaymentTokens
from infra.settings import ProcessorSettings, Settings, data_dir, vault_master_key
from infra.vault import Vault
from processors import sagas
from processors.consumers import ConsumerDeadLetters, ConsumerParts, Consumers, bound
from processors.delivery import deliver, end_process, faust_app
from processors.due_work import DueWorkRunner, Run
from processors.journeys import Journeys
from processors.runs.approval_expiries import ApprovalExpiries
from processors.runs.clock_deletions import ClockDeletions
from processors.runs.finalizations import Finalizations
from processors.runs.gateway_calls import GatewayCalls
from processors.runs.method_deletions import MethodDeletions
from processors.runs.plan_migrations import PlanMigrations
from processors.runs.refund_retries import RefundRetries
from processors.runs.renewals import Renewals
from processors.runs.sweeper import Sweeper
from processors.runs.tax_requests import TaxRequests
from processors.runs.test_clocks import TestClocks
from processors.runs.usage_closings import UsageClosings
from processors.states import StateReader
from processors.usage_alerts import changes
from processors.usage_alerts.watch import UsageAlertWatch
from processors.usage_thresholds import UsageThresholds
from processors.watch import Watch
from schemas.codec import default_codec
from usage.closings import Closings
from usage.ends import KafkaEnds
from usage.taken_back import TakenBack

log = structlog.get_logger(__name__)

ROLE = "processors"
MEASURE_INTERVAL_S = 5.0


CONSUMERS: Final[tuple[Consumers, ...]] = (sagas.consumers_of, changes.consumers_of)
"""Whatever wants events: a line each."""


def runs_of(
    writer: Writer,
    states: StateReader,
    gateways: Mapping[str, Gateway],
    tokens: PaymentTokens,
    settings: ProcessorSettings,
) -> dict[WorkKind, Run]:
    """The runs of real-time and clock work that need no more than these."""
    calls = GatewayCalls(writer, states, gateways, tokens, settings)
    renewals = Renewals(writer)
    refund_retries = RefundRetries(writer, states, settings)
    deletions = MethodDeletions(writer, states, gateways, tokens)
    return {
        WorkKind.SUBSCRIPTION_RENEWAL: renewals.renew,
        WorkKind.INVOICE_FINALIZATION: Finalizations(writer).finalize,
        WorkKind.PAYMENT_GATEWAY_CALL: calls.payment,
        WorkKind.REFUND_GATEWAY_CALL: calls.refund,
        WorkKind.REFUND_RETRY: refund_retries.retry,
        WorkKind.APPROVAL_EXPIRY: ApprovalExpiries(writer).expire,
        WorkKind.PAYMENT_METHOD_DELETION: deletions.delete,
    }


class Processors:
    """One processors process, from its connections to its last acknowledgement."""

    def __init__(
        self, settings: Settings, *, dsn: str, bootstrap: str, consumers: tuple[Consumers, ...] = CONSUMERS
    ) -> None:
        self._settings = settings
        self._consumers = consumers
        self._dsn = dsn
        self._bootstrap = bootstrap
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask `run` to finish what is under way and end."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop`; a part that breaks ends the process at once, for a supervisor to start again."""
        settings = self._settings
        kafka = settings.kafka
        tolerate_unreadable_batches()
        async with contextlib.AsyncExitStack() as stack:
            pool = await open_pool(self._dsn, Role.WRITER, settings.database)
            stack.push_async_callback(pool.close)
            await ensure_topics(
                self._bootstrap,
                prefix=kafka.topic_prefix,
                partitions=kafka.partitions,
                replication_factor=kafka.replication_factor,
                request_timeout_ms=kafka.request_timeout_ms,
            )
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True)
            await producer.start()
            stack.push_async_callback(producer.stop)
            codec = default_codec()
            writer = open_writer(self._dsn, settings.writer, codec=codec)
            stack.push_async_callback(writer.close)
            gateways = gateways_from(settings)
            for gateway in gateways.values():
                stack.push_async_callback(gateway.close)

            journeys = Journeys(settings.processors)
            queue = PostgresDueWork(pool)
            event_log = PostgresLog(pool)
            reading = PostgresStorage(self._dsn, settings.writer)
            stack.push_async_callback(reading.close)
            states = StateReader(reading, codec, writer.held)
            tokens = PaymentTokens(Vault(vault_master_key(settings)), pool)
            runs = runs_of(writer, states, gateways, tokens, settings.processors)
            runs[WorkKind.SAGA_DEADLINE] = Sweeper(writer, journeys, event_log, codec, settings.processors).sweep
            tax_service = tax_service_from(settings)
            if tax_service is not None:
                stack.push_async_callback(tax_service.close)
            runs[WorkKind.INVOICE_TAX] = TaxRequests(writer, states, tax_service, settings.tax_service).ask
            ends = KafkaEnds(settings, bootstrap=self._bootstrap)
            stack.push_async_callback(ends.close)
            closings = Closings(pool, ends, partitions=settings.usage.partitions)
            runs[WorkKind.INVOICE_USAGE] = UsageClosings(writer, states, closings).close
            thresholds = UsageThresholds(writer, states, event_log, pool, ends, settings)
            clocks = TestClocks(writer, states, queue, settings.processors, is_settled=thresholds.is_settled)
            runs[WorkKind.CLOCK_ADVANCE] = clocks.advance
            runs[WorkKind.CLOCK_DELETION] = ClockDeletions(writer, states, queue, event_log, settings.processors).delete
            runs[WorkKind.PLAN_MIGRATION] = PlanMigrations(writer, states, event_log).run
            runner = DueWorkRunner(queue, runs, settings.processors)
            clocks.run_with(runner)

            seen = await open_pool(self._dsn, Role.READER, settings.database)
            stack.push_async_callback(seen.close)
            taken_back = TakenBack(pool, kafka, settings.usage)
            alerts = UsageAlertWatch(
                writer, pool, seen, thresholds, taken_back, settings.processors, topic_prefix=kafka.topic_prefix
            )

            cell = kafka.topic_prefix or "tallybook"
            folder = data_dir(settings) / "faust"
            app = faust_app(f"{cell}-processors", self._bootstrap, kafka, settings.processors, folder=folder)
            letters = DeadLetters(pool, producer, topic_prefix=kafka.topic_prefix)
            parts = ConsumerParts(writer, journeys, codec, pool, kafka.topic_prefix)
            delivered = []
            for consumer in (each for make in self._consumers for each in make(parts)):
                delivered.append(bound(consumer, parts))
                deliver(app, delivered[-1], settings.processors, ConsumerDeadLetters(letters, queue, consumer.holds))

            topics = sorted({topic for each in delivered for topic in each.topics})
            named = tax_service if settings.tax_service.url is not None else None
            watch = Watch(settings, self._bootstrap, topics, app, runner, journeys, gateways, named, alerts)
            stack.push_async_callback(watch.close)
            heartbeat = Heartbeat(settings, dsn=self._dsn, role=ROLE, database_role=Role.WRITER, parts=watch.parts)
            await stack.enter_async_context(heartbeat.beating())
            probe = await heartbeat.serve(settings.processors.probe_port)
            stack.push_async_callback(probe.stop)
            await self._serve(app, runner, alerts, pool)

    async def _serve(self, app: faust.App, runner: DueWorkRunner, alerts: UsageAlertWatch, pool: Pool) -> None:
        stop_s = self._settings.general.stop_timeout_s
        grown = asyncio.Event()
        listener = Listener(pool, grown)
        await app.start()
        log.info("processors_run")
        running = asyncio.create_task(runner.run(listener, grown))
        measuring = asyncio.create_task(_measure(runner))
        watching = asyncio.create_task(alerts.run())
        stopping = asyncio.create_task(self._stop.wait())
        faust_ended = asyncio.ensure_future(app.wait_until_stopped())
        ended, _ = await asyncio.wait({running, watching, stopping, faust_ended}, return_when=asyncio.FIRST_COMPLETED)
        if stopping not in ended:
            error = next((each.exception() for each in (running, watching) if each in ended), app.crash_reason)
            end_process("a_part_ended", error=repr(error))
        measuring.cancel()
        watching.cancel()
        runner.stop()
        try:
            await asyncio.wait_for(app.stop(), timeout=stop_s)
            await asyncio.wait_for(running, timeout=stop_s)
            await asyncio.wait_for(listener.close(), timeout=stop_s)
        except TimeoutError:
            end_process("stop_took_too_long")
        log.info("processors_stopped")


async def _measure(runner: DueWorkRunner) -> None:
    while True:
        with contextlib.suppress(*CONNECTION_ERRORS):
            await runner.measure()
        await asyncio.sleep(MEASURE_INTERVAL_S)


async def run(settings: Settings, *, dsn: str, bootstrap: str) -> None:
    """The role: run until SIGTERM or SIGINT."""
    logging.getLogger("faust").setLevel(logging.WARNING)
    processors = Processors(settings, dsn=dsn, bootstrap=bootstrap)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, processors.stop)
    await processors.run()
