"""Letters as files in a folder, for development and tests: nothing leaves the machine."""

import asyncio
import os
from pathlib import Path

from infra.ids import new_id
from infra.mail.port import Letter, message_of

SUFFIX = ".eml"


class FolderMailer:
    """Writes each letter into a file of its own, named by the time; only its owner may read it."""

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, letter: Letter) -> None:
        """Write it."""
        await asyncio.to_thread(self._write, letter)

    def _write(self, letter: Letter) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{new_id('mail_')}{SUFFIX}"
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(message_of(letter, sender=self._sender).as_bytes())
        # It appears whole or not at all: whoever watches the folder reads no half of one.
        draft.rename(path)
