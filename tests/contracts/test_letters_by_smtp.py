"""Letters go to the address that they are for, and to nobody whom a mail program would read out of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from pydantic import TypeAdapter, ValidationError

from api.resources.personal_data import Email
from infra.mail.port import Letter, LetterNotSent
from infra.mail.smtp import SmtpMailer

READ_OTHERWISE = [
    "ada,eve@host.example",
    "ada(eve)@host.example",
    "<eve@host.example",
    "ada@host.example>",
    '"eve"@host.example',
    "ada;eve@host.example",
    "ada@[192.0.2.1]",
    "eve\\@host.example",
]
GOOD = [
    "ada@host.example",
    "ada+books@host.example",
    "o'hara@host.example",
    "ada@stra\xdfe.example",
    "=?x?q?eve?=@h.example",
]


ANSWERS = {"EHLO": b"250-here\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n", "QUIT": b"221 bye\r\n"}


class MailServer:
    """Takes letters, and notes for whom."""

    def __init__(self) -> None:
        self.recipients: list[str] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["MailServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode():
            verb, _, rest = line.strip().partition(" ")
            if verb.upper() == "DATA":
                writer.write(b"354 go on\r\n")
                while await reader.readline() not in (b".\r\n", b""):
                    pass
            if verb.upper() == "RCPT":
                self.recipients.append(rest.partition("<")[2].partition(">")[0])
            writer.write(ANSWERS.get(verb.upper(), b"250 yes\r\n"))
        writer.close()


@pytest.mark.parametrize("address", GOOD)
async def test_a_letter_goes_to_one_address_as_it_is_written(address: str) -> None:
    async with MailServer().serving() as server:
        mailer = SmtpMailer(server.url, sender="Tallybook <billing@example.com>", timeout_s=5)
        await mailer.send(Letter(to=address, subject="Hello", text="There"))
    assert server.recipients == [address]


@pytest.mark.parametrize("address", ["ada,eve@host.example", "ada(eve)@host.example"])
async def test_an_address_that_is_read_otherwise_gets_no_letter(address: str) -> None:
    async with MailServer().serving() as server:
        mailer = SmtpMailer(server.url, sender="Tallybook <billing@example.com>", timeout_s=5)
        with pytest.raises(LetterNotSent):
            await mailer.send(Letter(to=address, subject="Hello", text="There"))
    assert server.recipients == []


@pytest.mark.parametrize("address", READ_OTHERWISE)
def test_what_mail_programs_read_as_something_else_is_no_address(address: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Email).validate_python(address)


@pytest.mark.parametrize("address", GOOD)
def test_what_is_written_plainly_is_an_address(address: str) -> None:
    assert TypeAdapter(Email).validate_python(address) == address
