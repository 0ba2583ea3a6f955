"""Buckets in Valkey or Redis: one script, which the server runs undisturbed and by its own clock."""

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.rate_limits.buckets import Bucket, Grant

PREFIX: Final = "tallybook:rate:"
_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local depth, window, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local cost = window / depth
local waiting = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - now, 0)
local free = math.max(math.floor((window - waiting) / cost + 0.000001), 0)
local taken = math.min(wanted, free)
waiting = waiting + taken * cost
if taken > 0 then
    redis.call('SET', KEYS[1], string.format('%.6f', now + waiting), 'PX', math.ceil(waiting * 1000) + 1000)
end
local next_in = math.max(waiting + cost - window, 0)
return {taken, free - taken, string.format('%.6f', waiting), string.format('%.6f', next_in)}
"""


class ValkeyBuckets:
    """Buckets of one server; a key goes by itself once its bucket is full."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._client = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._take = self._client.register_script(_TAKE)

    async def take(self, name: str, bucket: Bucket, wanted: int) -> Grant:
        """Take what there is, up to what is wanted."""
        try:
            taken, left, full_in_s, next_in_s = await self._take(
                keys=[PREFIX + name], args=[bucket.depth, bucket.window_s, wanted]
            )
        except RedisError as error:
            raise ConnectionError(f"the server of rate limits: {type(error).__name__}") from error
        return Grant(int(taken), int(left), float(full_in_s), float(next_in_s))

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()
