"""Which payment gateways there are: one line each."""

from gateway_adapters.port import Gateway
from gateway_adapters.sandbox.adapter import NAME as SANDBOX
from gateway_adapters.sandbox.adapter import SandboxAdapter
from infra.http.standard_webhooks import listed_secrets
from infra.settings import Settings, gateway_api_key


def gateways_from(settings: Settings) -> dict[str, Gateway]:
    """The payment gateways that are configured, by name."""
    gateway = settings.gateway
    url = gateway.url or f"http://{gateway.host}:{gateway.port}"
    secrets = gateway.webhook_secrets
    sandbox = SandboxAdapter(
        base_url=url,
        api_key=gateway_api_key(settings),
        webhook_secrets=() if secrets is None else listed_secrets(secrets.get_secret_value()),
        timeout_ms=gateway.call_timeout_ms,
        connections_max=gateway.calls_max,
        check_timeout_ms=settings.telemetry.health_timeout_ms,
    )
    return {SANDBOX: sandbox}
