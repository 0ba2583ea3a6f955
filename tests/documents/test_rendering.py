"""A document as PDF: the same bytes by any process, everything on the page, whatever texts hold."""

import asyncio
import contextlib
import hashlib
import io
import subprocess
import sys
import unicodedata
from dataclasses import replace
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from documents.printable import CHARACTERS, UNKNOWN, characters, printable
from documents.renderer import NotRendered, Renderer, RenderingBusy, tag_of
from documents.rendering_process import Typesetter
from documents.words import WORDS
from domain.invoicing.finalization import InvoiceVoided
from infra.settings import DocumentSettings
from testing.examples.streams import INVOICE_ID
from testing.font_characters import font_characters
from testing.moments import utc
from tests.documents.examples import ADA, as_sent, document, invoice, line
from tests.lengths import LENGTH

TYPESETTER = Typesetter()
SMALL = invoice([line(1, 123_456)])
HOSTILE = (
    '#import "@preview/x:0.1.0": *',
    '#read("/etc/passwd")',
    '#sys.inputs #eval("1+1") #panic()',
    "$ x^2 $ \\ _a_ *b* `c` <d> @e // f /* g */ ~ -- --- ' \" ]})",
    "= Heading\n- item\n+ item\n/ term: x",
    "\u202eevil\u202c \u2066x\u2069 \u200f \u0000\u0007\u001b[31m",
    "a" * 10_000,
    "株" * 2_000,
    "😀👩‍👩‍👧‍👦🇩🇪❤️",
    "Z̸̧̢̛̲̱a̴͓͂l̷͔̍g̶̜̈́o̴̤͝ 漢\u0301 ا\u0301 ก\u0301",
    "\U000e0041\U000e0042\ue000\uffff\U0010ffff\ud7ff",
    "\u2028line\u2029paragraph\u0085next",
)


def read(made: bytes) -> str:
    """The text of all pages, with one space where there is any."""
    return " ".join("\n".join(page.extract_text() for page in PdfReader(io.BytesIO(made)).pages).split())


def test_what_the_fonts_have_is_what_the_file_says() -> None:
    assert CHARACTERS.read_text(encoding="ascii") == font_characters()


def test_all_words_can_be_printed_in_every_language() -> None:
    known = characters()
    for words in WORDS.values():
        assert not printable([getattr(words, name) for name in words.__slots__], known).has_lost


async def test_a_document_is_the_same_bytes_by_any_process() -> None:
    here = TYPESETTER.pdf(as_sent(document(SMALL)))
    assert TYPESETTER.pdf(as_sent(document(SMALL))) == here
    for _ in range(2):
        renderer = Renderer(DocumentSettings())
        assert await renderer.pdf(document(SMALL)) == here
        await renderer.close()


def test_the_tag_tells_documents_apart_and_is_the_same_for_the_same() -> None:
    one = document(SMALL)
    assert tag_of(one) == tag_of(document(SMALL))
    assert tag_of(replace(one, stamp="VOID")) != tag_of(one)


def test_its_date_is_the_invoices_and_its_language_the_locales() -> None:
    found = PdfReader(io.BytesIO(TYPESETTER.pdf(as_sent(document(SMALL)))))
    assert found.metadata is not None
    assert found.metadata.creation_date == utc("2026-01-01T12:00")
    assert (found.metadata.title, found.metadata.author) == ("Rechnung INV-000042", "Example GmbH")
    root: Any = found.trailer["/Root"]
    assert root["/Lang"] == "de"
    assert bool(root["/MarkInfo"]["/Marked"]), "it is tagged"


@pytest.mark.parametrize(("locale", "currency"), [("en-US", "KWD"), ("ja-JP", "JPY"), ("de-AT", "EUR"), ("fr", "CLF")])
def test_every_line_of_a_long_invoice_is_there_and_the_totals_stand_at_its_end(locale: str, currency: str) -> None:
    lines = [line(nth, (-1) ** (nth + 1) * (1_000 + nth * 7_919), currency) for nth in range(250)]
    shown = document(invoice(lines), locale=locale)
    made = TYPESETTER.pdf(as_sent(shown))
    pages = [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(made)).pages]
    assert len(pages) > 5
    whole = " ".join(pages)
    for row in shown.rows:
        assert f"{row.description} " in whole
        assert " ".join(row.amount.split()) in whole, row.amount
    for pair in shown.totals:
        assert f"{pair.label} {' '.join(pair.value.split())}" in pages[-1]
        assert pair.label not in "".join(pages[:-1])
    for nth, page in enumerate(pages, start=1):
        words = shown.words
        assert f"{words.page}{nth}{words.of_pages}{len(pages)}{words.after_pages}".strip() in page
        assert words.description in page or "Position" not in page, "each part of the table has its head"


def test_each_page_of_a_void_invoice_bears_the_stamp() -> None:
    lines = [line(nth, 100) for nth in range(60)]
    void = invoice(lines, InvoiceVoided(invoice_id=INVOICE_ID, voided_at=utc("2026-01-02")))
    pages = PdfReader(io.BytesIO(TYPESETTER.pdf(as_sent(document(void))))).pages
    assert len(pages) > 1
    assert all("STORNIERT" in page.extract_text() for page in pages)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_is_a_value_and_never_markup(text: str) -> None:
    shown = document(invoice([line(1, 123_456, description=text)]), person={**ADA, "name": text})
    said = read(TYPESETTER.pdf(as_sent(shown)))
    assert said.count("1.234,56 €") == 3, "whatever stands beside them, the figures stay as they are"
    assert "SW1Y 4JH London" in said
    assert "root:" not in said


