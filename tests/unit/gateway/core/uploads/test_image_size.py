import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.uploads.file_type import GIF, IMAGES, JPEG, PNG, WEBP
from gateway.core.uploads.image_size import LOOK_BYTES, Hidden, Size, look_into
from tests import pictures
from tests.pictures import extended, frame, lossless, lossy, webp


def size_of(type: str, data: bytes) -> Size | None:
    look = look_into(type)
    if look is None:
        return None
    try:
        offset = next(look)
        while True:
            offset = look.send(data[offset : offset + LOOK_BYTES])
    except StopIteration as found:
        return found.value


sides = st.integers(1, 16_383)


@given(sides, sides)
def test_every_kind_of_image_tells_its_size(width: int, height: int) -> None:
    size = Size(width, height)
    assert size_of(PNG, pictures.png(width, height)) == size
    assert size_of(GIF, pictures.gif(width, height)) == size
    assert size_of(JPEG, pictures.jpeg((width, height))) == size
    for picture in (lossy, lossless, extended):
        assert size_of(WEBP, webp(picture(width, height))) == size


def test_a_picture_that_is_larger_than_its_canvas_counts() -> None:
    assert size_of(WEBP, webp(extended(1, 1), lossy(9000, 9000))) == Size(9000, 9000)
    assert size_of(WEBP, webp(extended(1, 1), frame(700, 600), frame(8000, 1))) == Size(700, 600)


def test_the_largest_of_several_frame_headers_counts() -> None:
    assert size_of(JPEG, pictures.jpeg((1, 1), (30_000, 30_000), (2, 2))) == Size(30_000, 30_000)


def test_a_frame_header_is_found_behind_much_else() -> None:
    assert size_of(JPEG, pictures.jpeg((7, 8), padding=9_000_000)) == Size(7, 8)
    assert size_of(JPEG, pictures.jpeg((7, 8), fill=b"\xff\xff\xff\xd0\xff\x01")) == Size(7, 8)
    assert size_of(WEBP, webp(pictures.webp_chunk(b"JUNK", bytes(3_000_001)), extended(7, 8))) == Size(7, 8)


@pytest.mark.parametrize("length", [*range(LOOK_BYTES - 20, LOOK_BYTES + 20), 3 * LOOK_BYTES])
@pytest.mark.parametrize("one", [b"\xff", b"x", b"\0"])
def test_a_frame_header_is_found_wherever_a_look_ends(one: bytes, length: int) -> None:
    """Go's decoder passes over what is no segment, and would unpack the image."""
    assert size_of(JPEG, pictures.jpeg((7, 8), fill=one * length)) == Size(7, 8)


@pytest.mark.parametrize("fill", [b"\xff\xd0" * 5000, b"\xff\xe0\x00\x02" * 5000])
def test_a_size_behind_more_than_any_image_has_before_it_is_hidden(fill: bytes) -> None:
    with pytest.raises(Hidden):
        size_of(JPEG, pictures.jpeg((7, 8), fill=fill))
    with pytest.raises(Hidden):
        size_of(WEBP, webp(pictures.webp_chunk(b"JUNK", b"") * 5000, extended(7, 8)))


@pytest.mark.parametrize(
    ("type", "head"),
    [
        (PNG, pictures.png()[:20]),
        (PNG, b"\x89PNG\r\n\x1a\n" + bytes(40)),
        (GIF, b"GIF89a\1"),
        (WEBP, webp()),
        (WEBP, webp(pictures.webp_chunk(b"VP8 ", bytes(20)))),
        (WEBP, webp(pictures.webp_chunk(b"VP8L", bytes(20)))),
        (WEBP, webp(pictures.webp_chunk(b"ANMF", bytes(10)))),
        (JPEG, b"\xff\xd8\xff\xd9"),
        (JPEG, b"\xff\xd8\xff\xda\x00\x02" + pictures.jpeg()),
        (JPEG, b"\xff\xd8\xff\xc0\x00\x02" + bytes(20)),
        (JPEG, b"\xff\xd8garbage"),
        (JPEG, b"\xff\xd8" + b"\xff\xd0" * 500),
        (JPEG, b"\xff\xd8\xff\xe0\x00\x00" * 5000),
        ("text/plain", b"x" * 100),
    ],
)
def test_what_tells_no_size_has_none(type: str, head: bytes) -> None:
    assert size_of(type, head) is None


@given(st.sampled_from(sorted(IMAGES)), st.binary(max_size=300))
def test_nonsense_is_survived(type: str, head: bytes) -> None:
    size_of(type, head)


@given(st.integers(0, 200), st.binary(max_size=8))
def test_damaged_images_are_survived(at: int, damage: bytes) -> None:
    for type, data in ((JPEG, pictures.jpeg((5, 5), (6, 6))), (WEBP, webp(extended(5, 5), frame(1, 1), lossy(6, 6)))):
        size_of(type, data[:at] + damage + data[at + len(damage) :])
