"""Gateways' tokens for customers' payment methods: sealed in the vault under the customer's key, never in the log.

An event names a token by its reference. A revision never changes, so that a call repeated for an attempt is the same
bytes. The erasure of a customer destroys the key, and with it what their cards could be charged with.
"""

from domain.kernel.identifiers import PAYMENT_TOKEN
from infra.vault import PersonKey, Reads, Sealed, Vault

_FIELD = "token"


def seal_token(vault: Vault, tenant_id: str, customer_id: str, token: str, key: PersonKey | None) -> Sealed:
    """A token ready to go, with its reference. Without a key the customer gets one."""
    return vault.seal(tenant_id, customer_id, {_FIELD: token}, key, prefix=PAYMENT_TOKEN)


class PaymentTokens:
    """Opens what was sealed. The role of `reads` may read the vault."""

    def __init__(self, vault: Vault, reads: Reads) -> None:
        self._vault = vault
        self._reads = reads

    async def token(self, tenant_id: str, customer_id: str, reference: str) -> str | None:
        """The token behind a reference; None once its customer is erased. Raises Unsealable."""
        held = await self._vault.open(self._reads, tenant_id, customer_id, reference)
        token = None if held is None else held.get(_FIELD)
        return token if isinstance(token, str) else None
