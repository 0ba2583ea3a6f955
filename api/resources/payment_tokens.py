"""A payment method's token on its way in: shown to its gateway, which says whether it knows it, then sealed."""

import hashlib
from typing import Final, NamedTuple

from api.http.call import Call
from api.http.problems import GATEWAY_UNAVAILABLE, Problem, retry_after
from domain.customers.payment_method import (
    MethodDetails,
    PaymentMethodDeclined,
    PaymentMethodKind,
    PaymentMethodTypeMismatch,
)
from gateway_adapters.port import Declined, MethodSaved, OutcomeUnknown, RetryLater, SaveMethodRequest, UnknownWhy
from infra.event_store.port import SealedPerson
from infra.payment_tokens import seal_token

RETRY_AFTER_S: Final = 1
KEYS_MAX: Final = 3
"""A gateway may keep a failure under a key for ever. Saving a method moves no money, so another key may be used."""


_KEPT_FAILURES: Final = frozenset({UnknownWhy.STORED_ERROR, UnknownWhy.GATEWAY_ERROR})


class VerifiedToken(NamedTuple):
    """What the gateway keeps the method under, sealed: rows for the vault, and what the event says."""

    rows: SealedPerson
    reference: str
    details: MethodDetails


async def verified(
    call: Call, gateway_name: str, token: str, customer_id: str, kind: PaymentMethodKind
) -> VerifiedToken:
    """Have the gateway keep a token for a customer. Raises PaymentMethodDeclined where it does not know it, and
    PaymentMethodTypeMismatch where it knows it for something else; that is kept nowhere.

    A repeat of the request is the same call for the gateway, and so has the same answer.
    """
    gateway = call.gateway(gateway_name)
    key = call.headers.get(b"idempotency-key", b"").decode("latin-1")
    asked = "\n".join((call.tenant_id, key, customer_id, kind, token))
    name = hashlib.sha256(asked.encode()).hexdigest()
    for nth in range(KEYS_MAX):
        answer = await gateway.save_payment_method(
            SaveMethodRequest(token=token, customer_reference=customer_id, idempotency_key=f"attach:{name}:{nth}")
        )
        if not (isinstance(answer, OutcomeUnknown) and answer.why in _KEPT_FAILURES):
            break
    match answer:
        case MethodSaved() if answer.kind is not kind:
            await gateway.delete_payment_method(answer.gateway_method_id)
            raise PaymentMethodTypeMismatch(type=kind, tokens_type=answer.kind)
        case MethodSaved():
            vault = call.parts.vault
            async with call.reading() as connection:
                person = await vault.key_of(connection, call.tenant_id, customer_id)
            sealed = seal_token(vault, call.tenant_id, customer_id, answer.gateway_method_id, person)
            details = MethodDetails(
                brand=answer.brand,
                last4=answer.last4,
                expires_month=answer.expires_month,
                expires_year=answer.expires_year,
            )
            return VerifiedToken(sealed.rows, sealed.rows.reference, details)
        case Declined():
            raise PaymentMethodDeclined(decline_code=answer.gateway_code)
        case RetryLater():
            raise Problem(GATEWAY_UNAVAILABLE, headers=retry_after(max(RETRY_AFTER_S, answer.after_ms // 1000)))
        case _:
            raise Problem(GATEWAY_UNAVAILABLE, headers=retry_after(RETRY_AFTER_S))
