"""Every command there is, and who decides it: the handlers of all contexts, each with what follows from its events.

Metadata are no context's business, nor is who asks: what changes metadata, and what a customer asks for themselves or
whoever looks after the cell of a tenant, stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.approvals import commands as approvals
from domain.approvals.limits import check_limits
from domain.catalog import commands as catalog
from domain.catalog.plan import PLAN
from domain.customers import commands as customers
from domain.customers.customer import time_of
from domain.discounts import commands as coupons
from domain.discounts import consequences as of_discounts
from domain.entitlements import commands as entitlements
from domain.identity import commands as tenants
from domain.identity import team_commands as teams
from domain.identity import user_commands as users
from domain.identity.authority import NotSuperAdmin, is_super_admin
from domain.invoicing import commands as invoicing
from domain.invoicing import consequences as of_products
from domain.invoicing import draft_commands as drafts
from domain.invoicing import import_commands as invoice_imports
from domain.invoicing import rehearsal_commands as draft_rehearsals
from domain.invoicing import settings_commands as billing_settings
from domain.invoicing import settlement_commands as settlement
from domain.invoicing import usage_commands as invoiced_usage
from domain.invoicing import waiting_item_commands as waiting_items
from domain.kernel.consequences import Consequence, together, with_consequences
from domain.kernel.metadata import MetadataChange, with_change
from domain.kernel.stream import Command, Decision, Handler, State, Stream, Streams
from domain.ledger import commands as ledger
from domain.metering import commands as metering
from domain.payments import cancel_commands as cancellations
from domain.payments import commands as payments
from domain.payments import consequences as of_payments
from domain.payments import credit_note_commands as credit_notes
from domain.payments import refund_commands as refunds
from domain.subscriptions import billing_date_commands as billing_dates
from domain.subscriptions import cancel_commands as subscriptions_ending
from domain.subscriptions import change_commands as subscriptions_changing
from domain.subscriptions import commands as subscriptions
from domain.subscriptions import consequences as of_invoices
from domain.subscriptions import discount_commands as discounts
from domain.subscriptions import migration_commands as migrations
from domain.subscriptions import pause_commands as pauses
from domain.subscriptions import preview_commands as previews
from domain.subscriptions import transfer_commands as transfers
from domain.subscriptions import trial_commands as trials
from domain.subscriptions import usage_threshold_commands as thresholds
from domain.tax import commands as taxes

CONSEQUENCES: Final[Mapping[type, Consequence]] = together(
    of_products.CONSEQUENCES, of_invoices.CONSEQUENCES, of_payments.CONSEQUENCES, of_discounts.CONSEQUENCES
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMetadata:
    """Change the metadata of what has a stream of its own, in whatever state it is. `along_with` is what else is to
    change of it: both do, or neither.
    """

    stream: Stream[Any]
    stream_id: str
    change: MetadataChange
    along_with: Command | None = None


def change_metadata(command: ChangeMetadata, streams: Streams, now: datetime) -> Decision:
    """Effective at the time of the customer whose resource it is. Raises TooManyMetadataKeys."""
    stream, stream_id = command.stream, command.stream_id
    assert stream.metadata_set is not None, f"the metadata of a {stream.name} never change"
    state = stream.of(streams, stream_id)
    at = time_of(streams, stream.customer_of(state), now)
    changes = [] if command.along_with is None else decide(command.along_with, streams, now).changes
    metadata = with_change(state.metadata, command.change)
    if metadata == state.metadata:
        return Decision(at, changes)
    named: dict[str, Any] = {stream.id_field: stream_id, "metadata": metadata}
    return Decision(at, [*changes, stream.change(stream.metadata_set(**named))])


@dataclass(frozen=True, slots=True, kw_only=True)
class AsCustomer:
    """What a customer asks for themselves, at a portal: to them, what is another's is not there, nor is a plan that is
    none of `plan_ids` (None: all are there).
    """

    customer_id: str
    plan_ids: frozenset[str] | None = None
    command: Command


class _OwnStreams:
    """The streams that are a customer's own, and those that are nobody's; of plans, those that they are offered."""

    def __init__(self, streams: Streams, customer_id: str, plan_ids: frozenset[str] | None) -> None:
        self._streams = streams
        self._customer_id = customer_id
        self._plan_ids = plan_ids

    def get(self, stream: Stream[State], stream_id: str) -> State | None:
        if stream.name == PLAN.name and self._plan_ids is not None and stream_id not in self._plan_ids:
            return None
        state = self._streams.get(stream, stream_id)
        return state if state is not None and self.owns(stream, state) else None

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        return self._streams.is_new(stream, stream_id)

    def owns(self, stream: Stream[State], state: State) -> bool:
        return stream.customer_of(state) in (None, self._customer_id)


def as_customer(command: AsCustomer, streams: Streams, now: datetime) -> Decision:
    """Raises the `not_found` of what is another's, as it is raised for what does not exist."""
    own = _OwnStreams(streams, command.customer_id, command.plan_ids)
    decision = decide(command.command, own, now)
    states: dict[tuple[str, str], Any] = {}
    for change in decision.changes:
        stream, key = change.stream, (change.stream.name, change.stream_id)
        before = states[key] if key in states else streams.get(stream, change.stream_id)
        states[key] = stream.evolve(before, change.event)
        if not own.owns(stream, states[key]):
            raise stream.missing(change.stream_id)
    return decision


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinLimits:
    """What one person, or program, asks for alone: no more than the tenant lets one do without a second person. `by` is
    their id.
    """

    tenant_id: str
    by: str
    command: Command


