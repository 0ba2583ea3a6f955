"""What was billed: invoices with their lines, credit notes, and the tax of both."""

from typing import Final

from projections.models import credit_notes, invoices, receivables, tax_days
from projections.reports.report import (
    METADATA,
    POSITION,
    TEST_CLOCK,
    UPDATED,
    Report,
    day,
    decimal,
    flag,
    instant,
    integer,
    json,
    money,
    text,
)

_DUE: Final = (
    "CASE WHEN r.status = 'void' THEN 0 ELSE greatest(0, r.total - r.amount_credited - r.amount_applied "
    "- r.amount_paid + r.amount_given_back + r.amount_reopened) END"
)
_PERCENT: Final = "nullif(r.percent, '')"


def _sum(path: str, amount: str) -> str:
    """The sum of amounts of minor units in an array of JSON; 0 of none."""
    return (
        f"(SELECT coalesce(sum((x #>> '{amount}')::bigint), 0)::bigint "  # noqa: S608  our own names
        f"FROM jsonb_array_elements({path}) AS x)"
    )


INVOICES: Final = Report(
    name="invoices",
    about="Invoices as they are now; their lines are in invoice_lines.",
    source="read.invoices r",
    columns=(
        text("invoice_id", "The invoice's id."),
        text("number", "Its number; null for a draft."),
        text("series", "The series that it is numbered in."),
        text("customer_id", "Who is billed."),
        text("subscription_id", "The subscription that it bills, the first of several; null for one-off invoices."),
        json("further_subscription_ids", "The others that it bills."),
        text("status", "draft, open, paid, uncollectible or void."),
        text("waiting_for", "tax: a draft that is final but for the answer of a tax service; else null."),
        text("collection_method", "charge_automatically or send_invoice.", "r.collection"),
        text("collection_status", "How far its collection has come."),
        text("collection_failure", "Why it could not be collected."),
        text("currency", "The currency of all its amounts."),
        *money("subtotal", "The sum of its lines.", currency="r.currency", minor=_sum("r.lines", "{amount,amount}")),
        *money(
            "total_discount",
            "What discounts take off.",
            currency="r.currency",
            minor=_sum("r.discounts", "{amount,amount}"),
        ),
        *money(
            "total_tax",
            "All tax, on top or included.",
            currency="r.currency",
            minor=_sum("coalesce(r.tax -> 'totals', '[]')", "{tax,amount}"),
        ),
        *money("total", "What it comes to, with tax.", currency="r.currency"),
        *money("amount_due", "What is still to be paid of it.", currency="r.currency", minor=f"({_DUE})"),
        *money("amount_applied", "What the customer's balance paid of it.", currency="r.currency"),
        *money("amount_paid", "What payments paid of it.", currency="r.currency"),
        *money("amount_overpaid", "What was paid above it.", currency="r.currency"),
        *money("amount_credited", "What credit notes took off it.", currency="r.currency"),
        *money("amount_given_back", "What of that had been paid and came back.", currency="r.currency"),
        *money("amount_reopened", "What refunds without a credit note made due again.", currency="r.currency"),
        text("payment_id", "The payment that paid it, or was tried last."),
        text("memo", "What stands on it for the customer."),
        TEST_CLOCK,
        METADATA,
        instant("created_at", "When it was made."),
        instant("finalized_at", "When it was finalized; null for a draft."),
        instant("due_at", "By when it is to be paid."),
        instant("paid_at", "When it was paid."),
        instant("uncollectible_at", "When it was written off."),
        instant("voided_at", "When it was voided."),
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.invoice_id"),
    since="r.created_at",
    rests_on=(invoices.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

_AMOUNT: Final = "(l.line #>> '{amount,amount}')::bigint"
_LINE_DISCOUNT: Final = _sum("l.line -> 'discounts'", "{amount,amount}")

INVOICE_LINES: Final = Report(
    name="invoice_lines",
    about="The lines of all invoices, drafts and void ones among them: see invoice_status.",
    source=("read.invoices r CROSS JOIN LATERAL jsonb_array_elements(r.lines) WITH ORDINALITY AS l (line, number)"),
    columns=(
        text("line_id", "The line's id.", "l.line ->> 'line_id'"),
        text("invoice_id", "The invoice."),
        integer("line_number", "Its place on the invoice, from 1.", "l.number"),
        text("customer_id", "Who is billed."),
        text(
            "subscription_id",
            "The subscription that the invoice bills, the first of several; null for one-off invoices.",
        ),
        text("invoice_status", "The invoice's status.", "r.status"),
        text("kind", "one_off, recurring, prorated or credit.", "l.line ->> 'kind'"),
        text("description", "What stands on the invoice.", "l.line ->> 'description'"),
        text("product_id", "What was sold.", "l.line ->> 'product_id'"),
        text("price_id", "By which price.", "l.line ->> 'price_id'"),
        decimal("quantity", "How many.", "l.line ->> 'quantity'"),
        text("timing", "in_advance or in_arrears.", "l.line ->> 'timing'"),
        text("currency", "The currency of all its amounts.", "r.currency"),
        *money(
            "amount", "Before discounts; with its tax where that is included.", currency="r.currency", minor=_AMOUNT
        ),
        *money("discount", "What discounts take off it.", currency="r.currency", minor=_LINE_DISCOUNT),
        *money(
            "net",
            "What it comes to after discounts, without tax.",
            currency="r.currency",
            minor=f"coalesce((l.line #>> '{{tax,net,amount}}')::bigint, {_AMOUNT} - {_LINE_DISCOUNT})",
        ),
        *money(
            "tax",
            "Its tax.",
            currency="r.currency",
            minor=("coalesce((l.line #>> '{tax,total,amount}')::bigint - (l.line #>> '{tax,net,amount}')::bigint, 0)"),
        ),
        text(
            "tax_treatment",
            "How it is taxed, or why it is not; null where no tax is charged.",
            "l.line #>> '{tax,treatment}'",
        ),
        text("tax_category", "The category by which it is taxed.", "l.line ->> 'tax_category'"),
        flag("tax_inclusive", "Whether the amount contains the tax.", "(l.line ->> 'tax_inclusive')::boolean"),
        instant("period_start", "When the service begins that it bills.", "(l.line ->> 'period_start')::timestamptz"),
        instant("period_end", "When that ends.", "(l.line ->> 'period_end')::timestamptz"),
        instant("created_at", "When the invoice was made."),
        instant("finalized_at", "When it was finalized; null for a draft."),
        POSITION,
    ),
    order=("r.created_at", "r.invoice_id", "l.number"),
    since="r.created_at",
    rests_on=(invoices.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

_CREDITED: Final = "r.refunded_currency"


def _credited(name: str) -> str:
    return f"(r.credited #>> '{{{name},amount}}')::bigint"


CREDIT_NOTES: Final = Report(
    name="credit_notes",
    about="Credit notes as they are now; a void one credits nothing any more.",
    source="read.credit_notes r",
    columns=(
        text("credit_note_id", "The credit note's id."),
        text("number", "Its number."),
        text("invoice_id", "The invoice that it credits."),
        text("customer_id", "Whose it is."),
        text("status", "issued or void."),
        text("currency", "The currency of all its amounts.", _CREDITED),
        *money("total", "What it credits, with tax.", currency=_CREDITED, minor=_credited("total")),
        *money("total_tax", "The tax in that.", currency=_CREDITED, minor=_sum("r.credited -> 'tax'", "{tax,amount}")),
        *money("amount_off_due", "What of it was not paid yet.", currency=_CREDITED, minor=_credited("reduces_due")),
        *money(
            "amount_to_balance",
            "What of it became the customer's balance.",
            currency=_CREDITED,
            minor=f"({_credited('given_back')} - r.refunded)",
        ),
        *money("amount_refunded", "What of it a refund returns.", currency=_CREDITED, minor="r.refunded"),
        text("refund_status", "How far that refund has come; null without one."),
        text("refund_id", "That refund."),
        text("payment_id", "The payment that it refunds."),
        text("reason", "Why it was issued."),
        TEST_CLOCK,
        METADATA,
        instant("created_at", "When it was issued."),
        instant("voided_at", "When it was voided."),
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.credit_note_id"),
    since="r.created_at",
    rests_on=(credit_notes.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

TAX_DAYS: Final = Report(
    name="tax_days",
    about="Tax by day (UTC), jurisdiction and rate: charged, less what was voided or credited on that day.",
    source="read.tax_days r",
    columns=(
        day("day", "The day."),
        text("jurisdiction", "Whose tax it is: a country of ISO 3166-1, or a subdivision of ISO 3166-2."),
        text("treatment", "How it was taxed, or why it was not."),
        text("rate_id", "The rate; null where none was borne.", "nullif(r.rate_id, '')"),
        text("tax_kind", "The kind of tax, such as vat.", "nullif(r.kind, '')"),
        decimal("percent", "The rate's percentage.", _PERCENT),
        text("currency", "The currency of the amounts."),
        *money("taxable", "What bore it, without tax.", currency="r.currency"),
        *money("tax", "The tax.", currency="r.currency"),
    ),
    order=("r.day", "r.jurisdiction", "r.treatment", "r.rate_id", "r.kind", "r.percent", "r.currency"),
    since=None,
    rests_on=(tax_days.TABLE,),
)

RECEIVABLES: Final = Report(
    name="receivables",
    about=(
        "What stood on the receivable account for each invoice, and from when until when: what was owed just before a "
        "moment is the sum of the amounts with stood_from before it and stood_until not before it, or null."
    ),
    source="(SELECT * FROM read.receivables WHERE amount <> 0) r",
    columns=(
        text("invoice_id", "The invoice."),
        integer("stretch", "0: what stands now; what stood before it is counted from 1."),
        text("customer_id", "Who owes it."),
        text("currency", "The currency of the amount.", "r.amount_currency"),
        *money("amount", "What stood there of the invoice.", currency="r.amount_currency"),
        instant("due_at", "By when the invoice is to be paid."),
        instant("stood_from", "From when on it stood there.", "r.since"),
        instant("stood_until", "Until when; null: it stands there still.", "r.until"),
    ),
    order=("r.since", "r.invoice_id", "r.stretch"),
    since=None,
    rests_on=(receivables.TABLE,),
    customer="r.customer_id",
)

OF_INVOICES: Final = (INVOICES, INVOICE_LINES, CREDIT_NOTES, TAX_DAYS, RECEIVABLES)
