"""The tax service that is configured, if one is."""

from gateway_adapters.tax.http_service import HttpTaxService
from gateway_adapters.tax.port import TaxService
from infra.http.circuit_breaker import CircuitBreaker
from infra.settings import Settings, gateway_api_key, tax_service_api_key


def tax_service_from(settings: Settings) -> TaxService | None:
    """The service at the configured address; outside production, where none is configured, the sandbox gateway, which
    answers as one, too. None: tenants have their tables alone.
    """
    service, gateway = settings.tax_service, settings.gateway
    if service.url is not None:
        base_url, api_key = service.url, tax_service_api_key(settings)
    elif settings.general.environment != "production":
        base_url, api_key = gateway.url or f"http://{gateway.host}:{gateway.port}", gateway_api_key(settings)
    else:
        return None
    return HttpTaxService(
        base_url=base_url,
        api_key=api_key,
        timeout_ms=service.call_timeout_ms,
        connections_max=service.calls_max,
        check_timeout_ms=settings.telemetry.health_timeout_ms,
        breaker=CircuitBreaker(failures_max=service.breaker_failures_max, pause_ms=service.breaker_pause_ms),
    )
