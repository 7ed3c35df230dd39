from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.multipart_reader import PART_ENDED, MultipartReader, PartEvent
from gateway.core.bodies.part_head import PartHead
from gateway.core.body_refusals import MalformedBody
from gateway.core.refusals import TooLarge

FORM = (
    b'--q\r\nContent-Disposition: form-data; name="title"\r\n\r\na\r\n-b\r\n'
    b'--q\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\nContent-Type: image/png\r\n\r\n'
    b"\r\n--p\r\n--\r\n"
    b"--q--\r\n"
)


def events(chunks: list[bytes]) -> list[PartEvent]:
    """Data that belongs together is put together."""
    reader, told = MultipartReader(b"q"), list[PartEvent]()
    for chunk in chunks:
        for event in reader.feed(chunk):
            last = told[-1] if told else None
            if isinstance(event, bytes) and isinstance(last, bytes):
                told[-1] = last + event
            else:
                told.append(event)
    reader.finish()
    return told


PARTS = [
    PartHead("title", None, ""),
    b"a\r\n-b",
    PART_ENDED,
    PartHead("f", "x.bin", "image/png"),
    b"\r\n--p\r\n--",
    PART_ENDED,
]


@given(st.lists(st.integers(0, len(FORM)), max_size=30))
def test_a_form_means_the_same_however_it_is_cut_up(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FORM)]
    chunks = [FORM[start:end] for start, end in pairwise(edges)]
    assert events([chunk for chunk in chunks if chunk]) == PARTS


@pytest.mark.parametrize(
    "form",
    [
        FORM[:-5],
        FORM[:-40],
        FORM.replace(b"\r\n", b"\n"),
        b"--q\r\n",
        b"",
        b"--r--\r\n" * 3,
        b"--q\r\n\r\nx\r\n--q--\r\n",
        b'--q\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--q--\r\n',
        b'--q\r\nContent-Disposition: form-data; name="a"; name="b"\r\n\r\nx\r\n--q--\r\n',
        b'--q\r\nContent-Disposition: form-data; name="a"\r\nContent-Length: 9\r\n\r\nx\r\n--q--\r\n',
        b'--q\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--q--\r\n',
    ],
)
def test_a_form_that_is_not_well_formed_is_refused(form: bytes) -> None:
    with pytest.raises(MalformedBody):
        events([form[:3], form[3:40], form[40:]] if form else [])


@pytest.mark.parametrize("cut", [1, 100, len(FORM), len(FORM) + 5])
def test_what_stands_around_the_form_is_passed_over(cut: int) -> None:
    form = b"before\r\n" + FORM + b'--q\r\nContent-Disposition: form-data; name="n"\r\n\r\n5\r\n--q--\r\n'
    assert events([form[:cut], form[cut:]]) == PARTS


def test_a_folded_head_is_one_head() -> None:
    form = b"--q\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\nx\r\n--q--\r\n"
    assert events([form]) == [PartHead("a", None, ""), b"x", PART_ENDED]


def test_a_form_with_nothing_in_it_is_one() -> None:
    assert events([b"--q--\r\n"]) == []


@pytest.mark.parametrize(
    "form",
    [
        b'--q\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 1001,
        b"--q\r\nContent-Disposition: " + b"x" * 5000,
        b"--q\r\n" + b"X-A: b\r\n" * 9,
    ],
)
def test_parts_and_heads_are_bounded(form: bytes) -> None:
    with pytest.raises(TooLarge):
        events([form])
