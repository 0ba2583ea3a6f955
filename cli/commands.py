"""Every command of `tallybook`, in the order in which `tallybook --help` lists them."""

from typing import Any, Final

from typer.core import TyperGroup

from cli.deferred import Deferred, Entry

SERVERS: Final = "Servers and roles"
PROOF: Final = "Audit, replay and repair"
TENANTS: Final = "Tenants, people and their data"
REFERENCE: Final = "Reference"

COMMANDS: Final = (
    Entry(
        "dev",
        "cli.servers:dev",
        SERVERS,
        "Start the servers, every role and a small seeded tenant; Ctrl-C stops what was started.",
    ),
    Entry(
        "demo",
        "cli.demo:demo",
        SERVERS,
        "Bill 7,043 telecom customers and their usage for two months, on real PostgreSQL and Kafka; prove every cent.",
    ),
    Entry(
        "year",
        "cli.year.command:year",
        SERVERS,
        "Bill telecom customers for twelve months, with whatever becomes of them, and prove every cent.",
    ),
    Entry("up", "cli.servers:up", SERVERS, "Start PostgreSQL and Kafka, and leave them running."),
    Entry(
        "down", "cli.servers:down", SERVERS, "Stop everything that runs on the data folder: roles, Kafka, PostgreSQL."
    ),
    Entry(
        "status",
        "cli.servers:status",
        SERVERS,
        "Show which servers and roles run, where, and whether they are ready; start and make nothing.",
    ),
    Entry(
        "migrate",
        "cli.servers:migrate_database",
        SERVERS,
        "Bring the database to the newest schema; nothing happens if it is there already.",
    ),
    Entry(
        "faults",
        "cli.faults.command:faults",
        PROOF,
        "Break everything under load, and check that nothing was lost or doubled.",
    ),
    Entry(
        "run",
        "cli.role:run",
        SERVERS,
        "Run one role in this process until SIGTERM, with the servers that the environment names.",
    ),
    Entry(
        "settings",
        "cli.reference:show_settings",
        REFERENCE,
        "Show every environment variable that Tallybook reads, with its default, its unit and its meaning.",
    ),
    Entry(
        "openapi",
        "cli.reference:show_openapi",
        REFERENCE,
        "Print the API's OpenAPI 3.1 document, for generators of clients; no server is needed. It is JSON as it is.",
    ),
    Entry("tenants", "cli.tenants:app", TENANTS, "Tenants and their API keys."),
    Entry("users", "cli.users:app", TENANTS, "People who sign in."),
    Entry(
        "import",
        "cli.import_command:import_file",
        TENANTS,
        "Bring in customers, subscriptions, invoices and payments of another system, from a file.",
    ),
    Entry("usage", "cli.usage:app", TENANTS, "Usage events: from a file, as they come in, and counted once more."),
    Entry(
        "export",
        "cli.export_command:export",
        TENANTS,
        "Write a whole table into a file, as CSV or Parquet: everything as of one moment.",
    ),
    Entry("reporting", "cli.reporting:app", TENANTS, "The SQL views that BI tools read, and their logins."),
    Entry("auth", "cli.auth:app", TENANTS, "The keys that sign access tokens, and the auth log."),
    Entry("audit", "cli.audit:app", PROOF, "Proof that nothing was lost, doubled or changed."),
    Entry("dead-letters", "cli.dead_letters:app", PROOF, "Records that a consumer gave up on."),
    Entry("relay", "cli.relay:app", PROOF, "The relay that publishes the log to Kafka."),
    Entry("projections", "cli.projections:app", PROOF, "The read models."),
    Entry("search", "cli.search:app", PROOF, "What people and texts are found by."),
)


class CommandLine(TyperGroup):
    """All of them, each deferred."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for entry in COMMANDS:
            self.add_command(Deferred(entry))
