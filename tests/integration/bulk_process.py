"""An API in a process of its own that is asked for one bulk, and may be killed while it does it.

`python -m tests.integration.bulk_process DSN API_KEY` reads the request's body from standard input; its key is `whole`.
"""

import asyncio
import sys

import httpx2
from pydantic import SecretStr

from api.app import create_app, open_parts
from infra.settings import ApiSettings, Settings, VaultSettings
from testing.api_client import MASTER_KEY


async def ask(dsn: str, api_key: str, body: str) -> None:
    settings = Settings(api=ApiSettings(bulk_side_by_side_max=4), vault=VaultSettings(master_key=SecretStr(MASTER_KEY)))
    async with open_parts(settings, dsn=dsn) as parts:
        transport = httpx2.ASGITransport(app=create_app(parts), raise_app_exceptions=True)
        headers = {
            "Authorization": f"Bearer {api_key}",
            "Idempotency-Key": "whole",
            "Content-Type": "application/json",
        }
        async with httpx2.AsyncClient(transport=transport, base_url="http://api.test", timeout=120) as http:
            await http.post("/v1/commands", content=body, headers=headers)


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1], sys.argv[2], sys.stdin.read()))
