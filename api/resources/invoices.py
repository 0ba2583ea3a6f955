"""Invoices: draft, open, then paid, void, or written off."""

from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.http.call import Call
from api.http.changes import Change, Clearable, Kept
from api.http.fields import (
    Body,
    Currency,
    CustomerId,
    Instant,
    Line,
    LongText,
    MoneyBody,
    New,
    NoBody,
    PaymentMethodId,
    PositiveMoney,
    ProductId,
    Quantity,
)
from api.http.operations import Intention
from api.http.resource import KEPT_EXAMPLE, Narrowing, Resource
from api.resources.billing_settings import SeriesName
from api.resources.customers import CUSTOMERS
from api.resources.invoice_filters import DueParameters, InvoiceFilters, due_conditions
from api.resources.invoice_line_resource import LINE_EXAMPLE
from api.resources.invoice_resource import EXAMPLE, InvoiceResource, invoice_resource
from api.resources.invoice_tax import INVOICE_TAX_EXAMPLE, LINE_TAX_EXAMPLE
from api.resources.subscriptions import SUBSCRIPTIONS
from api.resources.tax_fields import TaxInclusive
from domain.catalog.price import BillingTiming
from domain.catalog.product import ProductNotFound
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, NotCustomersCurrency
from domain.customers.payment_method import NoPaymentMethod, PaymentMethodIsDetached, PaymentMethodNotFound
from domain.customers.test_clock import TestClockIsDeleted
from domain.identity.permissions import Permission
from domain.invoicing.billing_settings import MAX_DAYS_UNTIL_DUE
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import ChangeDraft, DraftInvoice, InvoiceNotDraft
from domain.invoicing.finalization import InvoiceCannotBeVoided, InvoiceIsRatedAgain, VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.invoice_line import (
    MAX_INVOICE_LINES,
    InvalidInvoiceLines,
    InvalidLinePeriod,
    InvoiceLine,
)
from domain.invoicing.number_series import UnknownNumberSeries
from domain.invoicing.settlement import (
    ApplyCustomerBalance,
    InvoiceIsCredited,
    InvoiceIsPartlyPaid,
    InvoiceNotCollectible,
    MarkInvoiceUncollectible,
    NothingToApply,
    NotPaidOutOfBand,
    PayInvoiceOutOfBand,
    ReversePaymentOutOfBand,
    SurplusIsSpent,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import INVOICE as PREFIX
from domain.kernel.identifiers import INVOICE_LINE, PAYMENT
from domain.payments.commands import PayInvoice
from domain.payments.payment import InvoiceHasLivePayment
from domain.tax.remote import TaxCalculator
from infra.ids import new_id
from projections.models import invoices as read


class NewLine(Body):
    """One thing billed. A negative amount is a deduction. What is billed `in_arrears` is earned when it is billed,
    `in_advance` over the service period, if there is one: name both of its ends, or neither.
    """

    description: Line
    amount: MoneyBody
    quantity: Quantity = Decimal(1)
    timing: BillingTiming = BillingTiming.IN_ARREARS
    product: Annotated[ProductId | None, Field(description="Whose tax category the line bears.")] = None
    tax_inclusive: TaxInclusive | None = None
    period_start: Annotated[Instant | None, Field(description="When what is billed begins.")] = None
    period_end: Annotated[Instant | None, Field(description="When it ends; that instant is no part of it.")] = None

    def value(self) -> InvoiceLine:
        """As a command takes it, under an id of its own."""
        return InvoiceLine(
            line_id=new_id(INVOICE_LINE),
            description=self.description,
            amount=self.amount.value,
            quantity=self.quantity,
            timing=self.timing,
            product_id=self.product,
            tax_inclusive=self.tax_inclusive,
            period_start=self.period_start,
            period_end=self.period_end,
        )


DaysUntilDue: TypeAlias = Annotated[int, Field(ge=0, le=MAX_DAYS_UNTIL_DUE)]


class NewInvoice(New):
    """A one-off invoice, as a draft. Net terms, memo and series are by default those of the billing settings; the net
    terms count for invoices that are paid by hand.

    With `with_waiting_items` it bills, besides its lines or without any, what waits for the customer's next invoice.
    """

    customer: CustomerId
    currency: Currency
    collection_method: CollectionMethod = CollectionMethod.SEND_INVOICE
    lines: Annotated[tuple[NewLine, ...], Field(min_length=1, max_length=MAX_INVOICE_LINES)] = ()
    with_waiting_items: bool = False
    days_until_due: DaysUntilDue | None = None
    memo: LongText | None = None
    series: SeriesName | None = None


class InvoiceChange(Change):
    """What is to change. Memo and net terms are a draft's alone."""

    memo: Clearable[LongText]
    days_until_due: Kept[DaysUntilDue]


class Finalization(Body):
    """`days_until_due` counts for invoices that are paid by hand; by default it is the draft's. `tax_calculator` says
    who computes its tax; by default it is as the tax settings say.
    """

    days_until_due: DaysUntilDue | None = None
    tax_calculator: Annotated[
        Literal[TaxCalculator.TABLE] | None, Field(description="By your table of rates, whoever does otherwise.")
    ] = None


class InvoicePayment(Body):
    """Charge what is due to a payment method (the customer's default unless named), or record that money came another
    way: `amount` says how much, else it is all that is due.
    """

    payment_method: PaymentMethodId | None = None
    paid_out_of_band: bool = False
    amount: Annotated[PositiveMoney | None, Field(description="What came out of band.")] = None

    @field_validator("paid_out_of_band")
    @classmethod
    def _one_way(cls, is_paid: bool, info: ValidationInfo) -> bool:  # noqa: FBT001  the parser calls it
        if is_paid and info.data.get("payment_method") is not None:
            raise PydanticCustomError(
                "ambiguous_payment", "Paid out of band, no payment method is charged: leave this out, or payment_method"
            )
        return is_paid

    @field_validator("amount")
    @classmethod
    def _came(cls, amount: PositiveMoney | None, info: ValidationInfo) -> PositiveMoney | None:
        if amount is not None and not info.data.get("paid_out_of_band"):
            raise PydanticCustomError(
                "ambiguous_payment", "A charge takes what is due: leave this out, or say paid_out_of_band"
            )
        return amount


class PaymentReversal(Body):
    """How much of what was recorded as paid out of band had not come; all of it, unless said."""

    amount: PositiveMoney | None = None


INVOICES: Final = Resource(
    tag="invoices",
    about="What customers owe.",
    stream=INVOICE,
    table=read.TABLE,
    path="/v1/invoices",
    prefix=PREFIX,
    seen_with=Permission.INVOICES_READ,
    changed_with=Permission.INVOICES_WRITE,
    shows=InvoiceResource,
    render=invoice_resource,
    example=EXAMPLE,
    filters=InvoiceFilters,
    narrowing=Narrowing(DueParameters, due_conditions),
    expands={"customer": CUSTOMERS, "subscription": SUBSCRIPTIONS},
)
OPEN_EXAMPLE: Final[dict[str, object]] = EXAMPLE | {
    "status": "open",
    "number": "INV-000042",
    "days_until_due": None,
    "lines": [LINE_EXAMPLE | {"tax_inclusive": False, "tax": LINE_TAX_EXAMPLE}],
    "total_tax": {"amount": 4750, "currency": "EUR"},
    "tax": INVOICE_TAX_EXAMPLE,
    "total": {"amount": 29750, "currency": "EUR"},
    "amount_due": {"amount": 29750, "currency": "EUR"},
    "finalized_at": "2026-01-01T00:00:00Z",
    "due_at": "2026-01-31T00:00:00Z",
}


@INVOICES.creates(
    body=NewInvoice,
    body_example={
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "currency": "EUR",
        "lines": [{"description": "Set-up", "amount": {"amount": 25000, "currency": "EUR"}}],
    },
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        TestClockIsDeleted,
        NotCustomersCurrency,
        ProductNotFound,
        InvalidInvoiceLines,
        InvalidLinePeriod,
        UnknownNumberSeries,
    ),
)
async def create_invoice(_call: Call, body: NewInvoice) -> Intention:
    """Draft a one-off invoice.

    It stays a draft until it is finalized. Until then items can be added to it and taken off.
    """
    invoice_id = new_id(PREFIX)
    return INVOICES.created(
        invoice_id,
        DraftInvoice(
            invoice_id=invoice_id,
            customer_id=body.customer,
            collection=body.collection_method,
            currency=CurrencyCode(body.currency),
            lines=tuple(line.value() for line in body.lines),
            days_until_due=body.days_until_due,
            memo=body.memo,
            series=body.series,
            with_waiting_items=body.with_waiting_items,
            metadata=body.kept,
        ),
    )


