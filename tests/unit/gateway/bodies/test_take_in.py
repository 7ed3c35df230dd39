"""The driver, with files that are really spooled and a client that is played."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.upload_spool import IN_MEMORY_BYTES, UploadSpool
from gateway.bodies.inspect_uploads import inspect
from gateway.bodies.take_in import NO_FILES, Expected, Intake
from gateway.core.bodies.body_pace import Pace
from gateway.core.bodies.media_type import MediaType
from gateway.core.bodies.record_body import ReceivedBody, record_body
from gateway.core.body_refusals import InvalidFields, MalformedBody, NoRoom, TooSlow
from gateway.core.refusals import TooLarge
from gateway.core.uploads.file_type import PNG
from gateway.core.uploads.upload_checks import file_fields
from tests import pictures
from tests.bodies import ANY_FILE, BOUNDARY, MEBIBYTE, Part, file, in_chunks, joined, multipart, value

JSON, FORM, NONE = MediaType("json"), MediaType("form"), MediaType("none")
MULTIPART = MediaType("multipart", BOUNDARY.encode())


@pytest.fixture
def spool(tmp_path: Path) -> UploadSpool:
    return UploadSpool(tmp_path, max_bytes=8 * MEBIBYTE, max_files=3)


@pytest.fixture
def intake(spool: UploadSpool) -> Intake:
    return Intake(spool, pace=Pace(), max_field_bytes=2 * MEBIBYTE, max_memory_bytes=3 * MEBIBYTE)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def left_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def received(intake: Intake, body: bytes, media: MediaType, expected: Expected = NO_FILES) -> ReceivedBody:
    async with intake.take_in(in_chunks(body), media, expected) as found:
        return found


async def test_each_kind_of_body_is_read(intake: Intake) -> None:
    assert await received(intake, b"", NONE) == ReceivedBody()
    assert await received(intake, b'{"a":1}', JSON) == ReceivedBody(value={"a": 1})
    assert await received(intake, b"a=1&a=2", FORM) == ReceivedBody(pairs=[("a", "1"), ("a", "2")])
    assert await received(intake, multipart(value("a", "é")), MULTIPART) == ReceivedBody(pairs=(("a", "é"),))


async def test_a_large_document_is_parsed_beside_the_loop(intake: Intake) -> None:
    text = "x" * MEBIBYTE
    assert (await received(intake, f'["{text}"]'.encode(), JSON)).value == [text]


async def test_a_file_is_kept_whole_whatever_its_size(intake: Intake) -> None:
    for size in (0, 1, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, 2 * IN_MEMORY_BYTES + 7):
        content = os.urandom(size)
        form = multipart(value("a", "1"), file("f", content, "x.png"))
        async with intake.take_in(in_chunks(form, 70_000), MULTIPART, ANY_FILE) as found:
            kept = found.files[0]
            assert (kept.key, kept.filename, kept.size_bytes, kept.head) == ("f", "x.png", size, content[:4096])
            assert await joined(kept.content.chunks()) == content
            assert await joined(kept.content.chunks()) == content
            middle = size // 2
            assert await kept.content.read(middle, 100) == content[middle : middle + 100]
            assert await kept.content.read(size, 100) == b""


async def test_a_files_type_is_told_by_its_bytes(intake: Intake) -> None:
    form = multipart(file("f", pictures.png(), "x.gif", "image/gif"))
    async with intake.take_in(in_chunks(form), MULTIPART, ANY_FILE) as found:
        assert (found.files[0].declared_type, found.files[0].detected_type) == ("image/gif", PNG)


async def test_a_file_that_nobody_looks_at_is_passed_over(intake: Intake, tmp_path: Path) -> None:
    form = multipart(file("f", bytes(9 * MEBIBYTE)), value("a", "1"))
    assert await received(intake, form, MULTIPART) == ReceivedBody(pairs=(("a", "1"),))


async def test_a_file_beyond_its_fields_size_is_refused_as_it_arrives(intake: Intake) -> None:
    told = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal told
        for chunk in [bytes(file("+f", b"", "big.bin"))[:-2], *[bytes(1000)] * 100]:
            told += len(chunk)
            yield chunk

    with pytest.raises(InvalidFields) as refused:
        async with intake.take_in(chunks(), MULTIPART, Expected(lambda _: 5000, "Failed to create record.")):
            pass
    assert str(refused.value) == "Failed to create record."
    assert refused.value.data["f"]["code"] == "validation_file_size_limit"
    assert refused.value.data["f"]["params"] == {"file": "big.bin", "maxSize": 5000}
    assert told < 7000


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (JSON, b'["' + b"x" * 2 * MEBIBYTE + b'"]'),
        (FORM, b"a=" + b"x" * 2 * MEBIBYTE),
        (MULTIPART, multipart(value("a", "x" * 2 * MEBIBYTE))),
        (MULTIPART, multipart(*[value("a" * 300, "x" * 10_000)] * 300)),
    ],
)
async def test_what_is_not_a_file_is_bounded(intake: Intake, media: MediaType, body: bytes) -> None:
    with pytest.raises(TooLarge):
        await received(intake, body, media)


@pytest.mark.parametrize("media", [JSON, FORM])
async def test_a_declared_size_is_refused_before_anything_is_read(intake: Intake, media: MediaType) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("nothing of it should be read")
        yield b""

    with pytest.raises(TooLarge):
        async with intake.take_in(unread(), media, declared_bytes=2 * MEBIBYTE + 1):
            pass


async def test_all_bodies_together_are_bounded(intake: Intake) -> None:
    body = b'["' + b"x" * (2 * MEBIBYTE - 10) + b'"]'
    async with intake.take_in(in_chunks(body), JSON):
        with pytest.raises(NoRoom):
            await received(intake, body, JSON)
    await received(intake, body, JSON)


async def test_all_files_together_are_bounded_in_bytes_and_number(intake: Intake) -> None:
    large, small = multipart(file("f", bytes(5 * MEBIBYTE))), multipart(file("f", b"x"))
    async with intake.take_in(in_chunks(large, 65536), MULTIPART, ANY_FILE):
        with pytest.raises(NoRoom):
            await received(intake, large, MULTIPART, ANY_FILE)
        await received(intake, small, MULTIPART, ANY_FILE)
    await received(intake, large, MULTIPART, ANY_FILE)
    with pytest.raises(NoRoom):
        await received(intake, multipart(*[file("f", b"x")] * 4), MULTIPART, ANY_FILE)
    await received(intake, multipart(*[file("f", b"x")] * 3), MULTIPART, ANY_FILE)


@pytest.mark.parametrize("body", [multipart(value("a", "1"))[:-5], b"", b"--", multipart(file("f", b"x"))[:-20]])
async def test_a_form_that_is_cut_off_is_refused(intake: Intake, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        await received(intake, body, MULTIPART, ANY_FILE)


async def test_a_value_that_is_no_text_is_refused(intake: Intake) -> None:
    with pytest.raises(MalformedBody):
        await received(intake, multipart(value("a", "b")).replace(b"\r\n\r\nb", b"\r\n\r\n\xff"), MULTIPART)


async def silent(*chunks: bytes) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("media", "begun"),
    [(JSON, b'{"a":'), (FORM, b"a"), (MULTIPART, bytes(file("f", bytes(400_000))))],
)
async def test_a_body_that_stops_coming_is_cut_off(spool: UploadSpool, media: MediaType, begun: bytes) -> None:
    pace = Pace(grace_seconds=0.05, min_bytes_per_second=10_000_000)
    intake = Intake(spool, pace=pace, max_field_bytes=MEBIBYTE, max_memory_bytes=MEBIBYTE)
    with pytest.raises(TooSlow):
        async with intake.take_in(silent(begun), media, ANY_FILE):
            pass


class Gone(Exception):
    """The client has left."""


async def test_nothing_is_left_of_a_body_that_is_given_up(intake: Intake, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(file("f", bytes(MEBIBYTE)))
        raise Gone

    before = open_files()
    for _ in range(20):
        with pytest.raises(Gone):
            async with intake.take_in(broken(), MULTIPART, ANY_FILE):
                pass
    for _ in range(5):
        taking = asyncio.create_task(held(intake, silent(bytes(file("f", bytes(MEBIBYTE))))))
        await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    assert (open_files(), left_in(tmp_path)) == (before, [])
    await received(intake, multipart(*[file("f", bytes(2 * MEBIBYTE))] * 3), MULTIPART, ANY_FILE)


async def held(intake: Intake, chunks: AsyncIterator[bytes]) -> None:
    async with intake.take_in(chunks, MULTIPART, ANY_FILE):
        await asyncio.Event().wait()


async def test_a_file_that_is_closed_is_not_written_to_again(spool: UploadSpool) -> None:
    waiting = spool.open()
    await waiting.write(bytes(IN_MEMORY_BYTES + 1))
    waiting.close()
    waiting.close()
    with pytest.raises(ValueError, match="closed"):
        await waiting.read(0, 1)


async def test_a_full_disk_is_no_room(tmp_path: Path) -> None:
    spool = UploadSpool(tmp_path / "missing", max_bytes=MEBIBYTE, max_files=1)
    waiting = spool.open()
    with pytest.raises(NoRoom):
        await waiting.write(bytes(IN_MEMORY_BYTES + 1))
    waiting.close()


ROW: dict[str, Any] = {
    "fields": [
        {"name": "pic", "type": "file", "mimeTypes": ["image/png", "image/svg+xml"], "maxSelect": 2},
        {"name": "any", "type": "file", "maxSize": 10},
        {"name": "doc", "type": "file"},
    ]
}


@pytest.mark.parametrize(
    ("parts", "codes"),
    [
        ([file("pic", pictures.png(), "a.png")], {}),
        ([file("pic+", pictures.SVG, "a.svg"), file("any", b"x")], {}),
        ([file("pic", pictures.SVG.replace(b"circle", b"script"), "a.svg")], {"pic": "validation_active_content"}),
        ([file("pic", pictures.png(5000, 5000), "a.png")], {"pic": "validation_image_too_large"}),
        ([file("pic", pictures.png(tail=b"PK\x05\x06"), "a.png")], {"pic": "validation_invalid_image"}),
        ([file("pic", pictures.gif(), "a.png")], {"pic": "validation_invalid_mime_type"}),
        ([file("pic", pictures.png())] * 3, {"pic": "validation_too_many_files"}),
        (
            [file("pic", b"1"), file("any", b"12345678901")],
            {"pic": "validation_invalid_mime_type", "any": "validation_file_size_limit"},
        ),
        ([file("gone", b"1")], {}),
        ([file("doc", pictures.jpeg((5000, 5000), padding=2_000_000))], {"doc": "validation_image_too_large"}),
        ([file("doc", pictures.jpeg((50, 50), padding=2_000_000))], {}),
        ([file("doc", pictures.jpeg((50, 50), fill=b"\xff\xe0\0\2" * 5000))], {"doc": "validation_invalid_image"}),
    ],
)
async def test_files_are_looked_into_before_anybody_else_sees_them(
    spool: UploadSpool, intake: Intake, parts: list[Part], codes: dict[str, str]
) -> None:
    async with intake.take_in(in_chunks(multipart(*parts)), MULTIPART, ANY_FILE) as found:
        try:
            await inspect(record_body(found), file_fields(ROW), refusal="No.", max_pixels=1_000_000)
            told = dict[str, str]()
        except InvalidFields as refused:
            told = {name: error["code"] for name, error in refused.data.items()}
    assert told == codes
