"""Transfers of subscriptions to another customer."""

from pydantic import Field

from api.http.call import Call
from api.http.fields import Body, CustomerId
from api.http.operations import Intention
from api.resources.subscriptions import SUBSCRIPTIONS
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.kernel.billing_period import BeyondCalendar
from domain.kernel.identifiers import SUBSCRIPTION as PREFIX
from domain.subscriptions.cancellation import CancellationIsScheduled, SubscriptionIsCanceled
from domain.subscriptions.subscription import PeriodIsBilled, SubscriptionIsOverdue
from domain.subscriptions.transfer import (
    ContradictoryTransfer,
    SubscriptionNotTransferable,
    TransferToOtherClock,
    TransferToSameCustomer,
)
from domain.subscriptions.transfer_commands import TransferSubscription
from infra.ids import new_id


class Transfer(Body):
    """To whom, and when: now, or with the running period."""

    customer: CustomerId
    at_period_end: bool = Field(default=False, description="Whether it waits until what runs is over")
    credit_unused: bool = Field(
        default=False,
        description="Whether what is unused of what was paid is credited to the one customer and charged to the other",
    )


@SUBSCRIPTIONS.changes(
    "POST",
    "transfer",
    body=Transfer,
    body_example={"customer": "cus_01m7ywe9z7e398x54gfbrtqnk8"},
    example={
        "status": "canceled",
        "canceled_at": "2026-01-15T10:00:00Z",
        "transferred_to": "sub_01m7ywe9z7e398x54gfbrtqnk8",
    },
    refusals=(
        SubscriptionIsCanceled,
        SubscriptionIsOverdue,
        SubscriptionNotTransferable,
        CancellationIsScheduled,
        CustomerNotFound,
        CustomerIsDeleted,
        TransferToSameCustomer,
        TransferToOtherClock,
        ContradictoryTransfer,
        NotCustomersCurrency,
        TestClockIsDeleted,
        PeriodIsBilled,
        BeyondCalendar,
    ),
    needs=Permission.INVOICES_WRITE,
)
async def transfer_subscription(call: Call, body: Transfer) -> Intention:
    """Transfer a subscription to another customer of the same currency, as it is sold and on its schedule.

    It ends, and a subscription of the other customer goes on: `transferred_to` names it. What was billed stays the one
    customer's, with everything that is owed on it, and so does the rest of a period that is billed in advance; in
    arrears each is billed the days that were theirs. With `credit_unused` the rest is credited to the one and charged
    to the other. From the next period on the other customer is billed, with their discounts, tax, balance and payment
    method. With `at_period_end` it waits until what runs is over, and `undo-cancel` takes that back.
    """
    subscription_id = SUBSCRIPTIONS.id_of(call)
    return SUBSCRIPTIONS.changed(
        subscription_id,
        TransferSubscription(
            subscription_id=subscription_id,
            customer_id=body.customer,
            to_subscription_id=new_id(PREFIX),
            at_period_end=body.at_period_end,
            gives_back=body.credit_unused,
        ),
    )
