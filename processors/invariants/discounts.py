"""I8, discount by discount: what invoices say that they used of it is what it counts, and no more than there is.

And coupon by coupon: it was redeemed once for each discount that was made of it, and never more often than it may be.
Memory grows with coupons and discounts that go on, not with the log.
"""

from collections import Counter
from typing import Any

from domain.discounts.computation import CouponDuration
from domain.discounts.coupon import COUPON, CouponCreated, CouponRedeemed
from domain.discounts.discount import DISCOUNT, DiscountApplied, DiscountAttached, DiscountEnd, DiscountEnded
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.late_usage import InvoiceUsageCutShort
from domain.invoicing.tax_request import InvoiceTaxRequested
from processors.invariants.findings import Findings

Key = tuple[str, str]
"""Tenant, and discount or coupon."""


class Discounts:
    """Adds up what is used of discounts, as they have it and as invoices do."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._periods_left: dict[Key, int] = {}
        self._unmatched: Counter[tuple[str, str, str]] = Counter()
        self._made: Counter[Key] = Counter()
        self._redemptions_left: dict[Key, int] = {}
        self._waiting: set[Key] = set()

    def take_tax_request(self, tenant_id: str, event: InvoiceTaxRequested) -> None:
        """What waits for its tax has used its discounts by then, whatever becomes of it."""
        key = tenant_id, event.invoice_id
        if event.attempt == 1:
            for each in event.discounts:
                self._match(tenant_id, each.discount_id, event.invoice_id, each.amount.amount, each.periods)
            self._waiting.add(key)

    def take_invoice(self, tenant_id: str, event: InvoiceFinalized) -> None:
        """One that is finalized: its lines say the same as it does, and its total is what they come to."""
        is_matched = (tenant_id, event.invoice_id) in self._waiting
        self._waiting.discard((tenant_id, event.invoice_id))
        if not event.discounts:
            return
        off_lines: Counter[str] = Counter()
        for line in event.lines:
            for taken in line.discounts:
                off_lines[taken.discount_id] += taken.amount.amount
        for each in event.discounts:
            self._findings.count("discounts of invoices")
            if off_lines.pop(each.discount_id, 0) != each.amount.amount:
                self._differ("a discount of an invoice", (tenant_id, event.invoice_id), "its lines say another amount")
            if not is_matched:
                self._match(tenant_id, each.discount_id, event.invoice_id, each.amount.amount, each.periods)
        if off_lines:
            self._differ("a discount of an invoice", (tenant_id, event.invoice_id), "its lines name more than it does")
        if sum(line.total.amount for line in event.lines) != event.total.amount:
            self._differ("a discounted invoice", (tenant_id, event.invoice_id), "its lines come to another total")

    def take_end(self, tenant_id: str, event: InvoiceUsageCutShort) -> None:
        """Periods of usage end with an invoice, as what was to use the discounts' periods is void."""
        for discount_id in event.discount_ids:
            self._match(tenant_id, discount_id, event.invoice_id, 0, 1)

    def take(self, tenant_id: str, stream_type: str, event: Any) -> None:
        """An event of a coupon or of a discount."""
        if stream_type == COUPON.name:
            self._take_coupon(tenant_id, event)
        elif stream_type == DISCOUNT.name:
            self._take_discount((tenant_id, event.discount_id), event)

    def close(self) -> None:
        """What is left at the end of the log."""
        for tenant_id, discount_id, what in sorted(key for key, left in self._unmatched.items() if left):
            self._differ(what, (tenant_id, discount_id), "an invoice and the discount do not say the same of it")
        for key in sorted(key for key, left in self._made.items() if left):
            self._differ("redemptions of a coupon", key, "not as many as discounts that were made of it")

    def _take_coupon(self, tenant_id: str, event: Any) -> None:
        if isinstance(event, CouponCreated) and event.max_redemptions is not None:
            self._redemptions_left[tenant_id, event.coupon_id] = event.max_redemptions
        elif isinstance(event, CouponRedeemed):
            key = tenant_id, event.coupon_id
            self._findings.count("redemptions")
            self._made[key] += 1
            if key in self._redemptions_left:
                self._redemptions_left[key] -= 1
                if self._redemptions_left[key] < 0:
                    self._differ("redemptions of a coupon", key, "more than it may have")

    def _take_discount(self, key: Key, event: Any) -> None:
        if isinstance(event, DiscountAttached):
            self._made[key[0], event.coupon_id] -= 1
            terms = event.terms
            if terms.duration is not CouponDuration.FOREVER:
                self._periods_left[key] = terms.periods or 1
        elif isinstance(event, DiscountApplied):
            self._match(*key, event.invoice_id, -event.amount.amount, -event.periods)
            if key in self._periods_left:
                self._periods_left[key] -= event.periods
                if self._periods_left[key] < 0:
                    self._differ("periods of a discount", key, "more than it has")
        elif isinstance(event, DiscountEnded) and event.reason is DiscountEnd.USED_UP:
            left = self._periods_left.pop(key, None)
            if left != 0:
                self._differ("periods of a discount", key, f"it ended as used up with {left} left")

    def _match(self, tenant_id: str, discount_id: str, invoice_id: str, amount: int, periods: int) -> None:
        """Both sides come in one decision: what is told on one and not on the other stays."""
        for what, more in ((f"amount off {invoice_id}", amount), (f"periods used by {invoice_id}", periods)):
            key = tenant_id, discount_id, what
            self._unmatched[key] += more
            if not self._unmatched[key]:
                del self._unmatched[key]

    def _differ(self, what: str, key: Key, detail: str) -> None:
        self._findings.differ(what, "/".join(key), detail)
