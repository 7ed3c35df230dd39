"""Looks into the files of a request once they are all here, and refuses what their fields do not admit."""

from collections.abc import Mapping

from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.record_body import RecordBody, UploadedFile
from gateway.core.body_refusals import FieldError, InvalidFields
from gateway.core.uploads.executables import disguised
from gateway.core.uploads.file_type import IMAGES
from gateway.core.uploads.image_size import LOOK_BYTES, Hidden, Size, look_into
from gateway.core.uploads.svg_content import ActiveContent, SvgScan
from gateway.core.uploads.upload_checks import (
    TAIL_BYTES,
    FileField,
    active_content,
    count_errors,
    disguise_error,
    image_error,
    needs_scan,
    too_large,
    type_error,
    unreadable,
)

WINDOW_BYTES = 256 * 1024


async def inspect(body: RecordBody, fields: Mapping[str, FileField], *, refusal: str, max_pixels: int) -> None:
    """Raises InvalidFields with the first error of each field; `refusal` is the message over them."""
    errors = count_errors(fields, body.files)
    for file in body.files:
        field = fields.get(field_of(file.key))
        if field and field.name not in errors and (error := await error_of(field, file, max_pixels)):
            errors[field.name] = error
    if errors:
        raise InvalidFields.of(refusal, errors)


async def error_of(field: FileField, file: UploadedFile, max_pixels: int) -> FieldError | None:
    if file.size_bytes > field.max_bytes:
        return too_large(file.filename, field.max_bytes)
    if error := type_error(field, file) or disguised(file.filename, file.declared_type, file.head):
        return error
    if file.detected_type in IMAGES:
        return await image_fault(field, file, max_pixels)
    return active_content(file) if needs_scan(field, file) and await would_run(file) else None


async def image_fault(field: FileField, file: UploadedFile, max_pixels: int) -> FieldError | None:
    try:
        size = await size_of(file)
    except Hidden:
        return unreadable(file)
    if error := image_error(field, file, size, max_pixels):
        return error
    tail = await file.content.read(max(file.size_bytes - TAIL_BYTES, 0), TAIL_BYTES)
    return disguise_error(field, file, tail)


async def size_of(file: UploadedFile) -> Size | None:
    """Raises Hidden."""
    look = look_into(file.detected_type or "")
    if look is None:
        return None
    begin, window = 0, b""
    try:
        offset = next(look)
        while True:
            if not begin <= offset <= begin + len(window) - LOOK_BYTES:
                begin, window = offset, await file.content.read(offset, WINDOW_BYTES)
            offset = look.send(window[offset - begin : offset - begin + LOOK_BYTES])
    except StopIteration as found:
        return found.value


async def would_run(file: UploadedFile) -> bool:
    scan = SvgScan()
    try:
        async for chunk in file.content.chunks():
            scan.feed(chunk)
        scan.finish()
    except ActiveContent:
        return True
    return False
