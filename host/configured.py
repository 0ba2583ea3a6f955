"""Where the servers are that the settings name. `addresses.py` finds those, too, that no setting names."""

from infra.settings import Settings, SettingsError


def owner_dsn(settings: Settings) -> str:
    """The database as its owner."""
    url = settings.database.owner_url or settings.database.url
    if url is None:
        raise SettingsError("TALLYBOOK_DATABASE_URL is not set: name the database, or use `tallybook dev`.")
    return url.get_secret_value()


def writer_dsn(settings: Settings) -> str:
    """The database as the roles' processes log in to it."""
    url = settings.database.url or settings.database.owner_url
    if url is None:
        raise SettingsError("TALLYBOOK_DATABASE_URL is not set: name the database, or use `tallybook dev`.")
    return url.get_secret_value()


def bootstrap(settings: Settings) -> str:
    """The brokers."""
    if settings.kafka.bootstrap is None:
        raise SettingsError("TALLYBOOK_KAFKA_BOOTSTRAP is not set: name the brokers, or use `tallybook dev`.")
    return settings.kafka.bootstrap
