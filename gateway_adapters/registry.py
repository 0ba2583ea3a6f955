"""Which payment gateways there are: a name and a line each. What they are called is said here alone."""

from enum import StrEnum

from gateway_adapters.port import Gateway
from gateway_adapters.sandbox import adapter as sandbox
from infra.http.standard_webhooks import listed_secrets
from infra.settings import Settings, gateway_api_key


class GatewayName(StrEnum):
    """What payment methods, events and settings call a gateway."""

    SANDBOX = sandbox.NAME


def gateways_from(settings: Settings) -> dict[str, Gateway]:
    """The payment gateways that are configured, by name."""
    return {GatewayName.SANDBOX: _sandbox(settings)}


def _sandbox(settings: Settings) -> Gateway:
    gateway = settings.gateway
    secrets = gateway.webhook_secrets
    return sandbox.SandboxAdapter(
        base_url=gateway.url or f"http://{gateway.host}:{gateway.port}",
        api_key=gateway_api_key(settings),
        webhook_secrets=() if secrets is None else listed_secrets(secrets.get_secret_value()),
        timeout_ms=gateway.call_timeout_ms,
        connections_max=gateway.calls_max,
        check_timeout_ms=settings.telemetry.health_timeout_ms,
    )
