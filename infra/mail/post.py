"""Letters on their way, beside whatever the process does: no answer waits for a mail server, or tells by its time
whether a letter was written.

They are in memory alone. Whoever asks for a link and gets none, because the process was killed or the mail server was
away for too long, asks again.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import Counter

from infra.database import CONNECTION_ERRORS
from infra.mail.folder import FolderMailer
from infra.mail.port import Letter, LetterNotSent, Mailer
from infra.mail.smtp import SmtpMailer
from infra.settings import Settings, SettingsError, data_path

PAUSES_S: Final = (1.0, 5.0, 30.0)
"""Between the times that a letter is tried."""
_MAIL_SERVER: Final = re.compile(r"smtps?://(\S+@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?/?")
WAITING_MAX: Final = 1_000
LAST_S: Final = 5.0
"""For what is under way when the process ends."""

SENT: Final = Counter("tallybook_letters", "Letters, by what became of them", ("outcome",))

_log: Final = structlog.stdlib.get_logger("mail")

Writes = Callable[[], Awaitable[Letter | None]]


class Post:
    """Has letters written and sent by tasks of their own. `send` never waits and never raises."""

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, writes: Writes) -> None:
        """Have a letter written, if there is one to write, and sent."""
        if len(self._tasks) >= WAITING_MAX:
            SENT.labels("dropped").inc()
            return
        task = asyncio.create_task(self._send(writes))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Post"]:
        """At the end, let what is under way finish for a moment."""
        try:
            yield self
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await self.settled()
            for task in self._tasks:
                task.cancel()

    async def _send(self, writes: Writes) -> None:
        try:
            letter = await writes()
        except CONNECTION_ERRORS as error:
            SENT.labels("not_written").inc()
            _log.warning("letter_not_written", why=type(error).__name__)
            return
        except Exception:
            SENT.labels("not_written").inc()
            _log.exception("letter_not_written")
            return
        if letter is None:
            return
        for pause_s in (*PAUSES_S, None):
            try:
                await self._mailer.send(letter)
            except LetterNotSent as error:
                _log.warning("letter_not_sent", why=str(error), subject=letter.subject, again=pause_s is not None)
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
            else:
                SENT.labels("sent").inc()
                return
        SENT.labels("given_up").inc()


class NoMailer:
    """Of a production without a mail server: says so, for each letter."""

    async def send(self, letter: Letter) -> None:
        """Raise LetterNotSent."""
        raise LetterNotSent("TALLYBOOK_MAIL_URL is not set")


def mailer_from(settings: Settings) -> Mailer:
    """The mail server of the settings; outside production, a folder where there is none. Raises SettingsError."""
    mail = settings.mail
    if mail.url is not None:
        url = mail.url.get_secret_value()
        if _MAIL_SERVER.fullmatch(url) is None:
            raise SettingsError(
                "TALLYBOOK_MAIL_URL must be smtp://host or smtps://host, with user:password@ and :port where needed."
            )
        return SmtpMailer(url, sender=mail.sender, timeout_s=mail.timeout_s)
    if settings.general.environment == "production":
        return NoMailer()
    return FolderMailer(data_path(settings) / "mail", sender=mail.sender)
