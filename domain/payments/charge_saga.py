"""The charge saga: a finalized invoice that is collected automatically is charged.

invoice.finalized -> CollectInvoice -> (the gateway call, due work) -> captured and paid, or declined and past due.
"""

from typing import Final

from domain.invoicing.collection import CollectionMethod, CollectionStatus, InvoiceCollectionFailed
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceMarkedUncollectible, InvoicePaid
from domain.invoicing.state import Invoice
from domain.kernel.saga import Deadline, Saga, SagaState
from domain.kernel.stream import Command
from domain.payments.commands import CollectInvoice
from domain.payments.payment import collected_by

DEADLINE_MS: Final = 15_000
"""How long the stream processors have to collect an invoice before the sweeper does it (ms)."""


def begins(event: InvoiceFinalized) -> SagaState | None:
    """An invoice on which something is due, to be collected automatically, is charged."""
    automatic = event.collection is CollectionMethod.CHARGE_AUTOMATICALLY
    return SagaState.WAITING if automatic and event.amount_due.amount > 0 else None


def react(event_id: str, event: InvoiceFinalized) -> list[tuple[str, Command]]:
    """Collect it."""
    if begins(event) is None:
        return []
    return [("collect", CollectInvoice(invoice_id=event.invoice_id, payment_id=collected_by(event.invoice_id)))]


def _must_go_on(invoice: Invoice) -> bool | None:
    if invoice.collection is not CollectionMethod.CHARGE_AUTOMATICALLY:
        return None
    return invoice.collection_status is CollectionStatus.PENDING


CHARGE_SAGA: Final = Saga(
    name="charge",
    streams=(INVOICE,),
    starts=InvoiceFinalized,
    begins=begins,
    moves={
        InvoicePaid: SagaState.SUCCEEDED,
        InvoiceCollectionFailed: SagaState.FAILED,
        InvoiceVoided: SagaState.CANCELED,
        InvoiceMarkedUncollectible: SagaState.CANCELED,
    },
    subject=lambda event: event.invoice_id,
    react=react,
    deadline=Deadline(after_ms=DEADLINE_MS, must_go_on=_must_go_on),
)
