"""Facts and commands that the specifications of the streams are told with: one customer, one of everything."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.kernel.personal_reference import PersonalReference
from domain.payments.decline import DeclineCode
from domain.kernel.accounts import Account, Posting
from domain.kernel.accounts import credit as credit_posting
from domain.kernel.accounts import debit as debit_posting
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.customers.balance import CustomerBalanceCredited, CustomerBalanceDrawn
from domain.customers.customer import CreateCustomer, CustomerCreated, CustomerDeleted
from domain.kernel.identifiers import encode, uuid7
from domain.invoicing.collection import CollectionMethod, InvoicePaymentFailed, InvoicePaymentStarted
from domain.invoicing.draft import DraftInvoice, DraftTerms, InvoiceDrafted
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided
from domain.invoicing.imported import InvoiceImported, InvoicePaymentImported
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.settlement import (
    InvoiceBalanceApplied,
    InvoiceMarkedUncollectible,
    InvoicePaid,
    InvoicePartlyPaid,
    InvoicePaymentReversed,
    InvoiceRecovered,
    InvoiceRefundFailed,
    InvoiceReopened,
)
from domain.invoicing.numbering import InvoiceNumberTaken
from domain.kernel.money import Money
from domain.payments.payment import PaymentAttemptRequested, PaymentCaptured, PaymentCreated, PaymentDeclined
from domain.customers.payment_method import AttachPaymentMethod, PaymentMethodAttached, PaymentMethodKind
from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import BillingTiming, CreatePrice
from domain.pricing.models import Flat, Price
from domain.catalog.product import CreateProduct
from domain.kernel.rounding import STANDARD_ROUNDING
from domain.kernel.stream import Command
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from domain.customers.test_clock import CreateTestClock
from domain.kernel.tenant_mode import TenantMode
from testing.moments import utc
from testing.specification import NOW

USD = CurrencyCode("USD")
EUR = CurrencyCode("EUR")
MONTH = Interval(IntervalUnit.MONTH)
MONTH_LATER = utc("2026-02-28T10:00")


def id_of(prefix: str, n: int = 1) -> str:
    """The n-th id of a prefix, the same in every run."""
    return prefix + encode(uuid7(1_767_225_600_000 + n, n))


CUSTOMER_ID, OTHER_CUSTOMER_ID = id_of("cus_"), id_of("cus_", 2)
PRODUCT_ID, PLAN_ID, PRICE_ID = id_of("prod_"), id_of("plan_"), id_of("price_")
ARREARS_PRICE_ID = id_of("price_", 2)
SUBSCRIPTION_ID, INVOICE_ID, LINE_ID = id_of("sub_"), id_of("in_"), id_of("il_")
CARD_ID, OTHER_CARD_ID = id_of("pm_"), id_of("pm_", 2)
PAYMENT_ID, OTHER_PAYMENT_ID, REFUND_ID = id_of("pay_"), id_of("pay_", 2), id_of("re_")
CLOCK_ID, ENTRY_ID = id_of("clock_"), id_of("je_")
PERSONAL = PersonalReference(reference=id_of("pd_"), commitment=bytes(range(32)))

IN_ADVANCE, IN_ARREARS = BillingTiming.IN_ADVANCE, BillingTiming.IN_ARREARS
BY_CHARGE, BY_HAND = CollectionMethod.CHARGE_AUTOMATICALLY, CollectionMethod.SEND_INVOICE


def usd(amount: int) -> Money:
    return Money(amount, USD)


def debit(account: Account, amount: Money) -> Posting:
    """A debit about the customer of these examples."""
    return debit_posting(account, amount, CUSTOMER_ID)


def credit(account: Account, amount: Money) -> Posting:
    """A credit about the customer of these examples."""
    return credit_posting(account, amount, CUSTOMER_ID)


# --- the customer, with a card -----------------------------------------------------------------------------------


def customer_created(**changes: Any) -> CustomerCreated:
    facts: dict[str, Any] = {
        "customer_id": CUSTOMER_ID,
        "external_id": None,
        "currency": USD,
        "time_zone": "UTC",
        "test_clock_id": None,
        "personal": None,
        "tax_location": None,
        "created_at": NOW,
    }
    return CustomerCreated(**facts | changes)


def customer_deleted() -> CustomerDeleted:
    return CustomerDeleted(customer_id=CUSTOMER_ID, deleted_at=NOW)


def create_customer(**changes: Any) -> CreateCustomer:
    return CreateCustomer(**{"customer_id": CUSTOMER_ID, "currency": "USD"} | changes)


def card_attached(payment_method_id: str = CARD_ID, customer_id: str = CUSTOMER_ID) -> PaymentMethodAttached:
    return PaymentMethodAttached(
        payment_method_id=payment_method_id,
        customer_id=customer_id,
        kind=PaymentMethodKind.CARD,
        gateway="sandbox",
        token_reference="tok_ok",
        details=None,
        created_at=NOW,
    )


def attach_card(**changes: Any) -> AttachPaymentMethod:
    facts: dict[str, Any] = {
        "payment_method_id": CARD_ID,
        "customer_id": CUSTOMER_ID,
        "kind": PaymentMethodKind.CARD,
        "gateway": "sandbox",
        "token_reference": "tok_ok",
    }
    return AttachPaymentMethod(**facts | changes)


def customer_with_card() -> tuple[Command, ...]:
    """A customer whose invoices are collected with their card."""
    return create_customer(), attach_card(make_default=True)


def frozen_clock(frozen_at: datetime = NOW) -> CreateTestClock:
    return CreateTestClock(clock_id=CLOCK_ID, name="a year in seconds", frozen_at=frozen_at, mode=TenantMode.TEST)


# --- what is sold ------------------------------------------------------------------------------------------------


def flat(amount: int = 1_000) -> Flat:
    return Flat(amount=usd(amount))


def plan_on_sale(
    interval: Interval = MONTH,
    *,
    in_advance: Price | None = None,
    in_arrears: Price | None = None,
    trial_days: int = 0,
) -> tuple[Command, ...]:
    """A product with a plan, and a price of it for each timing that is given; a flat 10.00 in advance if none is."""
    if in_advance is None and in_arrears is None:
        in_advance = flat()
    facts: list[Command] = [
        CreateProduct(product_id=PRODUCT_ID, name="Phone"),
        CreatePlan(
            plan_id=PLAN_ID,
            product_id=PRODUCT_ID,
            terms=PlanTerms(name="Phone, monthly", interval=interval, trial_days=trial_days),
        ),
    ]
    for price_id, price, timing in (
        (PRICE_ID, in_advance, IN_ADVANCE),
        (ARREARS_PRICE_ID, in_arrears, IN_ARREARS),
    ):
        if price is not None:
            name = "Calls" if timing is BillingTiming.IN_ARREARS else None
            facts.append(CreatePrice(price_id=price_id, plan_id=PLAN_ID, name=name, price=price, timing=timing))
    return tuple(facts)


def subscribe(*price_ids: str, **changes: Any) -> CreateSubscription:
    """To the prices given, else to the one in advance; one of each; paid by hand."""
    facts: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "customer_id": CUSTOMER_ID,
        "plan_id": PLAN_ID,
        "items": tuple(RequestedItem(price_id=price_id) for price_id in price_ids or (PRICE_ID,)),
        "collection": BY_HAND,
    }
    return CreateSubscription(**facts | changes)


# --- invoices ----------------------------------------------------------------------------------------------------


def line(amount: int = 1_000, timing: BillingTiming = IN_ADVANCE, **changes: Any) -> InvoiceLine:
    facts: dict[str, Any] = {
        "line_id": LINE_ID,
        "description": "Set-up",
        "amount": usd(amount),
        "quantity": Decimal(1),
        "timing": timing,
        "period_start": NOW,
        "period_end": MONTH_LATER,
    }
    return InvoiceLine(**facts | changes)


def draft(*lines: InvoiceLine, **changes: Any) -> DraftInvoice:
    facts: dict[str, Any] = {
        "invoice_id": INVOICE_ID,
        "customer_id": CUSTOMER_ID,
        "collection": BY_HAND,
        "currency": USD,
        "lines": lines or (line(),),
    }
    return DraftInvoice(**facts | changes)


def invoice_drafted(*lines: InvoiceLine, **changes: Any) -> InvoiceDrafted:
    facts: dict[str, Any] = {
        "invoice_id": INVOICE_ID,
        "customer_id": CUSTOMER_ID,
        "subscription_id": None,
        "collection": BY_HAND,
        "currency": USD,
        "lines": lines or (line(),),
        "terms": DraftTerms(finalizes_at=None, days_until_due=30, rounding=STANDARD_ROUNDING),
        "series": "INV",
        "test_clock_id": None,
        "created_at": NOW,
    }
    return InvoiceDrafted(**facts | changes)


def number_taken(number: int = 1, invoice_id: str = INVOICE_ID) -> InvoiceNumberTaken:
    return InvoiceNumberTaken(counter="INV", number=number, invoice_id=invoice_id)


def invoice_finalized(*lines: InvoiceLine, **changes: Any) -> InvoiceFinalized:
    """An open invoice of the lines given, else of 10.00 in advance; collected by charge."""
    lines = lines or (line(),)
    facts: dict[str, Any] = {
        "invoice_id": INVOICE_ID,
        "customer_id": CUSTOMER_ID,
        "subscription_id": None,
        "series": "INV",
        "number": "INV-000001",
        "collection": BY_CHARGE,
        "currency": USD,
        "lines": lines,
        "total": usd(sum(each.amount.amount for each in lines)),
        "applied": usd(0),
        "test_clock_id": None,
        "finalized_at": NOW,
        "due_at": NOW,
    }
    return InvoiceFinalized(**facts | changes)


def invoice_imported(amount: int = 1_000, number: str = "OLD-1") -> InvoiceImported:
    """An invoice of one line that another system issued."""
    return InvoiceImported(
        invoice_id=INVOICE_ID,
        customer_id=CUSTOMER_ID,
        number=number,
        currency=USD,
        lines=(line(amount, BillingTiming.IN_ARREARS),),
        total=usd(amount),
        test_clock_id=None,
        metadata=(),
        issued_at=NOW,
        due_at=NOW,
        imported_at=NOW,
    )


def invoice_payment_imported(amount: int = 1_000, reference: str | None = None) -> InvoicePaymentImported:
    return InvoicePaymentImported(
        invoice_id=INVOICE_ID, amount=usd(amount), reference=reference, paid_at=NOW, imported_at=NOW
    )


def invoice_payment_started(payment_id: str = PAYMENT_ID) -> InvoicePaymentStarted:
    return InvoicePaymentStarted(invoice_id=INVOICE_ID, payment_id=payment_id, started_at=NOW)


def invoice_payment_failed(reason: str = "insufficient_funds", payment_id: str = PAYMENT_ID) -> InvoicePaymentFailed:
    return InvoicePaymentFailed(invoice_id=INVOICE_ID, payment_id=payment_id, reason=reason, failed_at=NOW)


def invoice_paid(payment_id: str | None = PAYMENT_ID, amount: int = 1_000, surplus: int = 0) -> InvoicePaid:
    return InvoicePaid(
        invoice_id=INVOICE_ID, payment_id=payment_id, amount=usd(amount), surplus=usd(surplus), paid_at=NOW
    )


def invoice_partly_paid(amount: int) -> InvoicePartlyPaid:
    """Out of band."""
    return InvoicePartlyPaid(invoice_id=INVOICE_ID, payment_id=None, amount=usd(amount), paid_at=NOW)


def invoice_uncollectible(amount: int = 1_000) -> InvoiceMarkedUncollectible:
    return InvoiceMarkedUncollectible(invoice_id=INVOICE_ID, amount=usd(amount), marked_at=NOW)


def invoice_payment_reversed(amount: int, surplus: int = 0) -> InvoicePaymentReversed:
    return InvoicePaymentReversed(invoice_id=INVOICE_ID, amount=usd(amount), surplus=usd(surplus), reversed_at=NOW)


def invoice_reopened(amount: int) -> InvoiceReopened:
    return InvoiceReopened(
        invoice_id=INVOICE_ID, payment_id=PAYMENT_ID, refund_id=REFUND_ID, amount=usd(amount), reopened_at=NOW
    )


def invoice_refund_failed(amount: int, surplus: int = 0) -> InvoiceRefundFailed:
    return InvoiceRefundFailed(
        invoice_id=INVOICE_ID,
        payment_id=PAYMENT_ID,
        refund_id=REFUND_ID,
        amount=usd(amount),
        surplus=usd(surplus),
        failed_at=NOW,
    )


def invoice_balance_applied(amount: int) -> InvoiceBalanceApplied:
    return InvoiceBalanceApplied(invoice_id=INVOICE_ID, amount=usd(amount), applied_at=NOW)


def invoice_recovered(amount: int) -> InvoiceRecovered:
    return InvoiceRecovered(invoice_id=INVOICE_ID, amount=usd(amount), recovered_at=NOW)


def balance_credited(
    amount: int, *, refund_id: str | None = None, credit_note_id: str | None = None
) -> CustomerBalanceCredited:
    """By the invoice of these examples, or by a refund that failed."""
    invoice_id = INVOICE_ID if refund_id is None else None
    return CustomerBalanceCredited(
        customer_id=CUSTOMER_ID,
        amount=usd(amount),
        invoice_id=invoice_id,
        refund_id=refund_id,
        credit_note_id=credit_note_id,
        credited_at=NOW,
    )


def balance_drawn(
    amount: int, *, refund_id: str | None = None, credit_note_id: str | None = None
) -> CustomerBalanceDrawn:
    """For the invoice of these examples, or by a refund."""
    invoice_id = INVOICE_ID if refund_id is None else None
    return CustomerBalanceDrawn(
        customer_id=CUSTOMER_ID,
        amount=usd(amount),
        invoice_id=invoice_id,
        refund_id=refund_id,
        credit_note_id=credit_note_id,
        drawn_at=NOW,
    )


def invoice_voided() -> InvoiceVoided:
    return InvoiceVoided(invoice_id=INVOICE_ID, voided_at=NOW)


# --- payments ----------------------------------------------------------------------------------------------------


def payment_created(**changes: Any) -> PaymentCreated:
    """A payment of the invoice of these examples."""
    facts: dict[str, Any] = {
        "payment_id": PAYMENT_ID,
        "customer_id": CUSTOMER_ID,
        "invoice_id": INVOICE_ID,
        "amount": usd(1_000),
        "payment_method_id": CARD_ID,
        "description": None,
        "test_clock_id": None,
        "created_at": NOW,
    }
    return PaymentCreated(**facts | changes)


def attempt_requested(attempt: int = 1, **changes: Any) -> PaymentAttemptRequested:
    facts: dict[str, Any] = {
        "payment_id": PAYMENT_ID,
        "attempt": attempt,
        "amount": usd(1_000),
        "payment_method_id": CARD_ID,
        "gateway": "sandbox",
        "token_reference": "tok_ok",
        "requested_at": NOW,
    }
    return PaymentAttemptRequested(**facts | changes)


def payment_captured(attempt: int = 1, *, unneeded: bool = False, surplus: int = 0) -> PaymentCaptured:
    return PaymentCaptured(
        payment_id=PAYMENT_ID,
        attempt=attempt,
        gateway_payment_id="gw_1",
        amount=usd(1_000),
        unneeded=unneeded,
        surplus=usd(surplus),
        captured_at=NOW,
    )


def payment_declined(attempt: int = 1) -> PaymentDeclined:
    return PaymentDeclined(
        payment_id=PAYMENT_ID, attempt=attempt, code=DeclineCode.INSUFFICIENT_FUNDS, retryable=True, declined_at=NOW
    )
