"""The charge saga: a finalized invoice that is collected automatically is charged.

invoice.finalized -> CollectInvoice -> (the gateway call, due work) -> captured and paid, or declined and past due.
"""

from domain.invoicing.invoice import CollectionMethod, InvoiceFinalized
from domain.kernel.identifiers import PAYMENT, derived_id
from domain.kernel.stream import Command, Event
from domain.payments.commands import CollectInvoice

NAME = "charge"


def react(event_id: str, event: Event) -> list[tuple[str, Command]]:
    """The saga's next commands, each with its step's name. The same event always asks for the same."""
    if not isinstance(event, InvoiceFinalized):
        return []
    if event.collection is not CollectionMethod.CHARGE_AUTOMATICALLY or event.total.amount <= 0:
        return []
    collect = CollectInvoice(invoice_id=event.invoice_id, payment_id=derived_id(PAYMENT, event_id, "collect"))
    return [("collect", collect)]
