"""What tells the outside of a role: one metrics registry, and the probe server of a role that has no API."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY
from prometheus_client.exposition import generate_latest

from infra.telemetry import HealthCheck, bounded_health


def metrics() -> tuple[bytes, str]:
    """Return all metrics in Prometheus's text format, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


class ProbeServer:
    """The health and metrics server of a role that has no API of its own."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def stop(self) -> None:
        await self._runner.cleanup()


async def start_probe_server(
    port: int, health: HealthCheck, *, host: str = "127.0.0.1", timeout_ms: int = 2_000
) -> ProbeServer:
    """Serve /health/live, /health/ready, /health and /metrics; port 0 takes a free one, told by `.port`.

    Live: the event loop turns. Ready: every part works (503 if not). /health: the same parts, always 200.
    """

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        found = await bounded_health(health, timeout_ms=timeout_ms)
        return web.json_response(found.as_json(), status=200 if found.ok else 503)

    async def aggregate(_request: web.Request) -> web.Response:
        return web.json_response((await bounded_health(health, timeout_ms=timeout_ms)).as_json())

    async def scrape(_request: web.Request) -> web.Response:
        body, content_type = metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    application = web.Application()
    application.add_routes(
        [
            web.get("/health/live", live),
            web.get("/health/ready", ready),
            web.get("/health", aggregate),
            web.get("/metrics", scrape),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound: tuple[str, int] = runner.addresses[0]
    return ProbeServer(runner, bound[1])
