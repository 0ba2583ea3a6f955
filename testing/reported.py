"""What reports are to say: the rows that the API's own resources come to, column by column."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from domain.kernel.currency import CurrencyCode, exponent_of
from projections.reports.catalogue import REPORTS
from projections.reports.report import Kind

Row = dict[str, Any]
NOT_IN_THE_API: Final = frozenset({"updated_at", "position"})
"""Columns that no resource shows."""
KINDS: Final = {report.name: {column.name: column.kind for column in report.columns} for report in REPORTS}


def money(name: str, shown: Mapping[str, Any] | None) -> Row:
    """An amount in its two columns."""
    if shown is None:
        return {f"{name}_minor": None, name: None}
    decimals = exponent_of(CurrencyCode(shown["currency"]))
    return {f"{name}_minor": shown["amount"], name: Decimal(shown["amount"]).scaleb(-decimals)}


def at(text: str | None) -> datetime | None:
    """An instant as the API tells it."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def customer(shown: Row) -> Iterator[Row]:
    place = shown["tax_location"] or {}
    yield {
        "customer_id": shown["id"],
        "tax_country": place.get("country"),
        "tax_region": place.get("region"),
        "default_payment_method_id": shown["default_payment_method"],
        "test_clock_id": shown["test_clock"],
        "created_at": at(shown["created"]),
        "deleted_at": at(shown["deleted_at"]),
        "erased_at": at(shown["erased_at"]),
        **money("balance", shown["balance"]),
        **{
            name: shown[name]
            for name in ("external_id", "currency", "time_zone", "locale", "tax_exempt", "vat_id_country")
        },
    }


def subscription(shown: Row) -> Iterator[Row]:
    yield {
        "subscription_id": shown["id"],
        "customer_id": shown["customer"],
        "plan_id": shown["plan"],
        "interval_unit": shown["interval"]["unit"],
        "interval_count": shown["interval"]["count"],
        "billing_anchor_at": at(shown["billing_anchor"]),
        "latest_invoice_id": shown["latest_invoice"],
        "test_clock_id": shown["test_clock"],
        "created_at": at(shown["created"]),
        **{
            name: shown[name]
            for name in (
                "plan_version", "status", "currency", "collection_method", "time_zone", "metadata", "transferred_from",
                "transferred_to",
            )
        },
        **{
            name: at(shown[name])
            for name in (
                "starts_at", "trial_end", "current_period_start", "current_period_end", "paused_at", "resumes_at",
                "cancel_at", "canceled_at",
            )
        },
    }  # fmt: skip


def subscription_items(shown: Row) -> Iterator[Row]:
    for number, item in enumerate(shown["items"], start=1):
        yield {
            "subscription_id": shown["id"],
            "item_number": number,
            "customer_id": shown["customer"],
            "subscription_status": shown["status"],
            "price_id": item["price"],
            "product_id": item["product"],
            "quantity": None if item["quantity"] is None else Decimal(item["quantity"]),
            "meter_id": item["meter"],
            "created_at": at(shown["created"]),
            **{name: item[name] for name in ("description", "currency", "timing", "tax_inclusive", "tax_category")},
        }


def invoice(shown: Row) -> Iterator[Row]:
    amounts = (
        "subtotal", "total_discount", "total_tax", "total", "amount_due", "amount_applied", "amount_paid",
        "amount_overpaid", "amount_credited", "amount_given_back", "amount_reopened",
    )  # fmt: skip
    made: Row = {
        "invoice_id": shown["id"],
        "customer_id": shown["customer"],
        "subscription_id": shown["subscription"],
        "further_subscription_ids": shown["further_subscriptions"],
        "payment_id": shown["payment"],
        "test_clock_id": shown["test_clock"],
        "created_at": at(shown["created"]),
        **{
            name: shown[name]
            for name in (
                "number", "series", "status", "waiting_for", "collection_method", "collection_status",
                "collection_failure", "currency", "memo", "metadata",
            )
        },
        **{name: at(shown[name]) for name in ("finalized_at", "due_at", "paid_at", "uncollectible_at", "voided_at")},
    }  # fmt: skip
    for name in amounts:
        made |= money(name, shown[name])
    yield made