@INVOICES.changes(
    "PATCH",
    body=InvoiceChange,
    body_example={"memo": "Thank you for your order.", **KEPT_EXAMPLE},
    example={"memo": "Thank you for your order.", **KEPT_EXAMPLE},
    refusals=(InvoiceNotDraft,),
)
async def update_invoice(call: Call, body: InvoiceChange) -> Intention:
    """Change the memo or the net terms of a draft, or the metadata of any invoice.

    Keys of the metadata that the body does not name stay as they are; null takes one away.
    """
    invoice_id = INVOICES.id_of(call)
    command = ChangeDraft(invoice_id=invoice_id, memo=body.memo, days_until_due=body.days_until_due)
    return INVOICES.patched(invoice_id, body, None if body.changes_only_metadata else command)


@INVOICES.changes(
    "POST",
    "finalize",
    body=Finalization,
    body_example={"days_until_due": 30},
    example=OPEN_EXAMPLE,
    refusals=(InvoiceNotDraft, CustomerIsDeleted, TestClockIsDeleted, InvalidInvoiceLines),
)
async def finalize_invoice(call: Call, body: Finalization) -> Intention:
    """Give a draft its number and post it.

    From then on it is owed, and cannot be changed. The customer's balance pays of it what it can; where nothing is left
    due it is paid at once. A subscription's draft is finalized by itself at `finalizes_at`, and what is asked for after
    that finds what it then became. A one-off draft of a customer who was deleted is not finalized; void it.

    A draft that waits for usage to be counted (`waiting_for`) and has time is finalized as soon as all is counted that
    was accepted by now. Once its time is over it is finalized with what is counted by now, without a look at what is
    still under way: what comes later is late usage.

    Where a tax service computes your taxes the draft waits for its tax first (`waiting_for`, `tax_request`), with no
    further changes. Of one that waits this asks for it anew, by what holds now of its customer and your registrations;
    `tax_calculator` `table` finalizes it by your table at once, for whoever may change billing settings.
    """
    invoice_id = INVOICES.id_of(call)
    by_table = body.tax_calculator is not None
    if by_table:
        call.need(Permission.BILLING_SETTINGS_WRITE, param="tax_calculator")
    command = FinalizeInvoice(invoice_id=invoice_id, days_until_due=body.days_until_due, by_table=by_table)
    return INVOICES.changed(invoice_id, command)


