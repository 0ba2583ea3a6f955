"""What makes a PDF with an electronic invoice inside a Factur-X document: its metadata say which file that is.

The typesetter attaches the file and writes the metadata of PDF/A; it has no way to add to them. So they are written
once more behind the rest, as an incremental update (ISO 32000-2, 7.5.6): what is there stays as it is, byte for byte.
"""

import re
from typing import Final

from documents.electronic_invoice import FILE_NAME

NAMESPACE: Final = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_PROPERTIES: Final = {
    "DocumentType": "INVOICE",
    "DocumentFileName": FILE_NAME,
    "Version": "1.0",
    "ConformanceLevel": "EN 16931",
}
_EXTENSIONS: Final = b"<pdfaExtension:schemas><rdf:Bag>"
_END: Final = b"</rdf:RDF>"
_METADATA: Final = re.compile(
    rb"(?P<number>\d+) 0 obj\n(?P<head><</Length \d+/Type/Metadata/Subtype/XML>>)\nstream\n(?P<xmp>.*?)\nendstream",
    re.DOTALL,
)
_TRAILER: Final = re.compile(
    rb"trailer\n<<(?P<entries>/Size \d+/Root.*?)>>\nstartxref\n(?P<table>\d+)\n%%EOF\s*$", re.DOTALL
)


class NotOurs(Exception):
    """Not a PDF as the typesetter writes it: another release may write its end in another way."""


def with_metadata(pdf: bytes) -> bytes:
    """The same document, which says that it is an invoice of EN 16931 and in which file. Raises NotOurs."""
    found, trailer = _METADATA.search(pdf), _TRAILER.search(pdf)
    if found is None or trailer is None or _EXTENSIONS not in found["xmp"] or _END not in found["xmp"]:
        raise NotOurs
    xmp = found["xmp"].replace(_EXTENSIONS, _EXTENSIONS + _schema()).replace(_END, _said() + _END)
    offset = len(pdf) + 1
    number = found["number"]
    update = b"\n%s 0 obj\n<</Length %d/Type/Metadata/Subtype/XML>>\nstream\n%s\nendstream\nendobj\n" % (
        number,
        len(xmp),
        xmp,
    )
    table = len(pdf) + len(update)
    end = b"xref\n%s 1\n%010d 00000 n \ntrailer\n<<%s/Prev %s>>\nstartxref\n%d\n%%%%EOF" % (
        number,
        offset,
        trailer["entries"],
        trailer["table"],
        table,
    )
    return pdf + update + end


def _said() -> bytes:
    said = "".join(f"<fx:{name}>{value}</fx:{name}>" for name, value in _PROPERTIES.items())
    return f'<rdf:Description rdf:about="" xmlns:fx="{NAMESPACE}">{said}</rdf:Description>'.encode()


def _schema() -> bytes:
    """PDF/A knows no property that its metadata do not describe (ISO 19005-3, 6.6.2.3)."""
    properties = "".join(
        '<rdf:li rdf:parseType="Resource">'
        f"<pdfaProperty:name>{name}</pdfaProperty:name><pdfaProperty:valueType>Text</pdfaProperty:valueType>"
        "<pdfaProperty:category>external</pdfaProperty:category>"
        f"<pdfaProperty:description>{name}</pdfaProperty:description></rdf:li>"
        for name in _PROPERTIES
    )
    return (
        '<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>'
        f"<pdfaSchema:namespaceURI>{NAMESPACE}</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix>"
        f"<pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property></rdf:li>"
    ).encode()
