"""Gateways' tokens for customers' payment methods: sealed in the vault under the customer's key, never in the log.

An event names a token by its reference. A revision never changes, so that a call repeated for an attempt is the same
bytes. The erasure of a customer destroys the key, and with it what their cards could be charged with.
"""

from collections.abc import Sequence
from typing import TypeAlias

from domain.kernel.identifiers import PAYMENT_TOKEN
from infra.shared_reads import SharedReads
from infra.vault import PersonKey, Reads, Sealed, Unsealable, Vault

_FIELD = "token"
_Key: TypeAlias = tuple[str, str, str]


def seal_token(vault: Vault, tenant_id: str, customer_id: str, token: str, key: PersonKey | None) -> Sealed:
    """A token ready to go, with its reference. Without a key the customer gets one."""
    return vault.seal(tenant_id, customer_id, {_FIELD: token}, key, prefix=PAYMENT_TOKEN)


class PaymentTokens:
    """Opens what was sealed, many with one statement. The role of `reads` may read the vault."""

    def __init__(self, vault: Vault, reads: Reads) -> None:
        self._vault = vault
        self._reads = reads
        self._shared = SharedReads[_Key, str | None](self._open)

    async def token(self, tenant_id: str, customer_id: str, reference: str) -> str | None:
        """The token behind a reference; None once its customer is erased. Raises Unsealable."""
        return await self._shared.get((tenant_id, customer_id, reference))

    async def _open(self, keys: Sequence[_Key]) -> dict[_Key, str | Exception | None]:
        found: dict[_Key, str | Exception | None] = dict.fromkeys(keys)
        for tenant_id in {key[0] for key in keys}:
            wanted = [key[1:] for key in keys if key[0] == tenant_id]
            for pair, held in (await self._vault.open_each(self._reads, tenant_id, wanted)).items():
                token = held if isinstance(held, Unsealable) else held.get(_FIELD)
                found[(tenant_id, *pair)] = token if isinstance(token, str | Unsealable) else None
        return found
