"""How `make test` is spread over processes: how many there are, and which files come first.

Each process has a PostgreSQL and a Kafka of its own and takes whole files, one after the other, so that what the tests
of a file share is made once. A file that comes last is waited for by everybody, so those that take long come first.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

WORKERS_MAX: Final = 4
MEMORY_PER_WORKER_BYTES: Final = 2 * 2**30
"""A process with its servers, and the roles and second servers that some tests start."""

LONG_FILES: Final = (
    "tests/e2e/test_http_schemathesis.py",
    "tests/integration/test_embedded.py",
    "tests/integration/test_processors_invariants.py",
    "tests/integration/test_cli.py",
    "tests/e2e/test_dev_watches.py",
    "tests/e2e/test_year.py",
    "tests/integration/test_projections_running.py",
    "tests/integration/test_waiting.py",
    "tests/integration/test_processors_dead_letters.py",
    "tests/integration/test_api_users.py",
    "tests/e2e/test_key_rotation_kills.py",
    "tests/integration/test_cli_answers.py",
    "tests/e2e/test_two_of_each_role.py",
    "tests/faults/test_faults.py",
    "tests/faults/test_usage_kills.py",
    "tests/integration/test_processors_sagas.py",
    "tests/integration/test_usage_counting.py",
    "tests/integration/test_usage_watermark.py",
    "tests/integration/test_usage_closings.py",
    "tests/integration/test_processors_gateway.py",
    "tests/integration/test_api_bad_input.py",
    "tests/integration/test_api_matrix.py",
    "tests/e2e/test_secrets_nowhere.py",
    "tests/integration/test_relay.py",
    "tests/integration/test_api_search.py",
    "tests/attack/test_connections.py",
    "tests/attack/test_costs.py",
    "tests/e2e/test_plan_migration.py",
    "tests/integration/test_tax_requests_running.py",
    "tests/e2e/test_usage_import.py",
    "tests/integration/test_api_usage_events.py",
    "tests/integration/test_api_usage_corrections.py",
    "tests/integration/test_api_customer_usage.py",
    "tests/integration/test_usage_billing.py",
    "tests/integration/test_usage_alerts_running.py",
    "tests/integration/test_api_usage_alerts.py",
    "tests/integration/test_usage_alert_periods.py",
    "tests/integration/test_usage_alert_stories.py",
    "tests/integration/test_usage_event_list.py",
    "tests/integration/test_api_usage_event_list.py",
    "tests/integration/test_usage_topic.py",
    "tests/integration/test_usage_upkeep.py",
    "tests/integration/test_usage_recount.py",
    "tests/integration/test_usage_meters.py",
    "tests/integration/test_tax_requests.py",
    "tests/integration/test_reports.py",
    "tests/integration/test_exports.py",
    "tests/e2e/test_export.py",
    "tests/attack/test_export_disconnects.py",
    "tests/integration/test_consumers_health.py",
    "tests/attack/test_tls.py",
    "tests/integration/test_writer_contract.py",
    "tests/attack/test_browser_sessions.py",
    "tests/e2e/test_http_kills.py",
    "tests/integration/test_heartbeats.py",
    "tests/e2e/test_telecom_month.py",
    "tests/integration/test_api_access.py",
    "tests/integration/test_processors_test_clocks.py",
    "tests/integration/test_api_tenants.py",
    "tests/integration/test_second_factors.py",
    "tests/attack/test_access_tokens_http.py",
    "tests/e2e/test_generated_clients.py",
    "tests/integration/test_api_changes.py",
    "tests/e2e/test_republish.py",
    "tests/integration/test_api_own_sessions.py",
    "tests/contracts/test_codec_events.py",
    "tests/integration/test_writer_kills.py",
    "tests/integration/test_projections_queries.py",
    "tests/integration/test_sandbox_gateway.py",
    "tests/integration/test_api_second_factors.py",
    "tests/integration/test_api_invoice_pdf.py",
    "tests/documents/test_conformance.py",
    "tests/documents/test_rendering.py",
    "tests/integration/test_projections_folding.py",
    "tests/integration/test_supervisor.py",
    "tests/integration/test_api_permissions.py",
    "tests/integration/test_abandoned_attempts.py",
    "tests/attack/test_foreign_records.py",
    "tests/integration/test_api_invitations.py",
    "tests/integration/test_api_key_terms.py",
    "tests/integration/test_consumers.py",
    "tests/integration/test_signing_keys.py",
    "tests/integration/test_cli_loading.py",
    "tests/integration/test_user_import.py",
    "tests/e2e/test_erasure.py",
    "tests/integration/test_own_data.py",
    "tests/attack/test_key_window.py",
    "tests/integration/test_settled_invoices.py",
    "tests/integration/test_api_sign_in.py",
    "tests/integration/test_held_refunds.py",
    "tests/integration/test_api_taken_away.py",
    "tests/integration/test_projections_new_column.py",
    "tests/integration/test_api_bad_input_people.py",
    "tests/e2e/test_taken_away_processes.py",
)
"""Those of more than ten seconds, the longest first as far as it matters."""


def how_many(arguments: Sequence[str], *, cores: int, memory_bytes: int) -> int:
    """Return the number of processes for these paths on this machine; 0 is pytest's own process.

    There are three for two cores: each waits for a third of its time, for a broker, a lease or a poll.
    One file is run there: it is not spread, and a second process would only take time to start.
    """
    paths = {Path(argument.partition("::")[0]) for argument in arguments}
    files = len(paths) if all(path.is_file() for path in paths) else WORKERS_MAX
    workers = min(WORKERS_MAX, cores * 3 // 2, files, memory_bytes // MEMORY_PER_WORKER_BYTES)
    return workers if workers > 1 else 0


def long_files_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order in which their files are handed out; nothing changes within a file.

    Raises pytest.UsageError for tests of one id: a test is handed out by its id, so only one of them would run.
    """
    ids = Counter(item.nodeid for item in items)
    if twins := [name for name, times in ids.items() if times > 1]:
        raise pytest.UsageError(f"These ids are those of several tests, of which one alone would run: {twins}")
    place = {name: number for number, name in enumerate(LONG_FILES)}
    return sorted(items, key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))
