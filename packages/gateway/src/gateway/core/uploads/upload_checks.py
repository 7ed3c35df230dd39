"""What a file field admits, decided before PocketBase sees the file; errors carry PocketBase's own codes.

PocketBase checks size, number and detected type itself, once it has taken everything in. Beyond that a name or a
declared type must not contradict the bytes in a field that restricts types, images must not unpack to more than is
bearable, and a field for images takes no SVG that runs and no image that is something else as well.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.record_body import UploadedFile
from gateway.core.body_refusals import FieldError
from gateway.core.uploads.file_type import CERTAIN, HTML, IMAGES, SVG, named_by, normal
from gateway.core.uploads.image_size import Size

DEFAULT_MAX_BYTES = 5 * 1024 * 1024
PLAIN_BODY_BYTES = 32 * 1024 * 1024
TAIL_BYTES = 64 * 1024
DEFAULT_MAX_PIXELS = 64_000_000

_HIDDEN_IN_HEAD = re.compile(rb"<script|<html|<svg|<iframe|<body|<!doctype|<\?php|%pdf-", re.IGNORECASE)
_HIDDEN_IN_TAIL = re.compile(rb"PK\x05\x06|(?i:<script|<html|<svg|<iframe|<\?php)")

Accepts: TypeAlias = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class FileField:
    """`types` are the detected types that are allowed, all if none is named."""

    name: str
    max_bytes: int
    max_files: int
    types: frozenset[str]

    @property
    def is_for_images(self) -> bool:
        return bool(self.types) and all(type.startswith("image/") for type in self.types)


def file_fields(collection: Mapping[str, Any]) -> dict[str, FileField]:
    """Of a row of `/api/collections`, by name."""
    rows = cast(Iterable[Mapping[str, Any]], collection.get("fields") or ())
    return {str(row["name"]): file_field(row) for row in rows if row.get("type") == "file"}


def file_field(row: Mapping[str, Any]) -> FileField:
    types = cast(Iterable[str], row.get("mimeTypes") or ())
    return FileField(
        name=str(row["name"]),
        max_bytes=int(row.get("maxSize") or 0) or DEFAULT_MAX_BYTES,
        max_files=max(int(row.get("maxSelect") or 0), 1),
        types=frozenset(map(normal, types)),
    )


def max_body_bytes(fields: Mapping[str, FileField]) -> int:
    """The largest body that PocketBase takes for a record of the collection."""
    return PLAIN_BODY_BYTES + sum(field.max_bytes * field.max_files for field in fields.values())


def accepts(fields: Mapping[str, FileField]) -> Accepts:
    """How many bytes a file may have under a key; None for a key under which PocketBase passes files over."""

    def limit(key: str) -> int | None:
        field = fields.get(field_of(key))
        return field.max_bytes if field and key in (field.name, f"+{field.name}", f"{field.name}+") else None

    return limit


def too_large(filename: str, max_bytes: int) -> FieldError:
    message = f"Failed to upload {filename} - the maximum allowed file size is {max_bytes} bytes."
    return FieldError("validation_file_size_limit", message, {"file": filename, "maxSize": max_bytes})


def count_errors(fields: Mapping[str, FileField], files: Sequence[UploadedFile]) -> dict[str, FieldError]:
    """More new files than the field can hold; what is stored already PocketBase counts itself."""
    errors: dict[str, FieldError] = {}
    for field in fields.values():
        if sum(field_of(file.key) == field.name for file in files) > field.max_files:
            message = f"The maximum allowed files is {field.max_files}."
            errors[field.name] = FieldError("validation_too_many_files", message, {"maxSelect": field.max_files})
    return errors


def type_error(field: FileField, file: UploadedFile) -> FieldError | None:
    if not field.types:
        return None
    is_allowed = file.detected_type in field.types if file.detected_type in CERTAIN else not field.types <= CERTAIN
    if is_allowed and not is_contradicted(file):
        return None
    message = f'"{file.filename}" mime type must be one of: {", ".join(sorted(field.types))}.'
    return FieldError("validation_invalid_mime_type", message)


def is_contradicted(file: UploadedFile) -> bool:
    """Do name or declared type claim what the bytes are not? Text may be HTML or SVG without our telling it."""
    claimed = {named_by(file.filename), normal(file.declared_type)} & CERTAIN
    return not claimed <= ({file.detected_type} if file.detected_type in CERTAIN else {SVG, HTML})


def image_error(field: FileField, file: UploadedFile, size: Size | None, max_pixels: int) -> FieldError | None:
    """`size` is None for an image that tells none."""
    if size is None or size.pixels == 0:
        return unreadable(file) if field.is_for_images else None
    if size.pixels <= max_pixels:
        return None
    message = f"{file.filename} is {size.width} by {size.height} pixels; at most {max_pixels} pixels are allowed."
    return FieldError("validation_image_too_large", message, {"file": file.filename, "maxPixels": max_pixels})


def unreadable(file: UploadedFile) -> FieldError:
    return FieldError("validation_invalid_image", f"{file.filename} is not a readable image.")


def disguise_error(field: FileField, file: UploadedFile, tail: bytes) -> FieldError | None:
    """An image that a browser or an archiver would take for something else. `tail` are the last TAIL_BYTES."""
    if not field.is_for_images or file.detected_type not in IMAGES:
        return None
    is_disguised = _HIDDEN_IN_HEAD.search(file.head) or _HIDDEN_IN_TAIL.search(tail)
    return unreadable(file) if is_disguised else None


def needs_scan(field: FileField, file: UploadedFile) -> bool:
    """Must the whole of the file be read for what it would run?"""
    return field.is_for_images and file.detected_type == SVG


def active_content(file: UploadedFile) -> FieldError:
    return FieldError("validation_active_content", f"{file.filename} has content that would run.")
