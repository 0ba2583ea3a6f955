"""Texts that somebody gives on the command line and the log keeps: held to what the API takes."""

import re
from typing import Final

import typer

from infra.card_numbers import holds_card_number

LINE_MAX_CHARS: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def checked_line(text: str) -> str:
    """One line, as a name or a reason is; an option's callback. Raises typer.BadParameter."""
    if len(text) > LINE_MAX_CHARS:
        raise typer.BadParameter(f"It is longer than {LINE_MAX_CHARS} characters.")
    if _CONTROL.search(text):
        raise typer.BadParameter("It holds control characters.")
    if holds_card_number(text):
        raise typer.BadParameter("It holds a card number, which is stored nowhere here.")
    return text
