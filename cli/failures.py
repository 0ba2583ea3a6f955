"""What can go wrong around a command, in words that say what to do. A fault of Tallybook's own keeps its traceback."""

import asyncpg
from aiokafka.errors import KafkaError

from gateway_adapters.port import GatewayUnavailable
from host.embedded.process import EmbeddedServerError
from host.supervisor import SupervisorError
from infra.settings import SettingsError

_CHECK_DATABASE = "Check TALLYBOOK_DATABASE_URL and TALLYBOOK_DATABASE_OWNER_URL; `tallybook status` shows what runs."


def explain(error: BaseException) -> str | None:
    """The failure for whoever ran the command, or None where nobody foresaw it."""
    match error:
        case EmbeddedServerError() | SettingsError() | SupervisorError():
            return str(error)
        case (
            asyncpg.UndefinedTableError()
            | asyncpg.UndefinedFunctionError()
            | asyncpg.UndefinedColumnError()
            | asyncpg.InvalidSchemaNameError()
            | asyncpg.InvalidCatalogNameError()
            | asyncpg.InvalidParameterValueError()  # a role that the migrations make
        ):
            return f"The database does not have this version's schema ({error}). Run `tallybook migrate`."
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InsufficientPrivilegeError():
            return f"The database refuses this login: {error}. {_CHECK_DATABASE}"
        case asyncpg.PostgresConnectionError() | asyncpg.CannotConnectNowError() | asyncpg.InterfaceError():
            return f"The database cannot be reached: {error}. {_CHECK_DATABASE}"
        case KafkaError():
            return f"Kafka cannot be reached: {error}. Check TALLYBOOK_KAFKA_BOOTSTRAP; see `tallybook status`."
        case GatewayUnavailable():
            return f"The payment gateway cannot be read: {error}. Start it, or name it with TALLYBOOK_GATEWAY_URL."
        case ConnectionError() | TimeoutError():
            return f"A server cannot be reached: {error or 'it does not answer'}. `tallybook status` shows what runs."
        case OSError():
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return f"{what}. Check the path, its owner and the room on its disk."
    return None
