"""An API key in a file, as commands that speak to the API take it."""

from pathlib import Path

import typer


def key_in(file: Path) -> str:
    """The key. Raises BadParameter for a file that holds none."""
    key = file.read_text(encoding="utf-8").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise typer.BadParameter("The file holds no API key.", param_hint="--key-file")
    return key
