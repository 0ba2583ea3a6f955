"""Which of a customer's subscriptions share invoices: their renewals of one instant are billed together.

Its events are the customer's: a renewal reads that stream anyway, and so finds the others.
"""

from dataclasses import dataclass
from typing import Final

from domain.kernel.refusal import Refusal

MAX_BILLED_TOGETHER: Final = 20
"""Of one customer: one decision renews all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerBilledTogether:
    customer_id: str
    subscription_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerBilledApart:
    """The subscription has ended, and shares no more invoices."""

    customer_id: str
    subscription_id: str


ConsolidationEvent = CustomerBilledTogether | CustomerBilledApart


class TooManyBilledTogether(Refusal):
    """20 subscriptions of the customer share invoices already: bill this one by itself."""

    code = "too_many_billed_together"
    param = "billed_together"


def after(subscription_ids: tuple[str, ...], event: ConsolidationEvent) -> tuple[str, ...]:
    """Those that share invoices after the event, in the order in which they came."""
    match event:
        case CustomerBilledTogether():
            return (*subscription_ids, event.subscription_id)
        case CustomerBilledApart():
            return tuple(each for each in subscription_ids if each != event.subscription_id)


EVENTS: dict[str, type] = {
    "customer.billed_together": CustomerBilledTogether,
    "customer.billed_apart": CustomerBilledApart,
}
