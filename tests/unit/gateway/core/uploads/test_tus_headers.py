"""What requests of tus say in their headers."""

import base64

import pytest

from common.core.errors import InvalidRequest
from gateway.core.refusals import OtherVersion
from gateway.core.uploads.tus_headers import (
    Checksum,
    check_version,
    checksum_of,
    discovery,
    intent_of,
    method_of,
    number,
    progress,
    upload_of,
)

LENGTH = (b"upload-length", b"5")


def metadata(**values: str) -> tuple[bytes, bytes]:
    told = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())
    return (b"upload-metadata", told.encode())


def test_metadata_say_what_an_upload_is_for() -> None:
    told = metadata(collection="c", field="f", filename="ä.txt", filetype="text/plain", fields='{"a":1}', other="x")
    intent = intent_of([LENGTH, told])
    assert (intent.collection, intent.name, intent.content_type, intent.size) == ("c", "ä.txt", "text/plain", 5)
    assert intent.others() == {"a": 1}
    assert intent_of([LENGTH, metadata(collection="c", field="f", name="n", type="t")]).name == "n"


@pytest.mark.parametrize(
    "headers",
    [
        [LENGTH],
        [metadata(collection="c", field="f", filename="n")],
        [LENGTH, LENGTH, metadata(collection="c", field="f", filename="n")],
        [LENGTH, metadata(collection="", field="f", filename="n")],
        [LENGTH, metadata(collection="c", field="f", filename="n", sha256="x")],
        [LENGTH, metadata(collection="c" * 256, field="f", filename="n")],
        [LENGTH, (b"upload-metadata", b"collection =")],
        [LENGTH, (b"upload-metadata", b"collection /w==")],
        [(b"upload-length", b"1e3"), metadata(collection="c", field="f", filename="n")],
    ],
)
def test_what_cannot_be_read_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequest):
        intent_of(headers)


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+1", b"1.0", b"0x1", b"1" * 16, b" 1", "\N{ARABIC-INDIC DIGIT ONE}".encode()]
)
def test_a_number_is_plain_digits(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        number([(b"upload-offset", text)], b"upload-offset")


def test_checksums_are_of_two_kinds() -> None:
    digest = base64.b64encode(bytes(20))
    assert checksum_of([]) is None
    assert checksum_of([(b"upload-checksum", b"sha1 " + digest)]) == Checksum("sha1", bytes(20))
    for told in (b"sha256 " + digest, b"md5 " + digest, b"sha1", b"sha1 !", b""):
        with pytest.raises(InvalidRequest):
            checksum_of([(b"upload-checksum", told)])


def test_one_version_is_spoken() -> None:
    check_version([(b"tus-resumable", b"1.0.0")])
    for headers in ([], [(b"tus-resumable", b"2.0.0")]):
        with pytest.raises(OtherVersion):
            check_version(headers)


@pytest.mark.parametrize(
    ("path", "id"),
    [
        (b"/api/files/tus", ""),
        (b"/api/files/tus/", ""),
        (b"/api/files/tus/x", "x"),
        (b"/api/files/tus/x/y", None),
        (b"/api/files/tusk", None),
        (b"/api/files/notes/x/y", None),
        (b"/api/Files/tus", None),
    ],
)
def test_a_path_of_tus_is_told_from_files(path: bytes, id: str | None) -> None:
    assert upload_of(path) == id


def test_other_methods_hide_in_a_post_alone() -> None:
    override = [(b"x-http-method-override", b"PATCH")]
    assert method_of("POST", override) == "PATCH"
    assert method_of("GET", override) == "GET"
    assert method_of("POST", [(b"x-http-method-override", b"GET")]) == "POST"


def test_answers_say_how_far_it_is_and_for_how_long() -> None:
    told = dict(progress(3, length=5, expires=0))
    assert (told[b"upload-offset"], told[b"upload-expires"]) == (b"3", b"Thu, 01 Jan 1970 00:00:00 GMT")
    assert dict(discovery(7))[b"tus-max-size"] == b"7"
