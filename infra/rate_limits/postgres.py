"""Buckets in PostgreSQL: an unlogged table, which a crash of the server empties, and everybody's bucket is full."""

from typing import Final

from infra.database import Pool
from infra.rate_limits.buckets import Bucket, Grant

_TAKE: Final = "SELECT taken, left_over, full_in_s, next_in_s FROM access.take_rate($1, $2, $3, $4)"


async def forget_full(pool: Pool) -> None:
    """Forget the buckets that are full again."""
    await pool.execute("SELECT access.forget_full_buckets()")


class PostgresBuckets:
    """Buckets of `access.rate_buckets`, by the server's clock."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        """Take what there is, up to what is wanted."""
        row = await self._pool.fetchrow(_TAKE, name, bucket.depth, bucket.window_s, wanted)
        assert row is not None, "a function that returns one row"
        return Grant(*row)

    async def close(self) -> None:
        """The pool is its owner's."""
