"""What is refused of a file for its type the real PocketBase refuses as well, unless the file claims to be another."""

import gzip
import itertools
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from gateway.core.uploads.upload_checks import FileField, file_fields, type_error
from tests import pictures
from tests.bodies import MULTIPART, file, multipart, uploaded
from tests.servers.pocketbase import PocketBaseServer

TYPES: dict[str, list[str]] = {
    "png": ["image/png"],
    "images": ["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"],
    "pdf": ["application/pdf"],
    "html": ["text/html"],
    "text": ["text/plain"],
    "zip": ["application/zip"],
    "mixed": ["image/jpeg", "text/plain; charset=utf-8", "application/zip"],
}
SAMPLES = {
    "png": pictures.png(),
    "gif": pictures.gif(),
    "jpeg": pictures.jpeg(),
    "webp": pictures.webp(pictures.lossy(2, 2)),
    "svg": pictures.SVG,
    "plain svg": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "html": pictures.HTML,
    "fragment": b"<p>text</p>",
    "commented html": b"<!-- a --><html></html>",
    "pdf": pictures.PDF,
    "zip": pictures.ZIP,
    "gzip": gzip.compress(b"x"),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
    "text": b"some text",
    "json": b'{"a":1}',
    "xml": b'<?xml version="1.0"?><rss></rss>',
    "nothing": b"",
    "binary": bytes(range(256)),
    "truncated png": b"\x89PNG\r\n",
    "late pdf": b"\n" * 20 + pictures.PDF,
    "later pdf": b"x" * 1015 + pictures.PDF,
    "too late pdf": b"x" * 1100 + pictures.PDF,
    "zip with a pdf": pictures.ZIP + pictures.PDF,
    "comment": b"<!-- a -->",
    "commented svg": b"<!-- a --><!-- b --><svg></svg>",
    "declared svg": b'<?xml version="1.0"?><!-- a --><!DOCTYPE svg [<!ENTITY a "b">]> <svg></svg>',
    "typed svg": b"<!DOCTYPE svg><svg></svg>",
    "svg in html": b"<html><svg></svg></html>",
    "late png": b"x" + pictures.png(),
}


@pytest.fixture(scope="module")
def shelves(guarded: PocketBaseServer, superuser_token: str) -> Generator[httpx.Client]:
    control = {"Authorization": superuser_token}
    rows: list[dict[str, Any]] = [{"name": name, "type": "file", "mimeTypes": types} for name, types in TYPES.items()]
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        collection = {"name": "shelves", "type": "base", "fields": rows, "createRule": ""}
        client.post("/api/collections", json=collection, headers=control).raise_for_status()
        yield client
        client.delete("/api/collections/shelves", headers=control).raise_for_status()


FIELDS: dict[str, FileField] = file_fields(
    {"fields": [{"name": name, "type": "file", "mimeTypes": types} for name, types in TYPES.items()]}
)


@pytest.mark.parametrize(("field", "sample"), list(itertools.product(TYPES, SAMPLES)))
def test_no_type_is_refused_that_pocketbase_allows(shelves: httpx.Client, field: str, sample: str) -> None:
    data = SAMPLES[sample]
    ours = type_error(FIELDS[field], uploaded(data, filename="noextension"))
    form = multipart(file(field, data, "noextension"))
    answer = shelves.post("/api/collections/shelves/records", content=form, headers={"Content-Type": MULTIPART})
    theirs = answer.json()["data"][field]["code"] if answer.status_code == 400 else None
    if ours:
        assert theirs == ours.code == "validation_invalid_mime_type"
