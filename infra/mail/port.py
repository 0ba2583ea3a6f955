"""The port through which letters go. A letter holds an address and a link that lets somebody in: it is never logged."""

from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Plain text to one person."""

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


_LINES: Final = SMTP.clone(max_line_length=998)
"""The longest that RFC 5322 allows: a link is one line, which can be copied out of a file as it is."""


class LetterNotSent(Exception):
    """The mail server did not take it; the message says why and names nobody."""


class Mailer(Protocol):
    """Sends letters."""

    async def send(self, letter: Letter) -> None:
        """Hand a letter over. Raises LetterNotSent."""
        ...


def message_of(letter: Letter, *, sender: str) -> EmailMessage:
    """The letter in the form of RFC 5322. Line breaks in a header are refused by the library itself.

    The address is handed over in its two parts: as a text, the library would read comments, lists of addresses and
    encoded words in it, and write to somebody else than it looks like.
    """
    message = EmailMessage(policy=_LINES)
    message["From"] = sender
    name, _, host = letter.to.rpartition("@")
    message["To"] = Address(username=name, domain=host)
    message["Subject"] = letter.subject
    # No program is to answer it with an absence note, or to look for more in it than text.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message
