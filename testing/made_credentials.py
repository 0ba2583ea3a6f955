"""Principals that a test makes, at the edge of an API: what is behind them is real."""

from api.http.credentials import Keys
from api.http.principal import Principal


class MadeCredentials:
    """Knows the principals that a test makes, by the bearer's secret, beside the keys."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.principals: dict[str, Principal] = {}

    def held(self, secret: str) -> Principal | None:
        return self.principals.get(secret) or self._keys.held(secret)

    async def find(self, secret: str) -> Principal | None:
        return await self._keys.find(secret)