def test_what_looks_like_markup_is_printed_as_it_is() -> None:
    text = '#import "x" $a$ \\ *b* _c_ <d> @e'
    assert text in read(TYPESETTER.pdf(as_sent(document(invoice([line(1, 100, description=text)])))))


@pytest.mark.parametrize(
    "name",
    ["Łukasz Żółć", "Ελληνικά", "Београд", "株式会社テスト", "김철수", "中文名字", "דוד", "สวัสดี", "देवनागरी", "Nguyễn"],
)
def test_names_of_other_scripts_are_there(name: str) -> None:
    said = read(TYPESETTER.pdf(as_sent(document(SMALL, person={**ADA, "name": name}))))
    assert UNKNOWN not in said
    # What is read back of right to left, of marks and of ligatures comes in other orders: the letters are what counts.
    letters = {each for each in unicodedata.normalize("NFC", name) if unicodedata.category(each).startswith("L")}
    assert letters <= set(unicodedata.normalize("NFC", said))


def test_what_no_font_has_is_told() -> None:
    said = read(TYPESETTER.pdf(as_sent(document(SMALL, person={**ADA, "name": "Ada 😀"}))))
    assert f"Ada {UNKNOWN}" in said
    assert f"{UNKNOWN} {WORDS['de'].unprintable}" in said
    assert UNKNOWN not in read(TYPESETTER.pdf(as_sent(document(SMALL))))


def test_a_name_cannot_turn_the_figures_around() -> None:
    found = printable("\u202e100 €\u2066\u200f", characters())
    assert found == ("100 €", False)


@given(text=st.text(max_size=60), name=st.text(alphabet=st.characters(min_codepoint=0x300, max_codepoint=0xFFFF)))
@settings(max_examples=LENGTH.scaled(60), deadline=None)
def test_whatever_texts_hold_there_is_a_page(text: str, name: str) -> None:
    shown = document(invoice([line(1, 123_456, description=text)]), person={**ADA, "name": name})
    assert TYPESETTER.pdf(as_sent(shown)).startswith(b"%PDF")


async def test_a_process_that_was_killed_is_started_again_and_ends_with_who_started_it() -> None:
    renderer = Renderer(DocumentSettings())
    before = await renderer.pdf(document(SMALL))
    (process,) = own()
    process.kill()
    process.wait()
    assert await renderer.pdf(document(SMALL)) == before
    (process,) = own()
    assert process.nice() > psutil.Process().nice()
    assert not {name for name in process.environ() if name.startswith("TALLYBOOK_")}
    await renderer.close()
    assert own() == []


KILLED_AT_WORK = """
import asyncio, os, psutil, signal
from documents.renderer import Renderer
from infra.settings import DocumentSettings
from tests.documents.test_rendering import SMALL
from tests.documents.examples import document

async def main():
    await Renderer(DocumentSettings()).pdf(document(SMALL))
    print(psutil.Process().children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_process_ends_with_one_that_was_killed() -> None:
    told = subprocess.run([sys.executable, "-c", KILLED_AT_WORK], capture_output=True, text=True, check=False)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(told.stdout)).wait(timeout=60)


def own() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [each for each in children if "documents.rendering_process" in each.cmdline()]


async def test_beyond_what_may_wait_a_document_is_refused_at_once() -> None:
    renderer = Renderer(DocumentSettings(processes=1, queue_max=2))
    try:
        made = await asyncio.gather(*(renderer.pdf(document(SMALL)) for _ in range(9)), return_exceptions=True)
        assert [type(each) for each in made] == [bytes] * 3 + [RenderingBusy] * 6
        assert await renderer.pdf(document(SMALL)) == made[0]
    finally:
        await renderer.close()


async def test_one_that_takes_too_long_is_killed_and_the_next_is_made() -> None:
    renderer = Renderer(DocumentSettings())
    try:
        made = await renderer.pdf(document(SMALL))
        (process,) = own()
        process.suspend()
        hurried = Renderer(DocumentSettings(timeout_ms=1))
        with pytest.raises(RenderingBusy):
            await hurried.pdf(document(SMALL))
        await hurried.close()
        assert own() == [process], "what was started for who gave up is ended, too"
        renderer._settings = DocumentSettings(timeout_ms=200)
        with pytest.raises(RenderingBusy):
            await renderer.pdf(document(SMALL))
        assert not process.is_running()
        renderer._settings = DocumentSettings()
        assert await renderer.pdf(document(SMALL)) == made
    finally:
        await renderer.close()


async def test_a_document_that_cannot_be_set_is_a_fault_that_takes_nothing_down() -> None:
    renderer = Renderer(DocumentSettings())
    try:
        with pytest.raises(NotRendered):
            await renderer.pdf(replace(document(SMALL), paper="no paper"))
        (process,) = own()
        assert hashlib.sha256(await renderer.pdf(document(SMALL))).digest()
        assert own() == [process]
    finally:
        await renderer.close()
