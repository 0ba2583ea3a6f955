"""schemathesis over the OpenAPI document, against a real process: what is documented is what is done."""

import asyncio
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import CheckFunction, load_all_checks, negative_data_rejection, positive_data_acceptance
from schemathesis.core.transport import Response
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.specs.openapi.schemas import OpenApiSchema

from api.app import RESOURCES
from api.http.openapi import document
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from host.embedded.process import free_port
from host.stack import NO_LIMITS
from infra.settings import KafkaSettings, Settings
from projections.folding.tables import prepare
from testing.services import FreshDatabase, KafkaServer
from testing.usage_topic import usage_topic
from tests.e2e.api_process import ApiProcess
from tests.lengths import LENGTH

KEY = re.compile(r"[!-~]{1,255}")
BEYOND_SCHEMA = {
    "same_id",
    "id_taken",
    "ambiguous_page",
    "ambiguous_moment",
    "ambiguous_period",
    "half_a_period",
    "too_many_periods",
    "position_ahead",
    "ambiguous_payment",
    "ambiguous_preview",
    "imported_from_the_future",
    "imported_payment_above_due",
    "cancellation_not_ahead",
    "contradictory_cancellation",
    "contradictory_transfer",
    "transfer_to_same_customer",
    "trial_not_extended",
    "trial_too_long",
    "start_too_far_back",
    "nothing_changes",
    "price_not_subscribed",
    "change_not_ahead",
    "contradictory_change",
    "contradictory_replacement",
    "unknown_plan_version",
    "anchor_must_be_reset",
    "contradictory_anchor",
    "basis_needs_months",
    "resumption_not_ahead",
    "unknown_cursor",
    "unbalanced_entry",
    "invalid_usage_alert",
    "unknown_time_zone",
    "invalid_invoice_lines",
    "invalid_credit",
    "invoice_line_not_found",
    "nothing_to_credit",
    "invalid_number_series",
    "number_series_kept",
    "number_series_overlap",
    "number_series_imported",
    "unknown_number_series",
    "invalid_price",
    "invalid_coupon",
    "usage_events_refused",
    "invalid_meter",
    "meter_version_not_ahead",
    "ambiguous_discount",
    "add_on_has_no_trial",
    "invalid_features",
    "empty_tier",
    "last_tier_has_end",
    "tier_without_end_before_last",
    "card_number_refused",
    "time_out_of_range",
    "date_out_of_range",
    "not_a_whole_number",  # a schema takes 1.0 for a whole number
    "invalid_decimal",
    "payment_method_declined",
    "payment_method_type_mismatch",
    "one_time_token_invalid",
    "weak_password",
    "invalid_password",
    "invalid_approval_request",
    "invalid_search",
    "invalid_vat_id",
    "unknown_region",
    "region_missing",
    "invalid_tax_location",
    "invalid_date",
    "empty_period",
    "invalid_tax_registration_end",
    "dry_run_not_possible",
}
"""Refusals for what a schema cannot say: fields that exclude each other, sums, names in other lists, what is asked of
a gateway."""

OPERATIONS = [
    f"{operation.method} {operation.path.replace(':path}', '}')}"
    for resource in RESOURCES
    for operation in resource.declared
]


@pytest.fixture(scope="module")
def documented() -> OpenApiSchema:
    """The document as schemathesis reads it."""
    load_all_checks()
    return schemathesis.openapi.from_dict(document(RESOURCES, version="test"))


@pytest.fixture(scope="module")
def served(
    postgres_server: PostgresServer,
    template_database: str,
    kafka_server: KafkaServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, str]]:
    """A running API's address and a key."""
    folder: Path = tmp_path_factory.mktemp("api")
    fresh = FreshDatabase(name="test_schemathesis", server=postgres_server)
    no_limits = {"TALLYBOOK_API_ANONYMOUS_RATE_PER_MIN": "1000000", **NO_LIMITS}
    port = free_port()
    address = {"TALLYBOOK_GATEWAY_URL": f"http://127.0.0.1:{port}", "TALLYBOOK_GATEWAY_PORT": str(port)}
    gateway = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "run", "gateway"],
        env={**os.environ, **address, "TALLYBOOK_DATA_DIR": str(folder)},
    )
    kafka = KafkaSettings(bootstrap=kafka_server.bootstrap, topic_prefix="schemathesis.")
    brokers = {
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka_server.bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
    }
    process = ApiProcess(fresh.dsn, folder, **no_limits, **address, **brokers)

    async def make() -> str:
        await postgres_server.copy_database(fresh.name, template=template_database)
        await prepare(fresh.dsn, Settings().database)
        await usage_topic(kafka, Settings().usage)
        return (
            await create_tenant(fresh.dsn, Settings(), tenant_id="acme", name="Acme", mode=TenantMode.TEST)
        ).key.secret

    key = asyncio.run(make())
    process.start()
    try:
        yield process.url, key
        assert "Traceback" not in process.log
    finally:
        process.kill()
        gateway.kill()
        gateway.wait()
        asyncio.run(postgres_server.drop_database(fresh.name))


# `schema.parametrize()` thinks out the thousands of requests of all operations where tests are collected, which each
# process of a run does. What it does for one operation is done here, where the operation is tried.
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_documented_is_what_is_done(operation: str, documented: OpenApiSchema, served: tuple[str, str]) -> None:
    found = documented.find_operation_by_label(operation)
    assert found is not None
    try_each_request = build_operation_test(
        config=documented.config,
        operation=found,
        test_func=answers_as_documented,
        given_kwargs={},
        feedback=FeedbackSources(constants_value_source=None),
    )
    try_each_request(served=served)


@settings(
    max_examples=LENGTH.fuzzed_requests,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def answers_as_documented(case: Case[Any], served: tuple[str, str]) -> None:
    url, key = served
    if str(case.headers.get("Min-Ledger-Position", "")).isdigit():
        case.headers["Min-Ledger-Position"] = "0"  # nobody projects here, so nothing later is ever reached
    if KEY.fullmatch(str(case.headers.get("Idempotency-Key", ""))):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex  # what is sent differs, so its name must
    case.headers.pop("Cookie", None)
    case.cookies.clear()  # a session's cookie and a key are alternatives, and the key is sent
    response = case.call(base_url=url, headers={"Authorization": f"Bearer {key}"})
    case.validate_response(response, excluded_checks=inapplicable(case, response))


def inapplicable(case: Case[Any], response: Response) -> list[CheckFunction]:
    """The checks that ask for more than a schema can say."""
    excluded: list[CheckFunction] = []
    if response.status_code in {400, 422}:
        problem = response.json()
        codes = {error["code"] for error in problem.get("errors", [])} | {problem.get("code")}
        # What a command of a bulk must be is said by its own operation.
        if codes & BEYOND_SCHEMA or case.operation.path == "/v1/commands":
            excluded.append(positive_data_acceptance)
    meta = case.meta
    negated = {place.value for place, found in meta.components.items() if found.mode.is_negative} if meta else set()
    if negated == {"header"}:
        excluded.append(negative_data_rejection)  # headers that nobody asked for are no error
    return excluded
