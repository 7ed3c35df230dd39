import pytest

from gateway.core.bodies.media_type import MediaType, of_request, parsed
from gateway.core.body_refusals import MalformedBody, UnsupportedType

LENGTH = (b"content-length", b"5")
JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/json", "json"),
        ("application/json; charset=utf-8", "json"),
        ('application/json;charset="UTF-8"', "json"),
        ("application/json;", "json"),
        (" application/json ", "json"),
        ("application/x-www-form-urlencoded", "form"),
        ("application/x-www-form-urlencoded; charset=UTF-8", "form"),
    ],
)
def test_json_and_forms_are_read(value: str, kind: str) -> None:
    assert parsed(value).kind == kind


def test_a_multipart_form_has_its_boundary() -> None:
    assert parsed("multipart/form-data; boundary=----WebKit7x") == MediaType("multipart", b"----WebKit7x")
    assert parsed('multipart/form-data; charset=utf-8; BOUNDARY="a b"') == MediaType("multipart", b"a b")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "application/jsonfoo",
        "application/json5",
        "Application/JSON",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; version=1",
        "application/json charset=utf-8",
        "application/problem+json",
        "text/json",
        "text/plain",
        "text/xml",
        "application/xml",
        "application/x-www-form-urlencodedX",
        "application/x-www-form-urlencoded; charset=latin1",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary*=utf-8''a",
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/form-datax; boundary=a",
        "multipart/mixed; boundary=a",
        "application/json\x00",
    ],
)
def test_other_types_are_refused_however_much_pocketbase_would_take_them_for_one_it_knows(value: str) -> None:
    with pytest.raises(UnsupportedType):
        parsed(value)


def test_without_a_body_no_type_is_asked_for() -> None:
    assert of_request("POST", []).kind == "none"
    assert of_request("POST", [(b"content-length", b"0"), (b"content-type", b"text/xml")]).kind == "none"
    assert of_request("DELETE", []).kind == "none"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("length", [LENGTH, (b"transfer-encoding", b"chunked")])
def test_a_body_that_pocketbase_would_read_into_rules_is_refused(method: str, length: tuple[bytes, bytes]) -> None:
    with pytest.raises(MalformedBody):
        of_request(method, [length, JSON])


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"zstd", b"identity, gzip", b"", b"x"])
def test_a_coded_body_is_refused_since_pocketbase_would_not_decode_it(coding: bytes) -> None:
    with pytest.raises(UnsupportedType):
        of_request("POST", [LENGTH, JSON, (b"content-encoding", coding)])


def test_the_coding_that_is_none_passes() -> None:
    assert of_request("PATCH", [LENGTH, JSON, (b"content-encoding", b"Identity")]).kind == "json"


@pytest.mark.parametrize("types", [[], [JSON, JSON], [JSON, (b"content-type", b"multipart/form-data; boundary=a")]])
def test_a_body_has_exactly_one_type(types: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(UnsupportedType):
        of_request("POST", [LENGTH, *types])


def test_only_forms_take_their_query_for_fields() -> None:
    assert [MediaType(kind).is_form for kind in ("none", "json", "form", "multipart")] == [False, False, True, True]
