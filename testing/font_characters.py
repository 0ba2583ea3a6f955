"""The characters that the fonts of documents have: documents/fonts/characters.txt, a range a line, in hexadecimal.

`python -m testing.font_characters > documents/fonts/characters.txt` writes it, after a font was changed.
"""

from fontTools.ttLib import TTFont

from documents.printable import FONTS


def font_characters() -> str:
    """The file's text."""
    known = sorted({code for path in FONTS.glob("*.ttf") for code in TTFont(path, lazy=True).getBestCmap()})
    ranges: list[list[int]] = []
    for code in known:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{first:X}-{last:X}\n" for first, last in ranges)


if __name__ == "__main__":
    print(font_characters(), end="")  # noqa: T201  its output is the file
