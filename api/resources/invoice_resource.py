"""How an invoice is answered."""

from datetime import date, datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.fields import InvoiceId, MoneyResource, money
from api.resources.coupons import TermsResource, terms_resource
from api.resources.customers import CustomerResource
from api.resources.invoice_line_resource import LINE_EXAMPLE, InvoiceLineResource, invoice_line_resource
from api.resources.invoice_tax import InvoiceTaxResource, invoice_tax_resource
from api.resources.subscription_resource import SubscriptionResource
from api.resources.tax_fields import TaxLocationResource, tax_location_resource
from domain.invoicing.collection import CollectionMethod, CollectionStatus
from domain.invoicing.state import Invoice, InvoiceStatus, WaitingFor
from domain.invoicing.tax_request import TaxRequest

_ID: Final = "in_01m7ywe9z7e398x54gfbrtqnk7"


class InvoiceDiscountResource(TermsResource):
    """What one discount took off the whole invoice, by the coupon's terms as they were when it was redeemed.

    `periods_used` are those of its periods that this invoice uses.
    """

    discount: str
    coupon: str
    periods_used: int
    amount: MoneyResource


class TaxRequestResource(TypedDict):
    """What a tax service was asked for: the tax of a place on a date. `unanswered` is why there is no answer so far,
    null where nobody has tried yet, or there is one; `attempt` counts how often it was asked for anew.
    """

    place: TaxLocationResource
    taxed_on: date
    attempt: int
    unanswered: str | None


class InvoiceResource(TypedDict):
    """An invoice. A draft has no number and no due time: it is finalized at `finalizes_at` (null: when somebody says
    so), and due so many days later if it is paid by hand; both are null once it is no draft.

    `payment` is the one that paid it (`collection_status` says
    `succeeded`) or was tried last, and `collection_failure` why that one came to nothing.

    `subtotal` is the sum of the lines. `discounts` come off it, in their order; tax comes on top of what they leave, or
    is in the lines that are `tax_inclusive`. A draft has neither yet. `tax` is null where the seller charges none
    anywhere. A draft with `waiting_for` `usage` bills what its meters count in the periods of its lines, which are
    closed at `finalizes_at`; one with `tax` is final but for its tax, which a tax service is asked for.

    `amount_due` is `total` less `amount_applied` (by the customer's balance; below zero: to it), `amount_paid`, and
    what credit notes took off it: `amount_credited`, but for `amount_given_back`, which had been paid and came back.
    `amount_reopened`, which refunds without a credit note took back of what was paid, is due again.
    Of an uncollectible invoice it is written off, and a payment recovers it. What was paid above what was due is
    `amount_overpaid`: it became the customer's balance.
    """

    id: InvoiceId
    object: Literal["invoice"]
    customer: str | CustomerResource
    subscription: str | SubscriptionResource | None
    further_subscriptions: list[str]
    status: InvoiceStatus
    waiting_for: WaitingFor | None
    series: str
    number: str | None
    memo: str | None
    finalizes_at: datetime | None
    days_until_due: int | None
    collection_method: CollectionMethod
    collection_status: CollectionStatus
    collection_failure: str | None
    currency: str
    lines: list[InvoiceLineResource]
    subtotal: MoneyResource
    discounts: list[InvoiceDiscountResource]
    total_discount: MoneyResource
    total_tax: MoneyResource
    tax: InvoiceTaxResource | None
    tax_request: TaxRequestResource | None
    total: MoneyResource
    amount_due: MoneyResource
    amount_applied: MoneyResource
    amount_paid: MoneyResource
    amount_overpaid: MoneyResource
    amount_credited: MoneyResource
    amount_given_back: MoneyResource
    amount_reopened: MoneyResource
    payment: str | None
    test_clock: str | None
    metadata: dict[str, str]
    created: datetime
    finalized_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    uncollectible_at: datetime | None
    voided_at: datetime | None