@INVOICES.changes(
    "POST",
    "void",
    body=NoBody,
    example=OPEN_EXAMPLE
    | {"status": "void", "amount_due": {"amount": 0, "currency": "EUR"}, "voided_at": "2026-01-02T00:00:00Z"},
    refusals=(InvoiceCannotBeVoided, InvoiceIsPartlyPaid, InvoiceIsCredited, InvoiceIsRatedAgain),
)
async def void_invoice(call: Call, _body: NoBody) -> Intention:
    """Take an invoice back on which nothing was paid, for good.

    What it posted is reversed, and what the customer's balance paid of it is there again; its number stays taken. A
    payment that is under way for it is given up; what the gateway had charged by then is refunded. Its subscription
    does not bill the period again: what is owed all the same is billed by a one-off invoice whose lines name the
    product and the service period.
    """
    invoice_id = INVOICES.id_of(call)
    return INVOICES.changed(invoice_id, VoidInvoice(invoice_id=invoice_id))


@INVOICES.changes(
    "POST",
    "mark-uncollectible",
    body=NoBody,
    example=OPEN_EXAMPLE | {"status": "uncollectible", "uncollectible_at": "2026-06-01T00:00:00Z"},
    refusals=(InvoiceNotCollectible,),
)
async def mark_invoice_uncollectible(call: Call, _body: NoBody) -> Intention:
    """Write off what is due on an open invoice, its tax included: nobody is expected to pay it any more.

    It is not collected any more: a payment that is under way for it is given up, and its subscription is not past due
    because of it. It may still be paid, which recovers what was written off, and voided while nothing was paid.
    """
    invoice_id = INVOICES.id_of(call)
    return INVOICES.changed(invoice_id, MarkInvoiceUncollectible(invoice_id=invoice_id))


