"""What every gateway adapter must do: one abstract suite, run against the real gateway (or its test mode)."""

import asyncio
import itertools
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from domain.customers.payment_method import PaymentMethodKind
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.payments.decline import DeclineCode
from gateway_adapters.port import (
    Canceled,
    CancellationRequest,
    Capture,
    CaptureRequest,
    ConfirmationRequest,
    Declined,
    Gateway,
    LookUpResult,
    MethodDeleted,
    MethodSaved,
    NextAction,
    NotFound,
    OutcomeUnknown,
    PaymentRequest,
    PaymentResult,
    Processing,
    RefundRequest,
    RequiresAction,
    RetryLater,
    SaveMethodRequest,
    Succeeded,
    TransactionKind,
    UnknownWhy,
    WebhookRejected,
    WebhookRejectedWhy,
    WithdrawalRequest,
)

WAIT_TIMEOUT_S = 90
_numbers = itertools.count(1)
_run = secrets.token_hex(4)


def usd(amount: int) -> Money:
    return Money(amount, currency_code("USD"))


def new_reference(kind: str = "pay") -> str:
    """A reference that nobody used before."""
    return f"{kind}_{_run}_{next(_numbers)}"


def payment(
    token: str,
    *,
    amount: Money | None = None,
    reference: str | None = None,
    confirm: bool = True,
    capture: Capture = Capture.AUTOMATIC,
) -> PaymentRequest:
    """A request whose key belongs to its reference."""
    reference = reference or new_reference()
    return PaymentRequest(
        reference=reference,
        amount=amount or usd(1999),
        payment_method_token=token,
        idempotency_key=f"{reference}:1",
        description="Invoice 17",
        customer_reference=f"customer of {reference}",
        confirm=confirm,
        capture=capture,
    )


def withdrawal(request: PaymentRequest) -> WithdrawalRequest:
    """Of a payment's key."""
    return WithdrawalRequest(
        reference=request.reference,
        amount=request.amount,
        idempotency_key=request.idempotency_key,
        customer_reference=request.customer_reference,
    )


def refund(charged: Succeeded, amount: Money, reference: str | None = None) -> RefundRequest:
    """A request to return part of a charge, under a key of its own."""
    reference = reference or new_reference("re")
    return RefundRequest(
        reference=reference, gateway_payment_id=charged.gateway_id, amount=amount, idempotency_key=f"{reference}:1"
    )


def succeeded(result: object) -> Succeeded:
    """The result, which must be a success."""
    assert isinstance(result, Succeeded), result
    return result


