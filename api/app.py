"""The API's process, put together: pools, writer, vault, routes; and how it is served and stopped."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from api.http import documentation
from api.http.access import ApiKeys, forgetting_changed
from api.http.access_log import AccessLog
from api.http.addresses import networks
from api.http.admission import Limits as ConnectionLimits
from api.http.bulk import BulkEndpoint
from api.http.call import Parts
from api.http.callers import own_origin
from api.http.commands import CommandEndpoint
from api.http.connections import Connections
from api.http.consistency import Positions
from api.http.credentials import Credentials
from api.http.edge import Edge
from api.http.endpoints import Endpoint
from api.http.export_slots import ExportSlots
from api.http.limits import Limits, RateLimiter
from api.http.operations import Operation, Operations
from api.http.portal_visits import PortalVisits
from api.http.queries import QueryEndpoint
from api.http.raw_bodies import RawEndpoint
from api.http.reading import TenantReader
from api.http.routing import DirectRoutes
from api.http.served_certificate import ServedCertificate, served_certificate
from api.http.unstored import UnstoredEndpoint
from api.http.user_sessions import UserSessions
from api.resources import (
    accounts,
    ageing_report,
    api_keys,
    approval_limits,
    approvals,
    auth,
    auth_events,
    billing_settings,
    commands,
    coupons,
    credit_note_documents,
    credit_notes,
    customer_statement,
    customer_usage,
    customers,
    discounts,
    entitlements,
    events,
    exports,
    health,
    identity_links,
    invitations,
    invoice_documents,
    invoice_explanations,
    invoice_imports,
    invoice_items,
    invoice_previews,
    invoices,
    journal_entries,
    ledger,
    meters,
    own_sessions,
    passwords,
    payment_methods,
    payments,
    plan_migrations,
    plans,
    portal,
    prices,
    products,
    recurring_report,
    refunds,
    revenue_report,
    sagas,
    schema_registry,
    search,
    second_factors,
    sign_in_page,
    signing_keys,
    stats,
    subscription_changes,
    subscription_lifecycle,
    subscription_transfers,
    subscriptions,
    tax_rates,
    tax_registrations,
    tax_report,
    tax_settings,
    tenants,
    test_clocks,
    triggered_alerts,
    upcoming_invoices,
    usage_alerts,
    usage_corrections,
    usage_event_list,
    usage_events,
    users,
)
from api.upkeep import keeping_up
from api.usage_directory import UsageDirectory
from documents.renderer import Renderer
from gateway_adapters.registry import gateways_from
from gateway_adapters.tax.opening import tax_service_from
from infra.clock import system_clock
from infra.database import Pool, Role, open_pool
from infra.event_store.opening import open_writer
from infra.heartbeat import Heartbeat
from infra.identity.auth_log import AuthLog
from infra.identity.opening import open_identity
from infra.mail.post import Post, mailer_from
from infra.rate_limits.opening import open_rates
from infra.settings import ApiSettings, Settings, vault_master_key
from infra.vault import Vault
from usage.ends import KafkaEnds
from usage.event_list import UsageEventList
from usage.freshness import Freshness
from usage.ingest.corrections import Corrections
from usage.ingest.intake import Intake
from usage.ingest.known import Known
from usage.ingest.producer import UsageProducer
from usage.lookup import CountedEvents
from usage.taken_back import TakenBack

RESOURCES: Final[tuple[Operations, ...]] = (
    stats.STATS,
    payments.PAYMENTS,
    customers.CUSTOMERS,
    subscriptions.SUBSCRIPTIONS,
    entitlements.ENTITLEMENTS,
    invoices.INVOICES,
    invoice_items.ITEMS,
    invoice_explanations.EXPLANATIONS,
    invoice_previews.PREVIEWS,
    invoice_documents.DOCUMENTS,
    payment_methods.PAYMENT_METHODS,
    refunds.REFUNDS,
    credit_notes.CREDIT_NOTES,
    credit_note_documents.CREDIT_NOTE_DOCUMENTS,
    products.PRODUCTS,
    plans.PLANS,
    plan_migrations.MIGRATIONS,
    prices.PRICES,
    coupons.COUPONS,
    discounts.DISCOUNTS,
    meters.METERS,
    usage_alerts.USAGE_ALERTS,
    triggered_alerts.TRIGGERED_ALERTS,
    usage_events.USAGE_EVENTS,
    tax_rates.TAX_RATES,
    tax_registrations.TAX_REGISTRATIONS,
    tax_settings.SETTINGS,
    tax_report.REPORT,
    exports.EXPORTS,
    approvals.APPROVALS,
    approval_limits.APPROVAL_LIMITS,
    billing_settings.SETTINGS,
    journal_entries.JOURNAL_ENTRIES,
    ledger.LEDGER,
    test_clocks.TEST_CLOCKS,
    sagas.SAGAS,
    search.SEARCH,
    events.EVENTS,
    commands.COMMANDS,
    auth.AUTH,
    api_keys.API_KEYS,
    users.USERS,
    invitations.INVITATIONS,
    identity_links.IDENTITY_LINKS,
    tenants.TENANTS,
    auth_events.AUTH_EVENTS,
    portal.PORTAL,
    second_factors.FACTORS,
    own_sessions.OWN,
    passwords.PASSWORDS,
    accounts.ACCOUNTS,
    signing_keys.KEYS,
    sign_in_page.PAGES,
    schema_registry.REGISTRY,
    health.HEALTH,
    documentation.DOCUMENTATION,
)
"""Everything the API can do; routes are tried in this order, so what is asked for most stands first."""

DECLARE_MORE: Final = (
    invoice_imports,
    subscription_lifecycle,
    subscription_changes,
    subscription_transfers,
    ageing_report,
    recurring_report,
    revenue_report,
    customer_statement,
    customer_usage,
    upcoming_invoices,
    usage_corrections,
    usage_event_list,
)
"""Modules with operations on a resource of another: they declare them by being imported."""

_log: Final = structlog.stdlib.get_logger("api")


INGEST: Final = "ingest"
OF_INGEST: Final[tuple[Operations, ...]] = (usage_events.USAGE_EVENTS, health.HEALTH)
"""What the role `ingest` can do."""


class Application(FastAPI):
    """FastAPI's routes inside one layer of ours, which does what its own six would do."""

    def __init__(self, parts: Parts, resources: Sequence[Operations] = RESOURCES) -> None:
        super().__init__(
            title="Tallybook",
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            # Ours is in `infra.telemetry`; FastAPI's looks at every request for somebody who traces it by other means.
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )
        self._parts = parts
        for resource in resources:
            for operation in resource.declared:
                endpoint = _endpoint_of(operation)(operation, parts)
                route = Route(operation.path, endpoint, methods=[operation.method], name=operation.name)
                self.router.routes.append(route)

    def build_middleware_stack(self) -> ASGIApp:
        """The one layer."""
        return Edge(DirectRoutes(self.router), parts=self._parts)

    def openapi(self) -> dict[str, Any]:
        """The document of what is served."""
        return documentation.openapi()


