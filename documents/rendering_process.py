"""The process that sets documents: a document as one line of JSON in, a PDF out, until its standard input ends.

It is apart from what serves so that a page neither holds that up nor, whatever is wrong with it, takes it down. It has
nothing but the document: no settings, no connection, fonts and a template from its own folder alone.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import typst

from documents.factur_x import with_metadata
from documents.printable import FONTS, UNKNOWN, characters, plain, printable
from infra.low_priority import give_way

TEMPLATES: Final = Path(__file__).with_name("template")
STANDARDS: "Final[list[typst.PDFStandard]]" = ["a-3a", "ua-1"]
"""PDF/A-3a (ISO 19005-3): to be kept for decades, tagged, with room for a file inside; PDF/UA-1 (ISO 14289-1): readable
by whoever does not see it.
"""


class Typesetter:
    """Sets documents in the packaged fonts, none of the machine's."""

    def __init__(self) -> None:
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])
        self._template = TEMPLATES / "invoice.typ"
        # No packages: where they would lie, nothing does, and the template asks for none.
        self._compiler = typst.Compiler(
            self._template,
            root=TEMPLATES,
            font_paths=fonts,
            ignore_system_fonts=True,
            package_path=TEMPLATES / "packages",
            package_cache_path=TEMPLATES / "packages",
        )
        self._characters = characters()

    def pdf(self, document: dict[str, Any]) -> bytes:
        """The document as PDF, with its file for machines inside. Raises typst.TypstError where it cannot be set."""
        xml = document.pop("xml")
        try:
            made = self._set(document, printable(document, self._characters), xml)
        except typst.TypstError:
            made = self._set(document, plain(document, self._characters), xml)
        return with_metadata(made) if xml else made

    def _set(self, document: dict[str, Any], found: Any, xml: str) -> bytes:
        # The file is no text of the page: not a character of it may change.
        shown = {**found.value, "xml": xml}
        if found.has_lost:
            shown["notes"] = [*shown["notes"], f"{UNKNOWN} {shown['words']['unprintable']}"]
        year, month, day, hour, minute, second = document["at"]
        return self._compiled(shown, datetime(year, month, day, hour, minute, second, tzinfo=UTC))

    def _compiled(self, shown: dict[str, Any], at: datetime) -> bytes:
        made = self._compiler.compile(
            format="pdf",
            sys_inputs={"document": json.dumps(shown)},
            pdf_standards=STANDARDS,
            timestamp=at,
        )
        assert isinstance(made, bytes), "one file"
        return made


def main() -> NoReturn:
    """Serve until the other end of the pipe is closed, which it is also when that process is killed."""
    give_way()
    typesetter = Typesetter()
    for line in sys.stdin.buffer:
        try:
            made = typesetter.pdf(json.loads(line))
        except typst.TypstError as error:
            _answer(b"", failed=error.message)
        else:
            _answer(made)
    raise SystemExit(0)


def _answer(pdf: bytes, **told: str) -> None:
    out = sys.stdout.buffer
    out.write(json.dumps({"length": len(pdf), **told}).encode() + b"\n" + pdf)
    out.flush()


if __name__ == "__main__":
    main()
