"""What the single events of a period are charged together is what the price makes of them one by one."""

import random
from decimal import Decimal

import asyncpg

from domain.kernel.currency import CurrencyCode
from domain.metering.aggregation import Aggregation
from domain.pricing.models import Percentage
from domain.pricing.percentage import charged_events
from testing.services import FreshDatabase
from testing.usage import meter
from tests.lengths import LENGTH
from usage.charged import charged_together
from usage.partials import Buckets, MeteredSeries

SERIES = [MeteredSeries(name, meter(Aggregation.AMOUNTS), ()) for name in (b"one", b"two")]
PIECES = [Buckets(0, 4), Buckets(6, 9)]
TALLY = "INSERT INTO usage.tallies VALUES ($1, $2, $3, $4, $5, $6, '', 'acme', $7)"


def drawn_price(draw: random.Random) -> Percentage:
    least = draw.choice([None, 5, 40])
    return Percentage(
        currency=CurrencyCode("EUR"),
        percent=Decimal(draw.randint(0, 999)) / 100,
        fixed_amount=Decimal(draw.choice([0, 25])) / 10,
        free_events=draw.choice([0, 0, 1, 4]),
        event_minimum=least,
        event_maximum=draw.choice([None, 60]),
    )


async def test_events_are_charged_together_as_they_are_one_by_one(database: FreshDatabase) -> None:
    draw = random.Random(5)
    connection = await asyncpg.connect(database.dsn)
    try:
        for _ in range(LENGTH.scaled(40)):
            await connection.execute("TRUNCATE usage.tallies")
            gives_back, counted = draw.random() < 0.2, []
            for nth in range(draw.randint(0, 12)):
                bucket, at_us, times = draw.randint(0, 10), draw.randint(0, 3), draw.choice([1, 1, 2, 0])
                amount = Decimal(draw.randint(-300 if gives_back else 0, 90_000)) / 100
                placed = draw.choice(SERIES).series, bucket, draw.randint(0, 1), at_us, f"e{nth}", amount * 10**9
                await connection.execute(TALLY, *placed, times)
                if any(piece.first <= bucket < piece.end for piece in PIECES):
                    counted += [(at_us, f"e{nth}", amount)] * times
            amounts = [amount for _, _, amount in sorted(counted)]
            price = drawn_price(draw)
            found = await charged_together(connection, SERIES, PIECES, price)
            if any(amount < 0 for amount in amounts):
                assert found is None
            else:
                assert found == charged_events(price, amounts)
    finally:
        await connection.close()
