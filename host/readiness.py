"""Whether a role's process is ready, and what fails if it is not."""

import json

import aiohttp

from host.embedded.process import LOOPBACK


async def why_not_ready(session: aiohttp.ClientSession, port: int) -> str:
    """Why a role is not ready; empty if it is."""
    try:
        async with session.get(f"http://{LOOPBACK}:{port}/health/ready") as answer:
            if answer.status == 200:
                return ""
            return f"is not ready: {failing_parts(await answer.read()) or answer.status}"
    except TimeoutError:
        return "does not answer: frozen, or far too busy"
    except aiohttp.ClientError as error:
        return f"does not answer: {error}"


def failing_parts(body: bytes) -> str:
    """The failing parts of a role's answer, with their reasons; empty where it names none."""
    try:
        told = json.loads(body)
        return "; ".join(f"{part['name']}: {part['detail']}" for part in told["parts"] if not part["ok"])
    except (ValueError, KeyError, TypeError):
        return ""
