"""The sandbox gateway as a real process for tests: start, kill, restart on the same store, and its control calls."""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from gateway_adapters.sandbox.adapter import SandboxAdapter

API_KEY = "sk_sandbox_of_the_tests"
WEBHOOK_SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cywgMjQgYnl0ZXM="
REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


class SandboxProcess:
    """`async with SandboxProcess(folder) as sandbox`; keyword options are flags of the command line."""

    def __init__(self, folder: Path, *, webhook_url: str | None = None, **options: int) -> None:
        self.store_path = folder / "gateway.sqlite"
        self._webhook_url = webhook_url
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._control = aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"})
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if self._process is not None:
            await self.stop()

    async def close(self) -> None:
        """Let go of the control connections."""
        await self._control.close()

    async def fails_to_start(self) -> int:
        """Start it where it cannot run; returns its exit code."""
        await self._launch()
        assert self._process is not None
        code = await asyncio.wait_for(self._process.wait(), START_TIMEOUT_S)
        self._process = None
        return code

    async def start(self) -> None:
        """Start it; a restart takes the same port."""
        await self._launch()
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_TIMEOUT_S)
        assert b"sandbox_gateway_ready" in line, line
        self.port = int(line.decode().rsplit('"port":', 1)[1].strip(" }\n"))

    async def _launch(self) -> None:
        arguments = ["--store", str(self.store_path), "--port", str(self.port)]
        if self._webhook_url is not None:
            arguments += ["--webhook-url", self._webhook_url]
        for name, value in self._options.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbox_gateway",
            *arguments,
            cwd=REPOSITORY,
            env={
                **os.environ,
                "TALLYBOOK_GATEWAY_API_KEY": API_KEY,
                "TALLYBOOK_GATEWAY_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            },
            stdout=asyncio.subprocess.PIPE,
        )

    def limit_file_bytes(self, most: int | None) -> None:
        """Let no file of the process grow beyond `most` bytes, as a full disk would; None lifts the limit."""
        assert self._process is not None
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (hard if most is None else most, hard))

    async def kill(self) -> None:
        """SIGKILL: nothing of its own runs any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        self._process = None

    async def stop(self) -> int:
        """SIGTERM; returns the exit code. A process that does not end is killed, and TimeoutError raised."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    def adapter(self, *, timeout_ms: int = 10_000, connections_max: int = 32) -> SandboxAdapter:
        """A new adapter to this process; the caller closes it."""
        return SandboxAdapter(
            base_url=self.url,
            api_key=API_KEY,
            webhook_secrets=[WEBHOOK_SECRET],
            timeout_ms=timeout_ms,
            connections_max=connections_max,
        )

    async def control(
        self, method: str, path: str, body: dict[str, object] | None = None, *, key: str | None = None
    ) -> tuple[int, dict[str, object]]:
        """A call past the adapter: status and JSON."""
        headers = {} if key is None else {"Idempotency-Key": key}
        async with self._control.request(method, self.url + path, json=body, headers=headers) as answer:
            shown = await answer.json()
            assert isinstance(shown, dict)
            return answer.status, shown

    async def faults(self, **plan: float) -> None:
        """Switch faults on; none switches all of them off."""
        status, shown = await self.control("PUT", "/faults", dict(plan))
        assert status == 200, shown

    async def objects(self, reference: str) -> list[dict[str, object]]:
        """All that the gateway holds under a reference."""
        _, shown = await self.control("GET", f"/v1/operations?reference={reference}")
        found = shown["data"]
        assert isinstance(found, list)
        return found

    async def money_taken(self, currency: str = "USD") -> tuple[int, int]:
        """Count and sum of all charges in a currency, by the gateway's own totals."""
        _, totals = await self.control("GET", "/v1/totals")
        currencies = totals["currencies"]
        assert isinstance(currencies, dict)
        charges = currencies.get(currency, {}).get("charge", {"count": 0, "amount": 0})
        return charges["count"], charges["amount"]
