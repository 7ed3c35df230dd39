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
    (re.compile(rb".{0,1019}%PDF-", re.DOTALL), PDF),  # readers look for it that far
    (re.compile(rb"PK\x03\x04"), "application/zip"),
    (re.compile(rb"\x1f\x8b"), "application/gzip"),
    (re.compile(rb"\x7fELF"), "application/x-elf"),
)
_HTML = re.compile(
    rb"<(?:!--|(?:!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P)[\s>])",
    re.IGNORECASE,
)
_SVG = re.compile(rb"<svg[\s/>]", re.IGNORECASE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PROLOGUE = ((b"<?xml", b"?>"), (b"<!--", b"-->"), (b"<!doctype svg", b">"))


def detected(head: bytes) -> str | None:
    """The type that the first HEAD_BYTES tell, if any."""
    found = next((type for signature, type in _SIGNATURES if signature.match(head)), None)
    return found or detected_text(head.removeprefix(_BYTE_ORDER_MARK).lstrip())


def detected_text(text: bytes) -> str | None:
    if _HTML.match(text):
        return HTML
    return SVG if _SVG.match(without_prologue(text) if text.startswith(b"<?xml") else text) else None


def without_prologue(text: bytes) -> bytes:
    """What follows the declaration, the comments and the document type of an SVG, in one pass over them."""
    at = 0
    while (end := end_of_prologue(text, at)) is not None:
        at = end
        while text[at : at + 1].isspace():
            at += 1
    return text[at:]


def end_of_prologue(text: bytes, at: int) -> int | None:
    for begin, end in _PROLOGUE:
        if text[at : at + len(begin)].lower() == begin:
            subset = text.find(b"[", at) if begin.startswith(b"<!d") else -1
            inside = text.find(b"]", subset) if -1 < subset < text.find(end, at) else at
            found = text.find(end, inside) if inside >= 0 else -1
            return found + len(end) if found >= 0 else None
    return None


def normal(type: str) -> str:
    plain = type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def named_by(filename: str) -> str | None:
    """The certain type that a file's name claims."""
    return _EXTENSIONS.get(filename.rpartition(".")[2].lower()) if "." in filename else None
