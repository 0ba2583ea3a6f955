"""Random histories of coupons beside a naive record: whoever is late, each invoice is discounted by what held then.

The record knows instants, sums and fractions alone: who has which coupon since and until when, and how many periods of
it are left. From each invoice it takes the amounts and the periods of its lines, and reckons what comes off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import groupby

from hypothesis import given as given_any
from hypothesis import strategies as st

from domain.discounts.computation import CouponDuration
from domain.discounts.coupon import CouponTerms
from domain.discounts.discount import DISCOUNT
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from domain.subscriptions.discount_commands import RemoveDiscount
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from testing.examples.discounts import amount, apply_to_customer, apply_to_subscription, create_coupon, percent, terms
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    IN_ADVANCE,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    draft,
    flat,
    id_of,
    line,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import cancel_at_period_end, cancel_now, renew
from testing.specification import NOW, Given, given

COUPONS = 5
offs = st.one_of(st.integers(1, 100).map(percent), st.integers(1, 1_500).map(amount))
coupons = st.lists(
    st.one_of(
        offs.map(terms),
        st.builds(lambda off, n: terms(off, periods=n), offs, st.integers(1, 4)),
        offs.map(lambda off: terms(off, duration=CouponDuration.FOREVER)),
    ),
    min_size=COUPONS,
    max_size=COUPONS,
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["customer", "subscription", "remove", "pause", "resume", "bill", "late", "late", "end"]),
        st.integers(0, 2**16),
        st.integers(0, 1_100),  # hours that pass before it
    ),
    max_size=14,
)


@dataclass
class Held:
    """A coupon that somebody has: how many periods are left (None: no end), since when and until when it holds."""

    discount_id: str
    of: CouponTerms
    left: int | None
    since: datetime
    until: datetime | None
    of_subscription: bool


def bills(lines: tuple[InvoiceLine, ...]) -> Iterator[list[InvoiceLine]]:
    """The invoices that the lines would have been on, had each been made in time."""
    for _, together in groupby(lines, lambda each: each.period_start if each.timing is IN_ADVANCE else each.period_end):
        yield list(together)


def reckoned(invoice: InvoiceFinalized, held: list[Held]) -> dict[str, int]:
    """What comes off an invoice by each, and what it uses of them."""
    off: dict[str, int] = {}
    of_it = [each for each in held if invoice.subscription_id is not None or not each.of_subscription]
    at = invoice.finalized_at
    holding = [each for each in of_it if each.since <= at and (each.until is None or at < each.until)]
    holding.sort(key=lambda each: (hasattr(each.of.off, "amount"), each.since, each.of_subscription))
    for together in bills(invoice.lines) if invoice.subscription_id is not None else [list(invoice.lines)]:
        left = sum(each.amount.amount for each in together)
        is_period = any(each.kind in {InvoiceLineKind.RECURRING, InvoiceLineKind.ONE_OFF} for each in together)
        for each in holding:
            if each.left == 0 or (each.left is not None and not is_period):
                continue
            taken = _taken(each.of, left)
            if taken == 0:
                continue
            left -= taken
            off[each.discount_id] = off.get(each.discount_id, 0) + taken
            if each.left is not None:
                each.left -= 1
    return off


def _taken(of: CouponTerms, left: int) -> int:
    if hasattr(of.off, "amount"):
        return min(of.off.amount.amount, left)
    exact = Fraction(of.off.percent) * left / 100
    return int(exact + Fraction(1, 2))


class History:
    """What happens, and the record of it."""

    def __init__(self, of: list[CouponTerms], backdated_by: int) -> None:
        self.books: Given = given(
            create_customer(),
            *plan_on_sale(in_advance=flat(1_001), in_arrears=flat(707)),
            *(create_coupon(each, n) for n, each in enumerate(of, 1)),
        )
        self.of, self.now, self.seen, self.made = of, NOW, 0, 0
        self.held: list[Held] = []
        starts = NOW - timedelta(hours=backdated_by)
        self.apply(0)
        self.do(subscribe(PRICE_ID, ARREARS_PRICE_ID, starts_at=starts))

    def do(self, command: Command) -> bool:
        """Whether it was accepted; what it bills is held against the record."""
        result = self.books.when(command, at=self.now)
        try:
            assert result.done
        except Refusal:
            return False
        for change in self.books.books.log[self.seen :]:
            if isinstance(change.event, InvoiceFinalized):
                self.check(change.event)
        self.seen = len(self.books.books.log)
        return True

    def check(self, invoice: InvoiceFinalized) -> None:
        off = reckoned(invoice, self.held)
        assert {each.discount_id: each.amount.amount for each in invoice.discounts} == off
        assert invoice.total.amount == sum(each.amount.amount for each in invoice.lines) - sum(off.values())
        for discount_id, amount_off in off.items():
            on_lines = [each for one in invoice.lines for each in one.discounts if each.discount_id == discount_id]
            assert sum(each.amount.amount for each in on_lines) == amount_off
        assert all(each.discounted.amount >= 0 for each in invoice.lines)

    def apply(self, n: int, *, to_subscription: bool = False) -> None:
        self.made += 1
        number = 1 + n % COUPONS
        command = (apply_to_subscription if to_subscription else apply_to_customer)(number, discount=self.made)
        of = self.of[number - 1]
        left = None if of.duration is CouponDuration.FOREVER else of.periods or 1
        self.held.append(Held(id_of("disc_", self.made), of, left, self.now, None, to_subscription))
        if not self.do(command):
            self.held.pop()

    def step(self, kind: str, n: int, hours: int) -> None:
        self.now += timedelta(hours=hours)
        match kind:
            case "customer" | "subscription":
                self.apply(n, to_subscription=kind == "subscription")
            case "remove" if self.held:
                chosen = self.held[n % len(self.held)]
                until, chosen.until = chosen.until, chosen.until or self.now
                if not self.do(RemoveDiscount(discount_id=chosen.discount_id)):
                    chosen.until = until
            case "pause":
                self.do(PauseSubscription(subscription_id=SUBSCRIPTION_ID))
            case "resume":
                self.do(ResumeSubscription(subscription_id=SUBSCRIPTION_ID))
            case "bill":
                invoice_id = id_of("in_", 100 + n)
                if self.do(draft(line(1 + n % 3_000), invoice_id=invoice_id)):
                    self.do(FinalizeInvoice(invoice_id=invoice_id))
            case "late":
                self.do(renew())
            case "end" if n % 4 == 0:
                self.do(cancel_now() if n % 8 else cancel_at_period_end())
            case _:
                pass


@given_any(coupons, steps, st.integers(0, 6_000))
def test_every_invoice_is_discounted_by_what_held_at_its_instant_and_no_period_counts_twice(
    of: list[CouponTerms], history: list[tuple[str, int, int]], backdated_by: int
) -> None:
    told = History(of, backdated_by)
    for kind, n, hours in history:
        told.step(kind, n, hours)
    for each in told.held:
        discount = told.books.books.get(DISCOUNT, each.discount_id)
        assert discount is not None
        assert discount.periods_left == each.left
        limit = 1 if each.of.duration is CouponDuration.ONCE else each.of.periods
        assert limit is None or discount.periods_used <= limit
