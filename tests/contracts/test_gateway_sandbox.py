"""The sandbox adapter and the sandbox process together keep the contract of a gateway."""

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
import pytest_asyncio

from domain.payments.decline import DeclineCode
from gateway_adapters.port import Gateway
from gateway_adapters.sandbox.adapter import SandboxAdapter
from gateway_adapters.sandbox.declines import DECLINE_CODES
from sandbox_gateway.tokens import DECLINES
from tests.contracts.gateway_contract import GatewayContract
from tests.contracts.sandbox_process import API_KEY, SandboxProcess


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SandboxProcess]:
    async with SandboxProcess(tmp_path_factory.mktemp("gateway"), settle_ms=50) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def adapter(sandbox: SandboxProcess) -> AsyncIterator[SandboxAdapter]:
    adapter = sandbox.adapter()
    yield adapter
    await adapter.close()


class TestSandboxGateway(GatewayContract):
    good_token = "tok_visa"
    declines: ClassVar[Mapping[str, DeclineCode]] = {
        f"tok_decline_{code}": DECLINE_CODES[code] for code in sorted(DECLINES)
    }
    authentication_token = "tok_requires_action"
    processing_token = "tok_processing"
    silent_before_charge_token = "tok_timeout_before_charge"
    silent_after_charge_token = "tok_timeout_after_charge"

    @pytest.fixture(autouse=True)
    def _keep(self, sandbox: SandboxProcess) -> None:
        self._sandbox = sandbox

    @pytest.fixture
    def gateway(self, adapter: SandboxAdapter) -> Gateway:
        return adapter

    def impatient(self, gateway: Gateway) -> Gateway:
        return self._sandbox.adapter(timeout_ms=200)

    def unreachable(self) -> Gateway:
        return SandboxAdapter(base_url="http://127.0.0.1:1", api_key=API_KEY)
