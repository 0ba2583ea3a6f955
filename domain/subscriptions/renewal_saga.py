"""A renewal as it is shown: a period that has begun is billed, and ends paid, given up, written off or voided; with
nothing to bill it has succeeded at once.

Due work renews subscriptions, and the charge saga collects: this one asks for nothing itself.
"""

from typing import Final

from domain.invoicing.collection import InvoiceCollectionFailed
from domain.invoicing.finalization import InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceMarkedUncollectible, InvoicePaid
from domain.kernel.saga import Saga, SagaState
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPeriodStarted

InvoiceOutcome = InvoicePaid | InvoiceCollectionFailed | InvoiceVoided | InvoiceMarkedUncollectible


def _begins(event: SubscriptionPeriodStarted) -> SagaState:
    return SagaState.SUCCEEDED if event.invoice_id is None else SagaState.WAITING


def _subject(event: SubscriptionPeriodStarted | InvoiceOutcome) -> str:
    """The invoice; the period (`subscription/index`) where no invoice bills it."""
    if isinstance(event, SubscriptionPeriodStarted) and event.invoice_id is None:
        return f"{event.subscription_id}/{event.index}"
    assert event.invoice_id is not None, "only a period can have none"
    return event.invoice_id


RENEWAL_SAGA: Final = Saga(
    name="renewal",
    streams=(SUBSCRIPTION, INVOICE),
    starts=SubscriptionPeriodStarted,
    begins=_begins,
    moves={
        InvoicePaid: SagaState.SUCCEEDED,
        InvoiceCollectionFailed: SagaState.FAILED,
        InvoiceVoided: SagaState.CANCELED,
        InvoiceMarkedUncollectible: SagaState.CANCELED,
    },
    subject=_subject,
)