async def settled(gateway: Gateway, reference: str) -> LookUpResult:
    """What became of an operation once it is no longer processing."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while isinstance(found := await gateway.look_up(reference), Processing):
        assert time.monotonic() < deadline, "it goes on processing"
        await asyncio.sleep(0.01)
    return found


class GatewayContract(ABC):
    """Subclass it, give the tokens, and provide the fixture `gateway`."""

    good_token: str
    declines: ClassVar[Mapping[str, DeclineCode]]
    """Tokens that are declined, and with which code."""
    authentication_token: str
    processing_token: str
    silent_before_charge_token: str | None = None
    silent_after_charge_token: str | None = None

    @abstractmethod
    def impatient(self, gateway: Gateway) -> Gateway:
        """An adapter to the same gateway that gives up waiting soon; the caller closes it."""

    @abstractmethod
    def unreachable(self) -> Gateway:
        """An adapter to an address where nobody listens; the caller closes it."""

    async def test_a_charge_takes_the_amount_and_names_the_fee(self, gateway: Gateway) -> None:
        request = payment(self.good_token, amount=usd(12_345))
        result = succeeded(await gateway.create_payment(request))
        assert result.amount == usd(12_345)
        assert usd(0) <= result.fee < usd(12_345)
        assert await gateway.look_up(request.reference) == result

    async def test_a_decline_has_its_normalized_code_and_takes_nothing(self, gateway: Gateway) -> None:
        for token, code in self.declines.items():
            request = payment(token)
            result = await gateway.create_payment(request)
            assert isinstance(result, Declined), (token, result)
            assert (result.code, result.retryable) == (code, code.retryable)
            assert await gateway.look_up(request.reference) == result

    async def test_the_same_key_gives_the_first_answer_and_charges_once(self, gateway: Gateway) -> None:
        request = payment(self.good_token)
        started = datetime.now(UTC) - timedelta(minutes=1)
        first = succeeded(await gateway.create_payment(request))
        assert await gateway.create_payment(request) == first
        assert await self._charges(gateway, started, request.reference) == 1

    async def test_a_declined_key_stays_declined(self, gateway: Gateway) -> None:
        request = payment(next(iter(self.declines)))
        first = await gateway.create_payment(request)
        assert await gateway.create_payment(request) == first

    async def test_the_same_key_at_once_from_many_callers_charges_once(self, gateway: Gateway) -> None:
        request = payment(self.good_token)
        started = datetime.now(UTC) - timedelta(minutes=1)
        results = await asyncio.gather(*(gateway.create_payment(request) for _ in range(20)))
        charges = {result.gateway_id for result in results if isinstance(result, Succeeded)}
        assert len(charges) == 1
        assert all(isinstance(result, Succeeded | RetryLater) for result in results), results
        assert await self._charges(gateway, started, request.reference) == 1

    async def test_a_key_with_another_body_is_unknown_and_charges_nothing_more(self, gateway: Gateway) -> None:
        request = payment(self.good_token)
        started = datetime.now(UTC) - timedelta(minutes=1)
        await gateway.create_payment(request)
        other = payment(self.good_token, reference=request.reference, amount=usd(2_000))
        assert await gateway.create_payment(other) == OutcomeUnknown(why=UnknownWhy.KEY_REUSED)
        assert await self._charges(gateway, started, request.reference) == 1

    async def test_an_unconfirmed_payment_takes_nothing_until_it_is_confirmed(self, gateway: Gateway) -> None:
        request = payment(self.good_token, confirm=False)
        created = await gateway.create_payment(request)
        assert isinstance(created, RequiresAction)
        assert created.action is NextAction.CONFIRM
        assert await gateway.look_up(request.reference) == created
        confirm = ConfirmationRequest(
            reference=request.reference,
            gateway_payment_id=created.gateway_id,
            idempotency_key=f"{request.reference}:confirm",
        )
        first = succeeded(await gateway.confirm(confirm))
        assert (first.gateway_id, first.amount) == (created.gateway_id, usd(1999))
        assert await gateway.confirm(confirm) == first
        again = ConfirmationRequest(
            reference=request.reference,
            gateway_payment_id=created.gateway_id,
            idempotency_key=f"{request.reference}:again",
        )
        assert await gateway.confirm(again) == first  # not "declined": the payment has succeeded

    async def test_a_manual_capture_takes_the_part_asked_for(self, gateway: Gateway) -> None:
        request = payment(self.good_token, amount=usd(5_000), capture=Capture.MANUAL)
        authorized = await gateway.create_payment(request)
        assert isinstance(authorized, RequiresAction)
        assert authorized.action is NextAction.CAPTURE

        def capture(amount: int, key: str) -> CaptureRequest:
            return CaptureRequest(
                reference=request.reference,
                gateway_payment_id=authorized.gateway_id,
                idempotency_key=f"{request.reference}:{key}",
                amount=usd(amount),
            )

        too_much = await gateway.capture(capture(5_001, "too much"))
        assert isinstance(too_much, Declined)
        assert too_much.code is DeclineCode.CAPTURE_EXCEEDS_AUTHORIZED
        assert succeeded(await gateway.capture(capture(3_000, "capture"))).amount == usd(3_000)

    async def test_a_canceled_payment_can_no_longer_be_confirmed(self, gateway: Gateway) -> None:
        request = payment(self.good_token, confirm=False)
        created = await gateway.create_payment(request)
        assert isinstance(created, RequiresAction)
        canceled = Canceled(gateway_id=created.gateway_id)
        assert await gateway.cancel(self._cancel(request, created.gateway_id)) == canceled
        assert await gateway.look_up(request.reference) == canceled
        confirm = ConfirmationRequest(
            reference=request.reference,
            gateway_payment_id=created.gateway_id,
            idempotency_key=f"{request.reference}:confirm",
        )
        assert await gateway.confirm(confirm) == canceled

    async def test_canceling_a_payment_that_took_money_says_that_it_did(self, gateway: Gateway) -> None:
        request = payment(self.good_token)
        charged = succeeded(await gateway.create_payment(request))
        assert await gateway.cancel(self._cancel(request, charged.gateway_id)) == charged

    async def test_a_step_at_the_bank_is_asked_for(self, gateway: Gateway) -> None:
        request = payment(self.authentication_token)
        result = await gateway.create_payment(request)
        assert isinstance(result, RequiresAction)
        assert result.action is NextAction.AUTHENTICATE
        assert result.url is not None
        assert result.url.startswith("http")

    async def test_a_processing_payment_settles_by_itself(self, gateway: Gateway) -> None:
        request = payment(self.processing_token)
        assert isinstance(await gateway.create_payment(request), Processing)
        assert succeeded(await settled(gateway, request.reference)).amount == usd(1999)

    async def test_refunds_return_parts_up_to_what_was_captured(self, gateway: Gateway) -> None:
        request = payment(self.good_token, amount=usd(1_000))
        charged = succeeded(await gateway.create_payment(request))
        part = refund(charged, usd(400))
        first = succeeded(await gateway.refund(part))
        assert first.amount == usd(400)
        assert await gateway.refund(part) == first
        assert await gateway.look_up(part.reference) == first
        too_much = await gateway.refund(refund(charged, usd(601)))
        assert isinstance(too_much, Declined)
        assert too_much.code is DeclineCode.REFUND_EXCEEDS_CAPTURED
        assert succeeded(await gateway.refund(refund(charged, usd(600)))).amount == usd(600)
        assert await gateway.look_up(request.reference) == charged

    async def test_refunds_at_once_never_exceed_what_was_captured(self, gateway: Gateway) -> None:
        charged = succeeded(await gateway.create_payment(payment(self.good_token, amount=usd(1_000))))
        results = await asyncio.gather(*(gateway.refund(refund(charged, usd(300))) for _ in range(10)))
        assert sum(isinstance(result, Succeeded) for result in results) == 3
        assert sum(isinstance(result, Declined) for result in results) == 7

    async def test_what_was_never_asked_for_is_not_found(self, gateway: Gateway) -> None:
        reference = new_reference()
        assert await gateway.look_up(reference) == NotFound(reference=reference)

    async def test_a_saved_method_can_be_charged_until_it_is_deleted(self, gateway: Gateway) -> None:
        reference = new_reference("pm")
        save = SaveMethodRequest(token=self.good_token, customer_reference="cus_1", idempotency_key=reference)
        saved = await gateway.save_payment_method(save)
        assert isinstance(saved, MethodSaved), saved
        assert saved.kind is PaymentMethodKind.CARD
        assert await gateway.save_payment_method(save) == saved
        succeeded(await gateway.create_payment(payment(saved.gateway_method_id)))
        deleted = MethodDeleted(gateway_method_id=saved.gateway_method_id)
        assert await gateway.delete_payment_method(saved.gateway_method_id) == deleted
        assert await gateway.delete_payment_method(saved.gateway_method_id) == deleted
        refused = await gateway.create_payment(payment(saved.gateway_method_id))
        assert isinstance(refused, Declined)
        assert (refused.code, refused.retryable) == (DeclineCode.METHOD_NOT_FOUND, False)

    async def test_silence_before_the_charge_is_unknown_and_nothing_is_found(self, gateway: Gateway) -> None:
        assert self.silent_before_charge_token is not None
        request = payment(self.silent_before_charge_token)
        assert await self._impatiently(gateway, request) == OutcomeUnknown(why=UnknownWhy.TIMED_OUT)
        assert await gateway.look_up(request.reference) == NotFound(reference=request.reference)

    async def test_silence_after_the_charge_is_unknown_and_the_charge_is_found(self, gateway: Gateway) -> None:
        assert self.silent_after_charge_token is not None
        request = payment(self.silent_after_charge_token)
        started = datetime.now(UTC) - timedelta(minutes=1)
        assert await self._impatiently(gateway, request) == OutcomeUnknown(why=UnknownWhy.TIMED_OUT)
        found = succeeded(await gateway.look_up(request.reference))
        assert await gateway.create_payment(request) == found
        assert await self._charges(gateway, started, request.reference) == 1

    async def test_a_call_whose_key_was_withdrawn_charges_nothing_when_it_comes(self, gateway: Gateway) -> None:
        request = payment(self.good_token)
        started = datetime.now(UTC) - timedelta(minutes=1)
        taken = await gateway.withdraw(withdrawal(request))
        if isinstance(taken, RequiresAction):
            taken = await gateway.cancel(
                CancellationRequest(
                    reference=request.reference,
                    gateway_payment_id=taken.gateway_id,
                    idempotency_key=f"{request.reference}:cancel",
                )
            )
        assert isinstance(taken, Canceled)
        assert await gateway.create_payment(request) == OutcomeUnknown(why=UnknownWhy.KEY_REUSED)
        assert not isinstance(await gateway.withdraw(withdrawal(request)), Succeeded | Processing | Declined)
        assert await self._charges(gateway, started, request.reference) == 0

    async def test_a_withdrawal_that_comes_after_the_call_says_what_became_of_it(self, gateway: Gateway) -> None:
        for token in (self.good_token, next(iter(self.declines)), self.authentication_token):
            request = payment(token)
            first = await gateway.create_payment(request)
            assert await gateway.withdraw(withdrawal(request)) == first

    async def test_a_gateway_that_is_not_there_leaves_the_outcome_unknown(self) -> None:
        gateway = self.unreachable()
        try:
            unknown = OutcomeUnknown(why=UnknownWhy.UNREACHABLE)
            assert await gateway.create_payment(payment(self.good_token)) == unknown
            assert await gateway.withdraw(withdrawal(payment(self.good_token))) == unknown
            assert await gateway.look_up(new_reference()) == unknown
        finally:
            await gateway.close()

    async def test_the_listing_has_every_charge_and_refund_once(self, gateway: Gateway) -> None:
        started = datetime.now(UTC) - timedelta(minutes=1)
        request = payment(self.good_token, amount=usd(7_000))
        charged = succeeded(await gateway.create_payment(request))
        back = refund(charged, usd(2_500))
        returned = succeeded(await gateway.refund(back))
        ours = {request.reference, back.reference}
        listed = [
            (one.kind, one.object_id, one.reference, one.amount, one.fee)
            async for one in gateway.list_transactions(started, datetime.now(UTC) + timedelta(minutes=1))
            if one.reference in ours
        ]
        assert listed == [
            (TransactionKind.CHARGE, charged.gateway_id, request.reference, usd(7_000), charged.fee),
            (TransactionKind.REFUND, returned.gateway_id, back.reference, usd(-2_500), returned.fee),
        ]

    async def test_an_unsigned_webhook_is_rejected(self, gateway: Gateway) -> None:
        rejected = await gateway.parse_webhook({}, b'{"type":"payment.succeeded"}')
        assert rejected == WebhookRejected(why=WebhookRejectedWhy.MISSING_HEADER)

    def test_a_key_may_be_long_enough_for_payment_and_attempt(self, gateway: Gateway) -> None:
        assert gateway.promises.key_chars_max >= len("pay_" + "0" * 26 + ":99")

    # ── inside ──

    @staticmethod
    def _cancel(request: PaymentRequest, gateway_id: str) -> CancellationRequest:
        return CancellationRequest(
            reference=request.reference, gateway_payment_id=gateway_id, idempotency_key=f"{request.reference}:cancel"
        )

    async def _impatiently(self, gateway: Gateway, request: PaymentRequest) -> PaymentResult:
        impatient = self.impatient(gateway)
        try:
            return await impatient.create_payment(request)
        finally:
            await impatient.close()

    @staticmethod
    async def _charges(gateway: Gateway, started: datetime, reference: str) -> int:
        listing = gateway.list_transactions(started, datetime.now(UTC) + timedelta(minutes=1))
        return sum([one.reference == reference and one.kind is TransactionKind.CHARGE async for one in listing])
