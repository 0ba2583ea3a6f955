"""Every command there is, and who decides it: the handlers of all contexts, each with what follows from its events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.catalog import commands as catalog
from domain.customers import commands as customers
from domain.invoicing import commands as invoicing
from domain.kernel.consequences import Consequence, together, with_consequences
from domain.kernel.stream import Command, Decision, Handler, Streams
from domain.ledger import commands as ledger
from domain.payments import cancel_commands as cancellations
from domain.payments import commands as payments
from domain.payments import consequences as of_payments
from domain.payments import refund_commands as refunds
from domain.subscriptions import commands as subscriptions
from domain.subscriptions import consequences as of_invoices

CONSEQUENCES: Final[Mapping[type, Consequence]] = together(of_invoices.CONSEQUENCES, of_payments.CONSEQUENCES)

HANDLERS: Final[Mapping[type, Handler]] = {
    command: with_consequences(handler, CONSEQUENCES)
    for context in (customers, catalog, subscriptions, invoicing, payments, cancellations, refunds, ledger)
    for command, handler in context.HANDLERS.items()
}


def decide(command: Command, streams: Streams, now: datetime) -> Decision:
    """What the command does, at its subject's business time. Raises the Refusals of the streams it touches."""
    return HANDLERS[type(command)](command, streams, now)