def within_limits(command: WithinLimits, streams: Streams, now: datetime) -> Decision:
    """Raises ApprovalRequired."""
    decision = decide(command.command, streams, now)
    check_limits(command.tenant_id, command.by, decision, streams, now)
    return decision


@dataclass(frozen=True, slots=True, kw_only=True)
class AsSuperAdmin:
    """What whoever looks after the cell asks for, if they still do when it is decided."""

    user_id: str
    command: Command


def as_super_admin(command: AsSuperAdmin, streams: Streams, now: datetime) -> Decision:
    """Raises NotSuperAdmin. That the right is not taken away meanwhile is checked by the append."""
    if not is_super_admin(streams, command.user_id):
        raise NotSuperAdmin(user=command.user_id)
    return decide(command.command, streams, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteBulk:
    """Let it be known under which key, and with which body, a bulk of commands was asked for. Nothing happens by it."""


def note_bulk(_command: NoteBulk, _streams: Streams, now: datetime) -> Decision:
    """Its key is stored with its outcome, as every command's is."""
    return Decision(now, [])


HANDLERS: Final[Mapping[type, Handler]] = {
    command: with_consequences(handler, CONSEQUENCES)
    for context in (
        customers,
        catalog,
        taxes,
        coupons,
        discounts,
        metering,
        entitlements,
        subscriptions,
        subscriptions_changing,
        migrations,
        billing_dates,
        subscriptions_ending,
        transfers,
        trials,
        thresholds,
        pauses,
        previews,
        drafts,
        waiting_items,
        invoicing,
        invoiced_usage,
        draft_rehearsals,
        settlement,
        invoice_imports,
        billing_settings,
        payments,
        cancellations,
        refunds,
        credit_notes,
        ledger,
        tenants,
        teams,
        users,
        approvals,
    )
    for command, handler in context.HANDLERS.items()
} | {
    ChangeMetadata: change_metadata,
    AsCustomer: as_customer,
    WithinLimits: within_limits,
    AsSuperAdmin: as_super_admin,
    NoteBulk: note_bulk,
}


def decide(command: Command, streams: Streams, now: datetime) -> Decision:
    """What the command does, at its subject's business time. Raises the Refusals of the streams it touches."""
    return HANDLERS[type(command)](command, streams, now)
