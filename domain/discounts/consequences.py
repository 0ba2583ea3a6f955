"""What the end of a discount brings about for the customer that has it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import CUSTOMER
from domain.customers.discounts import CustomerDiscountEnded
from domain.discounts.discount import DiscountEnd, DiscountEnded
from domain.kernel.consequences import Consequence
from domain.kernel.stream import Change, Streams


def given_up(event: DiscountEnded, streams: Streams, at: datetime) -> list[Change]:
    """The customer has it no longer; one of a subscription was never among theirs."""
    if event.subscription_id is not None:
        return []
    removed_at = event.ended_at if event.reason is DiscountEnd.REMOVED else None
    ended = CustomerDiscountEnded(customer_id=event.customer_id, discount_id=event.discount_id, removed_at=removed_at)
    return [CUSTOMER.change(ended)]


CONSEQUENCES: Final[Mapping[type, Consequence]] = {DiscountEnded: given_up}
