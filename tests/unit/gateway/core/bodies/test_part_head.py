import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.part_head import MAX_FILENAME_CHARACTERS, PartHead, parsed, safe_filename
from gateway.core.body_refusals import MalformedBody


def disposed(disposition: str, *others: tuple[str, str]) -> PartHead:
    return parsed([("Content-Disposition", disposition), *others])


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('form-data; name="title"', "title", None),
        ("form-data; name=title", "title", None),
        ('Form-Data ; NAME="title";', "title", None),
        ('form-data; name="f"; filename="a.txt"', "f", "a.txt"),
        ('form-data; name="f"; filename=""', "f", None),
        ('form-data; name="+f"; filename="€ 😀\u202f.txt"', "+f", "€ 😀\u202f.txt"),
        ('form-data; name="f"; filename="../../x/b.txt"', "f", "b.txt"),
        ('form-data; name="f"; filename="x/"', "f", "x"),
        ('form-data; name="f"; filename="/"', "f", "_"),
        ('form-data; name="f"; filename="C:\\dir\\b.txt"', "f", "C:_dir_b.txt"),
        ('form-data; name="f"; filename="a\\"b;c=\\"d.txt"', "f", "a_b;c=_d.txt"),
        ('form-data; name="f"; filename="a%22b.txt"', "f", "a%22b.txt"),
        ("form-data; name=\"f\"; filename*=UTF-8''%e2%82%ac.txt", "f", "€.txt"),
        ('form-data; name="f"; filename="x.txt"; filename*=utf-8\'en\'y.txt', "f", "y.txt"),
    ],
)
def test_a_part_is_a_file_if_it_has_a_file_name(disposition: str, name: str, filename: str | None) -> None:
    assert disposed(disposition) == PartHead(name, filename, "")


@pytest.mark.parametrize(
    "disposition",
    [
        "",
        "form-data",
        "form-data; name=",
        'form-data; name=""',
        'form-data; filename="a"',
        'attachment; name="a"',
        'form-datax; name="a"',
        'form-data; name="a"; name="b"',
        'form-data; name="a"; NAME="b"',
        'form-data; name="a"; filename="x"; filename="y"',
        "form-data; name*=utf-8''a",
        "form-data; name*0=a; name*1=b",
        'form-data; name="a"; filename*0="x"; filename*1="y"',
        'form-data; name="a"; size=5',
        'form-data; name="a\\b"',
        'form-data; name="a\x01"',
        'form-data; name="a"; filename="x\x00.txt"',
        'form-data; name="a"; filename="x\x7f.txt"',
        'form-data; name="a',
        'form-data; name="a"b"',
        'form-data, name="a"',
        'form-data; name = "a"',
        "form-data; name=\"a\"; filename*=latin1''%e9",
        "form-data; name=\"a\"; filename*=utf-8''%ff",
        "form-data; name=\"a\"; filename*=utf-8''%0d",
        "form-data; name=\"a\"; filename*=utf-8''",
        'form-data; name="a"; filename*="x"',
        f'form-data; name="{"a" * 301}"',
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_refused(disposition: str) -> None:
    with pytest.raises(MalformedBody):
        disposed(disposition)


def test_a_part_without_a_disposition_is_refused() -> None:
    with pytest.raises(MalformedBody):
        parsed([("Content-Type", "text/plain")])


@pytest.mark.parametrize("coding", ["quoted-printable", "base64", "Quoted-Printable", "x", ""])
def test_a_coding_that_go_would_undo_is_refused(coding: str) -> None:
    with pytest.raises(MalformedBody):
        disposed('form-data; name="a"', ("Content-Transfer-Encoding", coding))


@pytest.mark.parametrize("coding", ["binary", "8bit", "7bit"])
def test_a_coding_that_changes_nothing_passes(coding: str) -> None:
    assert disposed('form-data; name="a"', ("Content-Transfer-Encoding", coding)).name == "a"


def test_a_header_given_twice_is_refused() -> None:
    with pytest.raises(MalformedBody):
        disposed('form-data; name="a"', ("content-disposition", 'form-data; name="b"'))


def test_the_declared_type_is_told_without_its_parameters() -> None:
    assert disposed('form-data; name="a"', ("Content-Type", "Image/PNG; x=1")).declared_type == "image/png"


@given(st.text())
def test_a_safe_file_name_ends_no_quotation_and_no_path(name: str) -> None:
    safe = safe_filename(name)
    assert safe
    assert not set('"\\/') & set(safe)
    assert len(safe) <= MAX_FILENAME_CHARACTERS


def test_an_overlong_file_name_keeps_its_extension() -> None:
    assert safe_filename("a" * 1000 + ".png").endswith("a.png")
