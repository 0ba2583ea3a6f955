"""Money on its way from customers, and back to them."""

from typing import Final

from projections.models import payments, refunds
from projections.reports.report import (
    METADATA,
    POSITION,
    TEST_CLOCK,
    UPDATED,
    Report,
    flag,
    instant,
    integer,
    money,
    text,
)

_REFUNDED: Final = (
    "(SELECT coalesce(sum((x #>> '{amount,amount}')::bigint), 0)::bigint "
    "FROM jsonb_array_elements(r.refunds) AS x WHERE x ->> 'status' = 'succeeded')"
)

PAYMENTS: Final = Report(
    name="payments",
    about="Payments as they are now.",
    source="read.payments r",
    columns=(
        text("payment_id", "The payment's id."),
        text("customer_id", "Who pays."),
        text("invoice_id", "The invoice that it pays; null for a payment by itself."),
        text("status", "How far it has come; `succeeded`: its money was captured."),
        text("currency", "The currency of all its amounts.", "r.amount_currency"),
        *money("amount", "What it charges.", currency="r.amount_currency"),
        *money("amount_refunded", "What of it refunds have returned.", currency="r.amount_currency", minor=_REFUNDED),
        *money(
            "amount_overpaid",
            "What of it was above what was due.",
            currency="r.amount_currency",
            minor="r.surplus",
        ),
        integer("attempt", "Which attempt is the last; 0 before the first."),
        flag("outcome_unknown", "Whether the gateway has yet to say what became of the attempt."),
        text("decline_code", "Why it was declined last."),
        text("payment_method_id", "What it is charged to."),
        text("gateway", "The gateway."),
        text("gateway_payment_id", "Its id there."),
        text("description", "What it is for."),
        TEST_CLOCK,
        METADATA,
        instant("created_at", "When it was made."),
        instant("captured_at", "When its money was captured."),
        UPDATED,
        POSITION,
    ),
    order=("r.created_at", "r.payment_id"),
    since="r.created_at",
    rests_on=(payments.TABLE,),
    customer="r.customer_id",
    lives_on_clocks=True,
)

REFUNDS: Final = Report(
    name="refunds",
    about="Refunds as they are now.",
    source="read.refunds r",
    columns=(
        text("refund_id", "The refund's id."),
        text("payment_id", "The payment that it returns money of."),
        text("customer_id", "Whose it is."),
        text("status", "pending, succeeded or failed."),
        text("currency", "The currency of the amount.", "r.amount_currency"),
        *money("amount", "What it returns.", currency="r.amount_currency"),
        *money(
            "amount_reopened",
            "What of that made its invoice due again, until it fails.",
            currency="r.amount_currency",
            minor="r.reopened",
        ),
        flag("outcome_unknown", "Whether the gateway has yet to say what became of it."),
        text("credit_note_id", "The credit note that it was asked for with."),
        text("reason", "Why it was asked for."),
        text("gateway_refund_id", "Its id at the gateway."),
        text("failure_code", "Why it failed."),
        METADATA,
        instant("created_at", "When it was asked for.", "r.requested_at"),
        UPDATED,
        POSITION,
    ),
    order=("r.requested_at", "r.refund_id"),
    since="r.requested_at",
    rests_on=(refunds.TABLE,),
    customer="r.customer_id",
)

OF_PAYMENTS: Final = (PAYMENTS, REFUNDS)
