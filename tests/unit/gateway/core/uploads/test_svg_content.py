import pytest

from gateway.core.uploads.svg_content import MAX_SVG_BYTES, ActiveContent, SvgScan
from tests import pictures


def scan(*chunks: bytes) -> None:
    scan = SvgScan()
    for chunk in chunks:
        scan.feed(chunk)
    scan.finish()


def svg(inner: str, attributes: str = "") -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{inner}</svg>'
    ).encode()


@pytest.mark.parametrize(
    "data",
    [
        pictures.SVG,
        svg('<a xlink:href="https://example.com"><text>javascript and onload in prose</text></a>'),
        svg('<image href="data:image/png;base64,AAAA"/><style>rect { fill: url(#a) }</style>'),
        b'<!DOCTYPE svg [<!ENTITY ns "http://www.w3.org/2000/svg">]><svg xmlns="&ns;"/>',
        svg("<text>é</text>").decode().encode("utf-16"),
    ],
)
def test_pictures_pass_however_they_are_cut_up(data: bytes) -> None:
    scan(data)
    scan(*(data[at : at + 1] for at in range(len(data))))


@pytest.mark.parametrize(
    "data",
    [
        svg("<script>alert(1)</script>"),
        svg("<SCRIPT/>"),
        svg('<s:script xmlns:s="http://www.w3.org/2000/svg"/>'),
        svg("", 'onload="alert(1)"'),
        svg('<rect OnClick="x"/>'),
        svg('<rect ev:onclick="x" xmlns:ev="y"/>'),
        svg('<a href="javascript:alert(1)"/>'),
        svg('<a xlink:href=" java&#10;script&#x3a;alert(1)"/>'),
        svg('<a href="JAVASCRIPT:x"/>'),
        svg('<set attributeName="href" to="javascript:alert(1)"/>'),
        svg('<use href="data:image/svg+xml;base64,AAAA"/>'),
        svg('<iframe src="data:text/html,x"/>'),
        svg("<foreignObject><b/></foreignObject>"),
        b'<!DOCTYPE svg [<!ENTITY s "<script>alert(1)</script>">]><svg>&s;</svg>',
        b'<!DOCTYPE svg [<!ENTITY j "javascript:alert(1)">]><svg href="&j;"/>',
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b'<?xml-stylesheet href="x.xsl"?><svg/>',
        svg("<script/>").decode().encode("utf-16"),
        b"<svg><rect></svg>",
        b"<svg>",
        b"",
        b"\x89PNG",
        b"<svg/>" + b"<script/>",
        b"<svg>" + b" " * MAX_SVG_BYTES,
        b"<!DOCTYPE svg ["
        + b"".join(
            b'<!ENTITY %c "%s">' % (letter + 1, b"&%c;" % letter * 50) for letter in range(ord("a"), ord("k"))
        ).replace(b"&a;", b"lol")
        + b"]><svg>&k;</svg>",
    ],
)
def test_what_would_run_or_is_not_well_formed_is_refused(data: bytes) -> None:
    with pytest.raises(ActiveContent):
        scan(data)