def invoice_resource(invoice: Invoice) -> InvoiceResource:
    """An invoice as it is answered."""
    terms = invoice.terms if invoice.status is InvoiceStatus.DRAFT else None
    return {
        "id": invoice.invoice_id,
        "object": "invoice",
        "customer": invoice.customer_id,
        "subscription": invoice.subscription_id,
        "further_subscriptions": list(invoice.further_subscription_ids),
        "status": invoice.status,
        "waiting_for": invoice.waiting_for,
        "series": invoice.series,
        "number": invoice.number,
        "memo": invoice.memo,
        "finalizes_at": None if terms is None else terms.finalizes_at,
        "days_until_due": None if terms is None else terms.days_until_due,
        "collection_method": invoice.collection,
        "collection_status": invoice.collection_status,
        "collection_failure": invoice.collection_failure,
        "currency": invoice.currency,
        "lines": [invoice_line_resource(line) for line in invoice.lines],
        "subtotal": money(invoice.subtotal),
        "discounts": invoice_discount_resources(invoice),
        "total_discount": money(invoice.total_discount),
        "total_tax": money(invoice.total_tax),
        "tax": invoice_tax_resource(invoice.tax),
        "tax_request": _tax_request_resource(invoice.tax_request),
        "total": money(invoice.total),
        "amount_due": money(invoice.amount_due),
        "amount_applied": money(invoice.amount_applied),
        "amount_paid": money(invoice.amount_paid),
        "amount_overpaid": money(invoice.amount_overpaid),
        "amount_credited": money(invoice.amount_credited),
        "amount_given_back": money(invoice.amount_given_back),
        "amount_reopened": money(invoice.amount_reopened),
        "payment": invoice.payment_id,
        "test_clock": invoice.test_clock_id,
        "metadata": dict(invoice.metadata),
        "created": invoice.created_at,
        "finalized_at": invoice.finalized_at,
        "due_at": invoice.due_at,
        "paid_at": invoice.paid_at,
        "uncollectible_at": invoice.uncollectible_at,
        "voided_at": invoice.voided_at,
    }


def _tax_request_resource(request: TaxRequest | None) -> TaxRequestResource | None:
    if request is None:
        return None
    return {
        "place": tax_location_resource(request.basis.place),
        "taxed_on": request.taxed_on,
        "attempt": request.attempt,
        "unanswered": request.unanswered,
    }


def invoice_discount_resources(invoice: Invoice) -> list[InvoiceDiscountResource]:
    """What came off the whole invoice, as it is answered."""
    return [
        {
            "discount": each.discount_id,
            "coupon": each.coupon_id,
            **terms_resource(each.terms),
            "periods_used": each.periods,
            "amount": money(each.amount),
        }
        for each in invoice.discounts
    ]


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "invoice",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "subscription": None,
    "further_subscriptions": [],
    "status": "draft",
    "waiting_for": None,
    "series": "INV",
    "number": None,
    "memo": None,
    "finalizes_at": None,
    "days_until_due": 30,
    "collection_method": "send_invoice",
    "collection_status": "not_applicable",
    "collection_failure": None,
    "currency": "EUR",
    "lines": [LINE_EXAMPLE],
    "subtotal": {"amount": 25000, "currency": "EUR"},
    "discounts": [],
    "total_discount": {"amount": 0, "currency": "EUR"},
    "total_tax": {"amount": 0, "currency": "EUR"},
    "tax": None,
    "tax_request": None,
    "total": {"amount": 25000, "currency": "EUR"},
    "amount_due": {"amount": 25000, "currency": "EUR"},
    "amount_applied": {"amount": 0, "currency": "EUR"},
    "amount_paid": {"amount": 0, "currency": "EUR"},
    "amount_overpaid": {"amount": 0, "currency": "EUR"},
    "amount_credited": {"amount": 0, "currency": "EUR"},
    "amount_given_back": {"amount": 0, "currency": "EUR"},
    "amount_reopened": {"amount": 0, "currency": "EUR"},
    "payment": None,
    "test_clock": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "finalized_at": None,
    "due_at": None,
    "paid_at": None,
    "uncollectible_at": None,
    "voided_at": None,
}
