"""Letters that an API in a test sends: files in a folder of the test's own."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Final

from infra.mail.folder import SUFFIX, FolderMailer
from infra.mail.post import Post
from testing.api_client import Api

_MAIL: Final = "mail"
_TOKEN: Final = re.compile(r"#token=([a-z2-7]{52})\b")


def keep_letters(api: Api, folder: Path) -> None:
    """Let the API's letters go into this folder from now on."""
    api.parts.post = Post(FolderMailer(folder / _MAIL, sender="Tallybook <billing@example.com>"))


async def letters(api: Api, folder: Path) -> list[EmailMessage]:
    """Those that were sent, the oldest first, once none is on its way."""
    await api.parts.post.settled()
    return [
        message_from_bytes(path.read_bytes(), policy=default) for path in sorted((folder / _MAIL).glob(f"*{SUFFIX}"))
    ]


async def tokens_sent(api: Api, folder: Path) -> list[tuple[str, str]]:
    """Whom they went to, and the tokens in their links; empty of a letter that has none."""
    return [(str(letter["To"]), _token_in(letter)) for letter in await letters(api, folder)]


def _token_in(letter: EmailMessage) -> str:
    found = _TOKEN.search(letter.get_content())
    return "" if found is None else found[1]