@INVOICES.changes(
    "POST",
    "pay",
    body=InvoicePayment,
    needs=Permission.INVOICES_PAY,
    body_example={"payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7"},
    example=OPEN_EXAMPLE | {"collection_status": "pending", "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7"},
    refusals=(
        InvoiceNotOpen,
        InvoiceHasLivePayment,
        NoPaymentMethod,
        PaymentMethodNotFound,
        PaymentMethodIsDetached,
        NotCustomersCurrency,
    ),
)
async def pay_invoice(call: Call, body: InvoicePayment) -> Intention:
    """Pay an open invoice, or one that was written off, which recovers it.

    With a payment method the charge of what is due begins: the answer and its Location header name the payment, and the
    invoice is paid once the gateway has said so. An earlier payment that waits for its customer is given up first.

    With `paid_out_of_band` money has come another way: all that is due, or `amount` of it. The invoice stays open with
    what is left due, and is paid when nothing is; a payment that is under way for it is then given up. What came above
    what is due becomes the customer's balance. A charge that was under way when a part came goes on: what it takes
    above what is left due becomes the customer's balance, too.
    """
    invoice_id = INVOICES.id_of(call)
    if body.paid_out_of_band:
        call.need(Permission.INVOICES_WRITE, param="paid_out_of_band")
        amount = None if body.amount is None else body.amount.value
        return INVOICES.changed(invoice_id, PayInvoiceOutOfBand(invoice_id=invoice_id, amount=amount))
    payment_id = new_id(PAYMENT)
    command = PayInvoice(invoice_id=invoice_id, payment_id=payment_id, payment_method_id=body.payment_method)
    return INVOICES.changed(invoice_id, command)._replace(location=f"/v1/payments/{payment_id}")


@INVOICES.changes(
    "POST",
    "reverse-payment",
    body=PaymentReversal,
    body_example={"amount": {"amount": 45000, "currency": "EUR"}},
    example=OPEN_EXAMPLE,
    refusals=(NotPaidOutOfBand, InvoiceIsCredited, SurplusIsSpent, NotCustomersCurrency),
)
async def reverse_payment(call: Call, body: PaymentReversal) -> Intention:
    """Take back what was recorded as paid out of band by mistake, or bounced: all of it, or `amount` of it.

    What had come above what was due goes first, off the customer's balance; the rest is due again, and the invoice is
    open (or, if it had been written off, uncollectible) as before. It is not charged by itself: pay it, apply the
    balance, or void it. To correct an amount, reverse all and record the right one. What a gateway captured is
    refunded instead. Its subscription stays as it is.
    """
    invoice_id = INVOICES.id_of(call)
    amount = None if body.amount is None else body.amount.value
    return INVOICES.changed(invoice_id, ReversePaymentOutOfBand(invoice_id=invoice_id, amount=amount))


@INVOICES.changes(
    "POST",
    "apply-balance",
    body=NoBody,
    example=OPEN_EXAMPLE
    | {"amount_applied": {"amount": 5000, "currency": "EUR"}, "amount_due": {"amount": 24750, "currency": "EUR"}},
    refusals=(InvoiceNotOpen, NothingToApply),
)
async def apply_balance(call: Call, _body: NoBody) -> Intention:
    """Pay of an open invoice, or of one that was written off, what the customer's balance can.

    An invoice draws on the balance when it is finalized, and when we begin to collect it; what came to the balance
    later pays one that is open when this says so. A charge that was under way goes on: what it takes above what is left
    due becomes the customer's balance again.
    """
    invoice_id = INVOICES.id_of(call)
    return INVOICES.changed(invoice_id, ApplyCustomerBalance(invoice_id=invoice_id))