def _endpoint_of(operation: Operation) -> type[Endpoint]:
    if operation.is_bulk:
        return BulkEndpoint
    if operation.is_unstored:
        return UnstoredEndpoint
    if operation.raw is not None:
        return RawEndpoint
    return CommandEndpoint if operation.is_command else QueryEndpoint


def create_app(parts: Parts, resources: Sequence[Operations] = RESOURCES) -> Application:
    """The application over parts that are ready."""
    documentation.describe(RESOURCES)
    return Application(parts, resources)


@contextlib.asynccontextmanager
async def open_parts(
    settings: Settings, *, dsn: str, certificate: ServedCertificate | None = None, role: str = health.ROLE
) -> AsyncIterator[Parts]:
    """Open what a process needs. On leaving, commands that were taken are finished before connections close."""
    api = settings.api
    async with contextlib.AsyncExitStack() as stack:
        reader = await TenantReader.open(dsn, settings.database)
        stack.push_async_callback(reader.close)
        export_slots = await ExportSlots.open(dsn, settings)
        stack.push_async_callback(export_slots.close)
        access_log = AccessLog(settings.telemetry)
        stack.callback(access_log.close)
        positions = Positions(reader.pool, topic_prefix=settings.kafka.topic_prefix, poll_ms=api.position_poll_ms)
        stack.push_async_callback(positions.close)
        writer = open_writer(dsn, settings.writer)
        stack.push_async_callback(writer.close)
        gateways = gateways_from(settings)
        for gateway in gateways.values():
            stack.push_async_callback(gateway.close)
        tax_service = tax_service_from(settings)
        if tax_service is not None:
            stack.push_async_callback(tax_service.close)
        heartbeat = Heartbeat(settings, dsn=dsn, role=role, database_role=Role.WRITER)
        await stack.enter_async_context(heartbeat.beating())
        access_pool = await open_pool(dsn, Role.ACCESS, settings.database)
        stack.push_async_callback(access_pool.close)
        rates = await stack.enter_async_context(open_rates(api, access_pool))
        auth_log = AuthLog(access_pool, settings.auth)
        await stack.enter_async_context(auth_log.writing())
        keys = ApiKeys(reader.pool, cache_s=api.key_cache_s, max_keys=api.key_cache_max_keys)
        identity = await stack.enter_async_context(open_identity(settings, access_pool, origin=own_origin(settings)))
        post = await stack.enter_async_context(Post(mailer_from(settings)).open())
        renderer = Renderer(settings.documents)
        stack.push_async_callback(renderer.close)
        users = UserSessions(identity, cache_s=api.key_cache_s, max_users=api.key_cache_max_keys)
        visits = PortalVisits(identity, cache_s=api.key_cache_s, max_visits=api.key_cache_max_keys)
        small = settings.database.model_copy(update={"pool_min_connections": 1, "pool_max_connections": 2})
        usage_pool = await open_pool(dsn, Role.WRITER, small)
        stack.push_async_callback(usage_pool.close)
        intake = corrections = event_list = None
        if settings.usage.ingest_in_api:
            intake, corrections, event_list = await stack.enter_async_context(_usage(settings, usage_pool, reader))
        freshness = None
        if settings.kafka.bootstrap is not None:
            ends = KafkaEnds(settings, bootstrap=settings.kafka.bootstrap)
            stack.push_async_callback(ends.close)
            freshness = Freshness(ends, clock=system_clock)
        await stack.enter_async_context(forgetting_changed(reader.pool, keys.forget, users.forget, visits.forget))
        parts = Parts(
            settings=settings,
            gateways=gateways,
            tax_service=tax_service,
            writer=writer,
            vault=Vault(vault_master_key(settings)),
            reader=reader,
            exports=export_slots,
            positions=positions,
            credentials=Credentials(keys, users, visits, identity.keyring, own_origin=own_origin(settings)),
            identity=identity,
            post=post,
            renderer=renderer,
            anonymous_limits=RateLimiter(api.anonymous_rate_per_min, max_names=api.rate_limit_max_names),
            limits=Limits(rates, api),
            access_log=access_log,
            access_pool=access_pool,
            auth_log=auth_log,
            heartbeat=heartbeat,
            intake=intake,
            corrections=corrections,
            usage_event_list=event_list,
            freshness=freshness,
            taken_back=TakenBack(usage_pool, settings.kafka, settings.usage),
            certificate=certificate,
        )
        await stack.enter_async_context(health.watching(parts))
        yield parts


