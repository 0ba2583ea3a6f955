"""Refunds of payments: never more than what was captured."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change
from api.http.fields import CustomerId, LongText, MoneyResource, New, PaymentId, PositiveMoney, money
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import KEPT_EXAMPLE, Part, Resource
from api.resources.customers import CUSTOMERS, CustomerResource
from api.resources.payments import PAYMENTS, PaymentResource
from domain.approvals.approval import ApprovalRequired
from domain.identity.permissions import Permission
from domain.kernel.identifiers import REFUND as PREFIX
from domain.kernel.stream import Streams
from domain.payments.payment import PAYMENT, PaymentNotFound
from domain.payments.refund import CLAIM, Refund, RefundStatus, RefundTreatment
from domain.payments.refund_commands import (
    BalanceTooLow,
    ChangeRefundMetadata,
    InvalidRefundAmount,
    NothingToReopen,
    NotPaidOutByThis,
    PaymentNotRefundable,
    RefundExceedsPayment,
    RefundNotFound,
    ReopensMoreThanPaid,
    RequestRefund,
    refund_of,
)
from infra.ids import new_id
from projections.models import refunds as read
from projections.reading import Reader

_ID: Final = "re_01m7ywe9z7e398x54gfbrtqnk7"


class NewRefund(New):
    """A refund to be; without an amount, all that is left of the payment.

    `from_balance` pays the customer's balance out by it, wherever that came from; without an amount, all that the
    payment can return. `treatment` says what the rest leaves of the invoice that the payment paid: as an `allowance` it
    lessens revenue, and the invoice stays paid; with `reopen` the invoice is due again by as much.
    """

    payment: PaymentId
    amount: PositiveMoney | None = None
    from_balance: bool = False
    treatment: RefundTreatment = RefundTreatment.ALLOWANCE
    reason: LongText | None = None


class RefundFilters(CreatedParameters):
    """Which refunds."""

    customer: CustomerId | None = None
    payment: PaymentId | None = None
    status: RefundStatus | None = None


class RefundResource(TypedDict):
    """A refund. `outcome_unknown` holds while the gateway has yet to say what became of it.

    `credit_note` is the one that it was asked for with: if it fails, the money is the customer's balance.
    `amount_reopened` is what of it made its invoice due again, until it fails.
    """

    id: str
    object: Literal["refund"]
    payment: str | PaymentResource
    customer: str | CustomerResource
    amount: MoneyResource
    amount_reopened: MoneyResource
    status: RefundStatus
    outcome_unknown: bool
    credit_note: str | None
    reason: str | None
    gateway_refund_id: str | None
    failure_code: str | None
    metadata: dict[str, str]
    created: datetime


def refund_resource(refund: Refund, payment_id: str, customer_id: str) -> RefundResource:
    """A refund as it is answered."""
    return {
        "id": refund.refund_id,
        "object": "refund",
        "payment": payment_id,
        "customer": customer_id,
        "amount": money(refund.amount),
        "amount_reopened": money(refund.reopened),
        "status": refund.status,
        "outcome_unknown": refund.outcome_unknown,
        "credit_note": refund.credit_note_id,
        "reason": refund.reason,
        "gateway_refund_id": refund.gateway_refund_id,
        "failure_code": refund.failure_code,
        "metadata": dict(refund.metadata),
        "created": refund.requested_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "refund",
    "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "amount": {"amount": 500, "currency": "EUR"},
    "amount_reopened": {"amount": 0, "currency": "EUR"},
    "status": "pending",
    "outcome_unknown": False,
    "credit_note": None,
    "reason": "Delivered late",
    "gateway_refund_id": None,
    "failure_code": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-02T00:00:00Z",
}


def _decided(streams: Streams, payment_id: str, refund_id: str) -> RefundResource:
    payment = PAYMENT.of(streams, payment_id)
    return refund_resource(refund_of(payment, refund_id), payment_id, payment.customer_id)


async def _shown(_call: Call, _connection: Reader, found: Sequence[read.FoundRefund]) -> list[RefundResource]:
    return [refund_resource(each.state, each.payment_id, each.customer_id) for each in found]


REFUNDS: Final = Resource(
    tag="refunds",
    about="Money on its way back to customers.",
    stream=PAYMENT,
    part=Part("refund", claim=CLAIM, not_found=RefundNotFound),
    table=read.TABLE,
    path="/v1/refunds",
    prefix=PREFIX,
    seen_with=Permission.REFUNDS_READ,
    changed_with=Permission.REFUNDS_WRITE,
    shows=RefundResource,
    show=_shown,
    example=EXAMPLE,
    filters=RefundFilters,
    expands={"customer": CUSTOMERS, "payment": PAYMENTS},
)


NOT_REFUNDED: Final = (
    PaymentNotFound,
    PaymentNotRefundable,
    RefundExceedsPayment,
    InvalidRefundAmount,
    NotPaidOutByThis,
    BalanceTooLow,
    NothingToReopen,
    ReopensMoreThanPaid,
)
"""Why a payment is not refunded, whoever asks for it."""


@REFUNDS.creates(
    body=NewRefund,
    body_example={
        "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7",
        "amount": {"amount": 500, "currency": "EUR"},
        "reason": "Delivered late",
    },
    refusals=(*NOT_REFUNDED, ApprovalRequired),
)
async def create_refund(_call: Call, body: NewRefund) -> Intention:
    """Refund a payment, in whole or in part.

    The request is recorded before the gateway is called: the answer says `pending`, and the outcome follows. Above the
    tenant's limit, which the refunds of one payment share, a second person approves: ask by `POST /v1/approvals`.
    What the payment captured above what was due on its invoice, and what credit notes of that gave to the customer's
    balance, is given back first, as far as it is still there. With `from_balance` all of it comes from there: so a
    balance is paid out, whether it was overpaid elsewhere, credited, or left by a refund that failed. With `treatment`
    `reopen` the invoice is open again with what the balance does not bear. Nobody charges it unasked: pay it by
    `POST /v1/invoices/{id}/pay`, or credit it. If the refund fails, what it was to return pays the invoice again.
    """
    refund_id = new_id(PREFIX)
    return Intention(
        command=RequestRefund(
            refund_id=refund_id,
            payment_id=body.payment,
            amount=None if body.amount is None else body.amount.value,
            from_balance=body.from_balance,
            treatment=body.treatment,
            reason=body.reason,
            metadata=body.kept,
        ),
        render=lambda streams: _decided(streams, body.payment, refund_id),
        location=f"/v1/refunds/{refund_id}",
    )


@REFUNDS.changes("PATCH", body=Change, body_example=KEPT_EXAMPLE, example=KEPT_EXAMPLE)
async def update_refund(call: Call, body: Change) -> Intention:
    """Change the metadata of a refund.

    Keys that the body does not name stay as they are; null takes one away. Nothing else of it is changed so.
    """
    refund_id = REFUNDS.id_of(call)
    async with call.reading() as connection:
        payment_id = (await REFUNDS.row(call, connection, refund_id)).payment_id
    return Intention(
        command=ChangeRefundMetadata(refund_id=refund_id, payment_id=payment_id, change=body.metadata_change),
        render=lambda streams: _decided(streams, payment_id, refund_id),
    )
