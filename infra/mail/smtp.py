"""Letters through a mail server (SMTP), encrypted on the way there."""

import asyncio
import smtplib
import ssl
from email.utils import parseaddr
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from infra.mail.port import Letter, LetterNotSent, message_of

PORTS: Final = {"smtp": 587, "smtps": 465}
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class SmtpMailer:
    """One connection per letter: they are few, and a server that went away is met with the next one.

    `smtps://` is encrypted from the first byte, `smtp://` by STARTTLS before anything is said; without it a letter
    goes to this machine alone.
    """

    def __init__(self, url: str, *, sender: str, timeout_s: float) -> None:
        self._server: SplitResult = urlsplit(url)
        self._sender = sender
        self._timeout_s = timeout_s

    async def send(self, letter: Letter) -> None:
        """Hand it to the server. Raises LetterNotSent."""
        try:
            await asyncio.to_thread(self._send, letter)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # A server's answer may name the address.
            raise LetterNotSent(type(error).__name__) from None

    def _send(self, letter: Letter) -> None:
        server = self._server
        host, port = server.hostname or "", server.port or PORTS[server.scheme]
        context = ssl.create_default_context()
        message = message_of(letter, sender=self._sender)
        if parseaddr(letter.to)[1] != letter.to:
            # smtplib reads the address once more: a comment or a list in it would make it somebody else's letter.
            raise ValueError("an address that is read as another")
        if server.scheme == "smtps":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=context)
        else:
            connection = smtplib.SMTP(host, port, timeout=self._timeout_s)
        with connection:
            if server.scheme == "smtp" and host not in LOOPBACK:
                connection.starttls(context=context)
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            # Who gets it is the address as it is, whatever a reader of headers would make of it.
            connection.send_message(message, to_addrs=[letter.to])
