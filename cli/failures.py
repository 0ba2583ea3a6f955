"""What can go wrong around a command, in words that say what to do. A fault of Tallybook's own keeps its traceback."""

import asyncpg
from aiohttp import ClientConnectionError
from aiokafka.errors import KafkaError

from cli.api_client import ApiAbsent
from gateway_adapters.port import GatewayUnavailable
from host.embedded.process import EmbeddedServerError
from host.supervisor import SupervisorError
from infra.event_store.port import StoreUnavailable
from infra.event_store.storage import StoreLost
from infra.settings import Settings, SettingsError, load_settings

_CHECK_DATABASE = "Check TALLYBOOK_DATABASE_URL and TALLYBOOK_DATABASE_OWNER_URL; `tallybook status` shows what runs."
_CHECK_KAFKA = "Check TALLYBOOK_KAFKA_BOOTSTRAP; `tallybook status` shows what runs."
_WAIT = "Wait a moment and try again; `tallybook status` shows what runs."


def explain(error: BaseException) -> str | None:
    """The failure for whoever ran the command, or None where nobody foresaw it."""
    words = _words(error)
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
            return f"The database does not have this version's schema ({words}). Run `tallybook migrate`."
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InsufficientPrivilegeError():
            return f"The database refuses this login: {words}. {_CHECK_DATABASE}"
        case asyncpg.CannotConnectNowError() | asyncpg.AdminShutdownError() | asyncpg.CrashShutdownError():
            # It answers, so its address is right.
            return f"The database is starting or stopping: {words}. {_WAIT}"
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError() | StoreUnavailable() | StoreLost():
            advice = _CHECK_DATABASE if _configured().database.url else _WAIT
            return f"The database cannot be reached: {words}. {advice}"
        case KafkaError():
            return f"Kafka cannot be reached: {words}. {_CHECK_KAFKA if _configured().kafka.bootstrap else _WAIT}"
        case GatewayUnavailable():
            return f"The payment gateway cannot be read: {words}. Start it, or name it with TALLYBOOK_GATEWAY_URL."
        case ApiAbsent() | ClientConnectionError():
            return (
                f"The API cannot be reached: {words}. `tallybook status` shows what runs here; --url says where else."
            )
        case ConnectionError() | TimeoutError():
            return f"A server cannot be reached: {words or 'it does not answer'}. `tallybook status` shows what runs."
        case OSError():
            what = f"{error.filename}: {error.strerror}" if error.filename else words
            return f"{what}. Check the path, its owner and the room on its disk."
    return None


def _words(error: BaseException) -> str:
    """What an error says, in one sentence without its full stop: PostgreSQL adds lines of DETAIL and HINT."""
    return next(iter(str(error).splitlines()), "").rstrip(". ")


def _configured() -> Settings:
    """What the environment names: of an embedded server no address can be wrong."""
    return load_settings()
