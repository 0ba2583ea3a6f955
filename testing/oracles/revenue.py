"""Naive revenue: a table with a row per day; a credit closes the days before it and rewrites those from it on."""

from datetime import date, timedelta
from fractions import Fraction

from testing.oracles.money import half_up


class DailyRevenue:
    """What is earned on each day, exactly; figures are rounded from the running sum since the last rewriting."""

    def __init__(self, amount: int, first: date, end: date) -> None:
        self.first, self.end = first, end
        self.settled = 0  # earned before the rows below, in whole minor units
        self.rows: dict[date, Fraction] = {}
        self.reversals: dict[date, int] = {}
        self.closed: dict[date, int] = {}  # figures as of the days up to the last credit
        self._spread(amount, first)

    def _spread(self, amount: int, since: date) -> None:
        days = (self.end - since).days
        self.rows = {since + timedelta(days=day): Fraction(amount, days) for day in range(days)}

    def recognized_by(self, as_of: date) -> int:
        if as_of in self.closed:
            return self.closed[as_of]
        running = sum((earned for day, earned in self.rows.items() if day < as_of), Fraction(0))
        return self.settled + half_up(running) + sum(back for day, back in self.reversals.items() if day < as_of)

    def credit(self, amount: int, on: date) -> None:
        """`on` lies inside the service period; the last date may be reversed on only once."""
        day = self.first - timedelta(days=10)
        while day <= on:
            self.closed[day] = self.recognized_by(day)
            day += timedelta(days=1)
        earned = self.closed[on]
        deferred = int(sum(self.rows.values())) + self.settled + sum(self.reversals.values()) - earned
        self.settled = earned - sum(back for day, back in self.reversals.items() if day < on)
        if amount > deferred:
            self.reversals[on] = deferred - amount
        self._spread(max(deferred - amount, 0), on)
