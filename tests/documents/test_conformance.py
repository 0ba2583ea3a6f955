"""Documents are what they claim to be: PDF/A-3a and PDF/UA-1, by veraPDF, the validator of the PDF Association."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from documents.invoice_document import Document
from documents.rendering_process import Typesetter
from documents.words import WORDS
from domain.invoicing.finalization import InvoiceVoided
from host.embedded.jars import jars_of, kafka_jars
from host.embedded.java import find_java
from infra.settings import GeneralSettings, Settings, cache_dir
from testing.examples.streams import INVOICE_ID
from testing.examples.usage import METER_ID, TIERS
from testing.moments import utc
from tests.documents.examples import ADA, as_sent, document, invoice, line, used
from tests.documents.test_rendering import HOSTILE
from tests.lengths import LENGTH

LOCK = Path(__file__).with_name("verapdf.lock")
CLAIMS = ("3a", "ua1")
MAIN = "org.verapdf.apps.GreenfieldCliWrapper"


def documents() -> Iterator[Document]:
    """In every language; long, void, erased; with texts that mean harm, as many as the length of the tests says."""
    lines = [line(nth, (-1) ** (nth + 1) * nth * 1_000 + 1) for nth in range(60)]
    void = InvoiceVoided(invoice_id=INVOICE_ID, voided_at=utc("2026-01-02"))
    for language in WORDS:
        yield document(invoice(lines[:2]), locale=language)
        yield document(invoice([used(1, TIERS, 7), used(2, TIERS, -7)]), locale=language, units={METER_ID: "GB"})
    yield document(invoice(lines, void), locale="ja-JP")
    yield document(invoice(lines[:2]), is_erased=True, person=None, locale="en-US")
    yield document(invoice(lines[:2]), person={**ADA, "name": "محمد בן 株式会社 김철수 हिन्दी สวัสดี 😀"})
    yield replace(document(invoice(lines[:2])), xml="<invoice/>")
    for text in HOSTILE[-LENGTH.scaled(2) :]:
        yield document(invoice([line(1, 100, description=text)]))


def test_every_document_is_of_the_standards_that_it_claims(tmp_path: Path) -> None:
    typesetter = Typesetter()
    files = []
    for nth, each in enumerate(documents()):
        files.append(tmp_path / f"{nth:03}.pdf")
        files[-1].write_bytes(typesetter.pdf(as_sent(each)))
    cache = cache_dir(Settings(general=GeneralSettings()))
    jars = kafka_jars(cache, timeout_s=60, jars=jars_of(LOCK.read_text(encoding="ascii")))
    java = find_java().executable
    # Without --flavour it checks whatever a document's metadata claim.
    asked = ["-XX:TieredStopAtLevel=1", "-cp", os.pathsep.join(map(str, jars)), MAIN, "--format", "text", "-v"]
    told = subprocess.run([java, *asked, *files], capture_output=True, text=True, timeout=300, check=False)
    found = {line for line in told.stdout.splitlines() if line.startswith(("PASS", "FAIL"))}
    assert found == {f"PASS {file} {claim}" for file in files for claim in CLAIMS}, told.stdout + told.stderr