@contextlib.asynccontextmanager
async def _usage(
    settings: Settings, pool: Pool, reader: TenantReader
) -> AsyncIterator[tuple[Intake, Corrections, UsageEventList]]:
    """The pool's role is the writer's."""
    usage = settings.usage
    known = Known(
        UsageDirectory(reader),
        partitions=usage.partitions,
        meters_last_s=usage.meter_cache_s,
        customers_last_s=usage.customer_cache_s,
    )
    producer = UsageProducer(settings.kafka.bootstrap, settings.kafka, usage)
    counted = CountedEvents(pool, settings.kafka, usage)
    async with producer.connecting():
        yield (
            Intake(known, producer, usage, clock=system_clock),
            Corrections(counted, known, producer, usage, clock=system_clock),
            UsageEventList(counted, pool, settings.kafka, usage),
        )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it would end the process before commands in hand are recorded."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Take no more connections, finish the requests in hand, return; the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


def connection_limits(api: ApiSettings) -> ConnectionLimits:
    """What the settings allow."""
    return ConnectionLimits(
        connections_max=api.connections_max,
        connections_per_address_max=api.connections_per_address_max,
        handshakes_max=api.tls_handshakes_max,
        handshakes_per_address_max=api.tls_handshakes_per_address_max,
        unfinished_max=api.unfinished_max,
        unfinished_per_address_max=api.unfinished_per_address_max,
        head_max_bytes=api.head_max_bytes,
        header_max_count=api.header_max_count,
        body_max_bytes=api.body_max_bytes,
        handshake_timeout_s=api.tls_handshake_timeout_s,
        head_timeout_s=api.head_timeout_s,
        body_timeout_s=api.body_timeout_s,
        send_timeout_s=api.send_timeout_s,
        trusted_proxies=networks(api.trusted_proxies),
    )


async def run_ingest(settings: Settings, *, dsn: str) -> None:
    """The role `ingest`: the same server at a port of its own, for usage events alone."""
    api = settings.api.model_copy(update={"port": settings.usage.ingest_port})
    usage = settings.usage.model_copy(update={"ingest_in_api": True})
    await run(replace(settings, api=api, usage=usage), dsn=dsn, role=INGEST, resources=OF_INGEST)


async def run(
    settings: Settings, *, dsn: str, role: str = health.ROLE, resources: Sequence[Operations] = RESOURCES
) -> None:
    """The role: serve until SIGTERM or SIGINT, then finish what is in hand."""
    certificate = served_certificate(settings.api)
    async with (
        open_parts(settings, dsn=dsn, certificate=certificate, role=role) as parts,
        keeping_up(parts),
        contextlib.nullcontext() if certificate is None else certificate.renewing(),
    ):
        connections = Connections(connection_limits(settings.api), certificate)
        config = uvicorn.Config(
            create_app(parts, resources),
            host=settings.api.host,
            port=settings.api.port,
            http=cast("type[asyncio.Protocol]", connections.protocol),  # it asks for a protocol by calling this
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.api.idle_timeout_s,
            proxy_headers=False,
            timeout_graceful_shutdown=int(settings.general.stop_timeout_s),
        )
        server = _Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        _log.info(f"{role}_runs", host=settings.api.host, port=settings.api.port, scheme=settings.api.scheme)
        await server.serve()
        _log.info(f"{role}_stopped")