def invoice_lines(shown: Row) -> Iterator[Row]:
    for number, line in enumerate(shown["lines"], start=1):
        currency = shown["currency"]
        taken = sum(each["amount"]["amount"] for each in line["discounts"])
        net = line["amount"]["amount"] - taken if line["tax"] is None else line["tax"]["net"]["amount"]
        tax = 0 if line["tax"] is None else line["tax"]["total"]["amount"] - net
        yield {
            "line_id": line["id"],
            "invoice_id": shown["id"],
            "line_number": number,
            "customer_id": shown["customer"],
            "subscription_id": shown["subscription"],
            "invoice_status": shown["status"],
            "product_id": line["product"],
            "price_id": line["price"],
            "quantity": Decimal(line["quantity"]),
            "currency": currency,
            "tax_treatment": None if line["tax"] is None else line["tax"]["treatment"],
            "period_start": at(line["period_start"]),
            "period_end": at(line["period_end"]),
            "created_at": at(shown["created"]),
            "finalized_at": at(shown["finalized_at"]),
            **{name: line[name] for name in ("kind", "description", "timing", "tax_category", "tax_inclusive")},
            **money("amount", line["amount"]),
            **money("discount", {"amount": taken, "currency": currency}),
            **money("net", {"amount": net, "currency": currency}),
            **money("tax", {"amount": tax, "currency": currency}),
        }


def credit_note(shown: Row) -> Iterator[Row]:
    made: Row = {
        "credit_note_id": shown["id"],
        "invoice_id": shown["invoice"],
        "customer_id": shown["customer"],
        "currency": shown["total"]["currency"],
        "refund_id": shown["refund"],
        "payment_id": shown["payment"],
        "test_clock_id": shown["test_clock"],
        "created_at": at(shown["created"]),
        "voided_at": at(shown["voided_at"]),
        **{name: shown[name] for name in ("number", "status", "refund_status", "reason", "metadata")},
    }
    for name in ("total", "total_tax", "amount_off_due", "amount_to_balance", "amount_refunded"):
        made |= money(name, shown[name])
    yield made


def payment(shown: Row) -> Iterator[Row]:
    made: Row = {
        "payment_id": shown["id"],
        "customer_id": shown["customer"],
        "invoice_id": shown["invoice"],
        "currency": shown["amount"]["currency"],
        "payment_method_id": shown["payment_method"],
        "test_clock_id": shown["test_clock"],
        "created_at": at(shown["created"]),
        "captured_at": at(shown["captured_at"]),
        **{
            name: shown[name]
            for name in (
                "status", "attempt", "outcome_unknown", "decline_code", "gateway", "gateway_payment_id", "description",
                "metadata",
            )
        },
    }  # fmt: skip
    for name in ("amount", "amount_refunded", "amount_overpaid"):
        made |= money(name, shown[name])
    yield made


def refund(shown: Row) -> Iterator[Row]:
    yield {
        "refund_id": shown["id"],
        "payment_id": shown["payment"],
        "customer_id": shown["customer"],
        "currency": shown["amount"]["currency"],
        "credit_note_id": shown["credit_note"],
        "created_at": at(shown["created"]),
        **money("amount_reopened", shown["amount_reopened"]),
        **{
            name: shown[name]
            for name in ("status", "outcome_unknown", "reason", "gateway_refund_id", "failure_code", "metadata")
        },
        **money("amount", shown["amount"]),
    }


def product(shown: Row) -> Iterator[Row]:
    yield {
        "product_id": shown["id"],
        "created_at": at(shown["created"]),
        "archived_at": at(shown["archived_at"]),
        "deleted_at": at(shown["deleted_at"]),
        **{name: shown[name] for name in ("name", "description", "tax_category", "version", "metadata")},
    }


def plan(shown: Row) -> Iterator[Row]:
    yield {
        "plan_id": shown["id"],
        "product_id": shown["product"],
        "interval_unit": shown["interval"]["unit"],
        "interval_count": shown["interval"]["count"],
        "is_add_on": shown["add_on"],
        "created_at": at(shown["created"]),
        "archived_at": at(shown["archived_at"]),
        "deleted_at": at(shown["deleted_at"]),
        "features": [
            {"key": each["key"], "limit": each["limit"], "meter_id": each["meter"], "limit_kind": each["limit_kind"]}
            for each in shown["features"]
        ],
        **{name: shown[name] for name in ("name", "trial_days", "version", "metadata")},
    }


def price(shown: Row) -> Iterator[Row]:
    interval = shown["interval"] or {"unit": None, "count": None}
    yield {
        "price_id": shown["id"],
        "plan_id": shown["plan"],
        "meter_id": shown["meter"],
        "model": shown["model"]["type"],
        "interval_unit": interval["unit"],
        "interval_count": interval["count"],
        "created_at": at(shown["created"]),
        "archived_at": at(shown["archived_at"]),
        "deleted_at": at(shown["deleted_at"]),
        **{name: shown[name] for name in ("external_id", "name", "currency", "timing", "tax_inclusive", "metadata")},
        **money("flat_amount", shown["model"].get("amount")),
    }


def _terms(shown: Row) -> Row:
    return {
        "percent_off": _number(shown["percent_off"]),
        "product_ids": shown["products"],
        **{name: shown[name] for name in ("name", "duration", "periods", "metadata")},
        **money("amount_off", shown["amount_off"]),
    }


