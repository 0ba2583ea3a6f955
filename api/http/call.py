"""One request as a handler sees it: whose it is, what it names, and the parts of the process that serve it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qsl

from api.http.access_log import AccessLog
from api.http.callers import Caller
from api.http.consistency import Positions
from api.http.credentials import Credentials
from api.http.dry_runs import not_possible
from api.http.export_slots import ExportSlots
from api.http.limits import Limits, RateLimiter
from api.http.principal import Principal, PrincipalKind
from api.http.problems import (
    PASSWORD_CONFIRMATION_REQUIRED,
    FieldError,
    Problem,
    invalid,
    permission_denied,
)
from api.http.reading import TenantReader
from api.http.replies import KEY_NAMESPACE, PORTAL_NAMESPACE
from api.http.served_certificate import ServedCertificate
from documents.renderer import Renderer
from domain.identity.permissions import CAUTIONS, Caution, Permission
from domain.kernel.identifiers import is_id
from domain.kernel.refusal import Refusal
from gateway_adapters.port import Gateway
from gateway_adapters.tax.port import TaxService
from infra.database import Pool
from infra.event_store.port import Writer
from infra.heartbeat import Heartbeat
from infra.identity.auth_log import AuthLog
from infra.identity.opening import Identity
from infra.mail.post import Post
from infra.settings import Settings
from infra.vault import Vault
from projections.reading import Reader
from usage.event_list import UsageEventList
from usage.freshness import Freshness
from usage.ingest.corrections import Corrections
from usage.ingest.intake import Intake
from usage.taken_back import TakenBack

MAX_QUERY_PAIRS = 50


@dataclass(slots=True, kw_only=True)
class Parts:
    """What one API process consists of. `intake` takes usage, `corrections` takes it back and `usage_event_list` tells
    what became of it, where this one does; `taken_back` tells what counters are to leave out of that.
    `freshness` knows up to when usage is counted, where brokers are named. `in_flight` holds the (tenant,
    Idempotency-Key) pairs being done here.
    """

    settings: Settings
    writer: Writer
    vault: Vault
    gateways: Mapping[str, Gateway]
    tax_service: TaxService | None
    reader: TenantReader
    exports: ExportSlots
    credentials: Credentials
    identity: Identity
    post: Post
    renderer: Renderer
    positions: Positions
    anonymous_limits: RateLimiter
    limits: Limits
    access_log: AccessLog
    access_pool: Pool
    auth_log: AuthLog
    heartbeat: Heartbeat
    taken_back: TakenBack
    intake: Intake | None = None
    corrections: Corrections | None = None
    usage_event_list: UsageEventList | None = None
    freshness: Freshness | None = None
    certificate: ServedCertificate | None = None
    in_flight: set[tuple[str, str]] = field(default_factory=set)


class Call:
    """A request, authenticated. Raw values are parsed by whoever needs them; `caller`, and the body's JSON as it was
    `sent`, are there in unstored ones.
    """

    __slots__ = (
        "caller",
        "headers",
        "is_dry_run",
        "mode",
        "parts",
        "path",
        "principal",
        "query",
        "request_id",
        "sent",
        "tenant_id",
        "writer",
    )

    def __init__(
        self,
        parts: Parts,
        principal: Principal,
        request_id: str,
        headers: Mapping[bytes, bytes],
        path: Mapping[str, str],
        query: bytes,
        caller: Caller | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.parts = parts
        self.writer = parts.writer if writer is None else writer
        self.principal = principal
        self.tenant_id = principal.tenant_id
        self.mode = principal.mode
        self.request_id = request_id
        self.headers = headers
        self.path = path
        self.query = query
        self.caller = caller
        self.sent: object = None
        self.is_dry_run = False

    @property
    def actor(self) -> str:
        """Who does this, as events record it."""
        return self.principal.actor

    def gateway(self, name: str) -> Gateway:
        """The gateway of this name. Raises the 400 of a dry run: outside, nothing can be tried and forgotten."""
        if self.is_dry_run:
            raise not_possible()
        return self.parts.gateways[name]

    def stored_key(self, key: str) -> str:
        """The Idempotency-Key as the store knows it: a customer's never meets another's, or the tenant's own."""
        customer_id = self.principal.customer_id
        return KEY_NAMESPACE + key if customer_id is None else f"{PORTAL_NAMESPACE}{customer_id}/{key}"

    def need(self, permission: Permission, *, param: str) -> None:
        """What this field asks for needs a permission besides the operation's. Raises the 403 that names it, or that
        of a password that was not entered lately, where it is a permission that asks for one.
        """
        if permission not in self.principal.permissions:
            raise permission_denied(permission, param=param)
        if Caution.PASSWORD in CAUTIONS[permission]:
            self.check_confirmed(permission)

    def check_confirmed(self, permission: Permission | None) -> None:
        """Raise the 403 of who entered no password lately: somebody else may sit at their screen. Keys have none."""
        principal = self.principal
        if principal.kind is PrincipalKind.API_KEY:
            return
        lasts = timedelta(seconds=self.parts.settings.auth.confirmed_s)
        if principal.confirmed_at is None or self.parts.identity.clock() >= principal.confirmed_at + lasts:
            raise Problem(PASSWORD_CONFIRMATION_REQUIRED, permission=permission)

    def id(self, name: str, prefix: str, missing: type[Refusal]) -> str:
        """The id in the path under this name. What is no id at all names nothing: the refusal for what is missing."""
        value = self.path[name]
        if not is_id(value, prefix):
            raise missing()
        return value

    def reading(self) -> AbstractAsyncContextManager[Reader]:
        """A connection that sees the tenant's rows, or only the customer's own where a customer asks."""
        return self.parts.reader.of(self.tenant_id, self.principal.customer_id)

    def query_pairs(self) -> list[tuple[str, str]]:
        """The query string's names and values, percent-decoded."""
        if not self.query:
            return []
        try:
            return parse_qsl(
                self.query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PAIRS
            )
        except ValueError:
            raise invalid([FieldError("", "malformed_query", "The query string cannot be read")]) from None
