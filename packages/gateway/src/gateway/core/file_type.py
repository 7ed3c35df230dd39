"""What a file is by its own bytes.

Only types that can be told for certain, under the names that PocketBase's detector gives them; a library with names of
its own would refuse what PocketBase allows. Where the bytes say nothing certain PocketBase decides.
"""

import re

HEAD_BYTES = 4096

PNG, JPEG, GIF, WEBP, PDF = "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"
SVG, HTML = "image/svg+xml", "text/html"
IMAGES = frozenset({PNG, JPEG, GIF, WEBP})

CERTAIN = IMAGES | {PDF, SVG, HTML}
"""Types that a file either is or is not: there is no other name under which PocketBase could know it."""

_EXTENSIONS = {
    "png": PNG,
    "jpg": JPEG,
    "jpeg": JPEG,
    "jfif": JPEG,
    "gif": GIF,
    "webp": WEBP,
    "pdf": PDF,
    "svg": SVG,
    "htm": HTML,
    "html": HTML,
    "xhtml": HTML,
}
_ALIASES = {"image/jpg": JPEG, "image/pjpeg": JPEG, "image/x-png": PNG, "application/x-pdf": PDF}
_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PNG),
    (re.compile(rb"\xff\xd8\xff"), JPEG),
    (re.compile(rb"GIF8[79]a"), GIF),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WEBP),
    (re.compile(rb"%PDF-"), PDF),
    (re.compile(rb"PK\x03\x04"), "application/zip"),
    (re.compile(rb"\x1f\x8b"), "application/gzip"),
    (re.compile(rb"\x7fELF"), "application/x-elf"),
    (
        re.compile(
            rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>\s*)?"
            rb"(?:<!--.{0,2000}?-->\s*|<!DOCTYPE\s+svg[^\[>]{0,500}(?:\[[^\]]{0,2000}\]\s*)?>\s*){0,20}<svg[\s>]",
            re.DOTALL | re.IGNORECASE,
        ),
        SVG,
    ),
    (
        re.compile(
            rb"(?:\xef\xbb\xbf)?\s*<"
            rb"(?:!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P)[\s>]",
            re.IGNORECASE,
        ),
        HTML,
    ),
)


def detected(head: bytes) -> str | None:
    """The type that the first HEAD_BYTES tell, if any."""
    return next((type for signature, type in _SIGNATURES if signature.match(head)), None)


def normal(type: str) -> str:
    plain = type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def named_by(filename: str) -> str | None:
    """The certain type that a file's name claims."""
    return _EXTENSIONS.get(filename.rpartition(".")[2].lower()) if "." in filename else None