def coupon(shown: Row) -> Iterator[Row]:
    yield {
        **_terms(shown),
        "coupon_id": shown["id"],
        "currency": None if shown["amount_off"] is None else shown["amount_off"]["currency"],
        "max_redemptions": shown["max_redemptions"],
        "times_redeemed": shown["times_redeemed"],
        "redeem_before": at(shown["redeem_before"]),
        "created_at": at(shown["created"]),
        "archived_at": at(shown["archived_at"]),
        "deleted_at": at(shown["deleted_at"]),
    }


def discount(shown: Row) -> Iterator[Row]:
    yield {
        **_terms(shown),
        "discount_id": shown["id"],
        "coupon_id": shown["coupon"],
        "customer_id": shown["customer"],
        "subscription_id": shown["subscription"],
        "currency": shown["total_discount"]["currency"],
        "periods_used": shown["periods_used"],
        "created_at": at(shown["created"]),
        "ended_at": at(shown["ended_at"]),
        "end_reason": shown["end_reason"],
        **money("total_discount", shown["total_discount"]),
    }


def ledger_entry(shown: Row) -> Iterator[Row]:
    yield {
        "entry_id": shown["id"],
        "event_type": shown["event_type"],
        "subject_id": shown["subject"],
        "accounts": ",".join(sorted({each["account"] for each in shown["postings"]})),
        "effective_at": at(shown["effective_at"]),
        "recorded_at": at(shown["recorded_at"]),
        "position": shown["position"],
    }


def ledger_postings(shown: Row) -> Iterator[Row]:
    for number, each in enumerate(shown["postings"], start=1):
        yield {
            "entry_id": shown["id"],
            "posting_number": number,
            "account": each["account"],
            "side": each["side"],
            "currency": each["amount"]["currency"],
            "customer_id": each["customer"],
            "jurisdiction": each["jurisdiction"],
            "event_type": shown["event_type"],
            "subject_id": shown["subject"],
            "effective_at": at(shown["effective_at"]),
            "recorded_at": at(shown["recorded_at"]),
            "position": shown["position"],
            **money("amount", each["amount"]),
        }


def account(shown: Row) -> Iterator[Row]:
    made: Row = {
        "account": shown["code"],
        "account_name": shown["name"],
        "account_type": shown["type"],
        "currency": shown["currency"],
    }
    for name in ("debit", "credit", "balance"):
        made |= money(name, shown[name])
    yield made


def mrr_movement(shown: Row) -> Iterator[Row]:
    yield {
        "day": date.fromisoformat(shown["day"]),
        "customer_id": shown["customer"],
        "subscription_id": shown["subscription"],
        "movement": shown["movement"],
        "currency": shown["change"]["currency"],
        **money("change", shown["change"]),
    }


OF_RESOURCES: Final[Mapping[str, tuple[str, Callable[[Row], Iterator[Row]]]]] = {
    "customers": ("/v1/customers", customer),
    "subscriptions": ("/v1/subscriptions", subscription),
    "subscription_items": ("/v1/subscriptions", subscription_items),
    "invoices": ("/v1/invoices", invoice),
    "invoice_lines": ("/v1/invoices", invoice_lines),
    "credit_notes": ("/v1/credit-notes", credit_note),
    "payments": ("/v1/payments", payment),
    "refunds": ("/v1/refunds", refund),
    "products": ("/v1/products", product),
    "plans": ("/v1/plans", plan),
    "prices": ("/v1/prices", price),
    "coupons": ("/v1/coupons", coupon),
    "discounts": ("/v1/discounts", discount),
    "ledger_entries": ("/v1/ledger/entries", ledger_entry),
    "ledger_postings": ("/v1/ledger/entries", ledger_postings),
    "account_balances": ("/v1/ledger/accounts", account),
    "mrr_movements": ("/v1/reports/mrr/movements?from=1970-01-01&to=2199-12-31", mrr_movement),
}
"""By report: the list whose resources it is made of, and the rows of one of them."""
SUMMED: Final = frozenset({"account_days", "tax_days", "receivables"})
"""Reports of which the API shows no list, but sums."""


def parsed(report: str, name: str, text: str | None) -> Any:
    """A cell of text as a value."""
    if text is None:
        return None
    match KINDS[report].get(name, Kind.JSON if name in ("address", "tax_ids", "metadata") else Kind.TEXT):
        case Kind.INTEGER:
            return int(text)
        case Kind.DECIMAL:
            return Decimal(text)
        case Kind.INSTANT:
            return at(text)
        case Kind.DAY:
            return date.fromisoformat(text)
        case Kind.FLAG:
            return {"true": True, "false": False}[text]
        case Kind.JSON:
            return json.loads(text)
        case Kind.TEXT:
            return text
