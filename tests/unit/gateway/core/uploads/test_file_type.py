import pytest

from gateway.core.uploads.file_type import GIF, HTML, JPEG, PDF, PNG, SVG, WEBP, detected, named_by, normal
from tests import pictures


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (pictures.png(), PNG),
        (pictures.jpeg(), JPEG),
        (pictures.gif(), GIF),
        (b"GIF87a", GIF),
        (pictures.webp(pictures.lossy(1, 1)), WEBP),
        (pictures.PDF, PDF),
        (pictures.SVG, SVG),
        (b"\xef\xbb\xbf \n<SVG>", SVG),
        (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x" [<!ENTITY a "b">]><svg >', SVG),
        (pictures.HTML, HTML),
        (b"  <script>alert(1)</script>", HTML),
        (b"<A href=x>", HTML),
        (pictures.ZIP, "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"\x7fELF", "application/x-elf"),
    ],
)
def test_types_are_told_from_the_first_bytes(data: bytes, type: str) -> None:
    assert detected(data) == type


@pytest.mark.parametrize(
    "data", [b"", b"plain", b"GIF", b"\x89PN", b"<xml><svg>", b"RIFF1234WAVE", b"<bold>", b"<?xml?><rss>"]
)
def test_what_cannot_be_told_is_not_guessed(data: bytes) -> None:
    assert detected(data) is None


def test_a_long_head_of_comments_does_not_take_long() -> None:
    assert detected(b"<!--" + b"-->\n<!--" * 500 + b"x") == HTML
    assert detected(b"<!--" * 1000) == HTML
    assert detected(b"<?xml?>" + b"<!doctype svg [" * 300) is None
    assert detected(b"<?xml?>" + b"<!doctype svg><!---->" * 200 + b"<svg>") == SVG


def test_a_name_claims_a_type() -> None:
    assert [named_by(name) for name in ("a.PNG", "a.b.jpeg", "png", "a.txt", "a.")] == [PNG, JPEG, None, None, None]


def test_types_have_one_name() -> None:
    assert [normal(type) for type in ("Image/JPG", "text/html; charset=utf-8", "application/x-y")] == [
        JPEG,
        HTML,
        "application/x-y",
    ]
