from typing import Any

import pytest

from gateway.core.uploads.file_type import GIF, PNG, SVG
from gateway.core.uploads.image_size import Size
from gateway.core.uploads.upload_checks import (
    DEFAULT_MAX_BYTES,
    PLAIN_BODY_BYTES,
    FileField,
    accepts,
    count_errors,
    disguise_error,
    file_fields,
    image_error,
    max_body_bytes,
    needs_scan,
    type_error,
)
from tests import pictures
from tests.bodies import uploaded

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml")


def field(*types: str, max_files: int = 1) -> FileField:
    return FileField("f", 1000, max_files, frozenset(types))


def test_fields_are_read_from_a_collection_with_the_defaults_of_pocketbase() -> None:
    row: dict[str, Any] = {
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "f", "type": "file", "maxSize": 0, "maxSelect": 0, "mimeTypes": None},
            {"name": "g", "type": "file", "maxSize": 7, "maxSelect": 3, "mimeTypes": ["Image/JPG", "image/png"]},
        ]
    }
    fields = file_fields(row)
    assert fields == {
        "f": FileField("f", DEFAULT_MAX_BYTES, 1, frozenset()),
        "g": FileField("g", 7, 3, frozenset({"image/jpeg", "image/png"})),
    }
    assert max_body_bytes(fields) == PLAIN_BODY_BYTES + DEFAULT_MAX_BYTES + 21
    assert file_fields({"fields": None}) == {}


def test_files_are_accepted_under_the_names_that_pocketbase_looks_under() -> None:
    limit = accepts({"f": field()})
    keys = ["f", "+f", "f+", "f-", "+f+", "f ", "F", "title", "f:autogenerate", ""]
    assert [limit(key) for key in keys] == [1000, 1000, 1000, *[None] * 7]


def test_more_new_files_than_the_field_holds_are_an_error() -> None:
    files = [uploaded(b"", key=key) for key in ("f", "f+", "other")]
    assert count_errors({"f": field(max_files=2)}, files) == {}
    error = count_errors({"f": field()}, files)["f"]
    assert (error.code, error.params) == ("validation_too_many_files", {"maxSelect": 1})


@pytest.mark.parametrize(
    ("types", "data", "filename", "declared"),
    [
        ((), b"anything", "a.png", "image/png"),
        ((), pictures.gif(), "a.png", "image/png"),
        (IMAGES, pictures.png(), "a.png", "image/png"),
        (IMAGES, pictures.png(), "a.bin", "application/octet-stream"),
        (IMAGES, pictures.png(), "noextension", ""),
        (IMAGES, pictures.jpeg(), "a.JPEG", "image/jpg"),
        (IMAGES, pictures.SVG, "a.svg", "image/svg+xml"),
        (("application/pdf",), pictures.PDF, "a.pdf", "application/pdf"),
        (("text/plain", "image/png"), b"text", "a.txt", "text/plain"),
        (("application/vnd.oasis.opendocument.text",), pictures.ZIP, "a.odt", ""),
        (("text/html",), pictures.HTML, "a.html", "text/html"),
        (("text/html", "text/plain"), b"<!-- x --><html>", "a.html", "text/html"),
    ],
)
def test_what_a_field_allows_passes(types: tuple[str, ...], data: bytes, filename: str, declared: str) -> None:
    assert type_error(field(*types), uploaded(data, filename=filename, declared=declared)) is None


@pytest.mark.parametrize(
    ("types", "data", "filename", "declared"),
    [
        (IMAGES, pictures.gif(), "a.png", ""),
        (IMAGES, pictures.gif(), "a.gif", "image/png"),
        (IMAGES, pictures.png(), "a.html", ""),
        (IMAGES, pictures.png(), "a.svg", ""),
        (IMAGES, pictures.HTML, "a.png", "image/png"),
        (IMAGES, b"no image", "a.png", "image/png"),
        (IMAGES, b"", "a.png", "image/png"),
        (IMAGES, pictures.ZIP, "a.png", "image/png"),
        (("image/png",), pictures.gif(), "a.gif", "image/gif"),
        (("image/png",), pictures.SVG, "a.svg", "image/svg+xml"),
        (("image/png", "text/plain"), b"text", "a.png", ""),
        (("image/png", "text/plain"), b"text", "a.txt", "image/png"),
        (("text/plain",), pictures.HTML, "a.txt", "text/plain"),
    ],
)
def test_what_a_field_does_not_allow_or_what_is_not_what_it_claims_is_an_error(
    types: tuple[str, ...], data: bytes, filename: str, declared: str
) -> None:
    error = type_error(field(*types), uploaded(data, filename=filename, declared=declared))
    assert error
    assert error.code == "validation_invalid_mime_type"


def test_an_image_that_unpacks_to_too_much_is_an_error_in_any_field() -> None:
    error = image_error(field(), uploaded(pictures.png()), Size(1001, 1000), 1_000_000)
    assert error
    assert (error.code, error.params["maxPixels"]) == ("validation_image_too_large", 1_000_000)


@pytest.mark.parametrize("size", [None, Size(0, 5)])
def test_an_image_without_a_size_is_an_error_where_images_are_wanted(size: Size | None) -> None:
    assert image_error(field(), uploaded(pictures.png()), size, 100) is None
    error = image_error(field(PNG), uploaded(pictures.png()), size, 100)
    assert error
    assert error.code == "validation_invalid_image"


def test_a_small_image_passes() -> None:
    assert image_error(field(PNG), uploaded(pictures.png()), Size(10, 10), 100) is None


@pytest.mark.parametrize(
    "data",
    [
        pictures.gif()[:13] + b"/*<ScRiPt>*/" + pictures.gif(),
        pictures.png(tail=b"<?php system($_GET[0]); ?>"),
        pictures.png(tail=b"PK\x05\x06" + bytes(18)),
        pictures.gif(tail=b"<html><body>"),
        b"GIF89a%PDF-1.7" + bytes(20),
    ],
)
def test_an_image_that_is_something_else_as_well_is_an_error_where_images_are_wanted(data: bytes) -> None:
    assert disguise_error(field(PNG, GIF), uploaded(data), data)
    assert disguise_error(field(), uploaded(data), data) is None


def test_an_image_that_is_one_is_no_error() -> None:
    data = pictures.png()
    assert disguise_error(field(PNG), uploaded(data), data) is None


def test_only_an_svg_among_images_is_read_to_its_end() -> None:
    assert needs_scan(field(SVG), uploaded(pictures.SVG))
    assert not needs_scan(field(SVG, "text/html"), uploaded(pictures.SVG))
    assert not needs_scan(field(PNG), uploaded(pictures.png()))
