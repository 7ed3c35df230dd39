"""The head of one part of a multipart form: its field, and its file name if it is a file.

A part with a file name, and be it a Blob's, is a file; a part whose file name is empty is a value, as browsers send
a file input that nobody filled in. Go reads it so, and so does everything here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from gateway.core.body_refusals import MalformedBody
from gateway.core.front_door.request_path import has_control

BROKEN_HEAD = "A part of the form has a head that cannot be read."
MAX_NAME_CHARACTERS = 300
MAX_FILENAME_CHARACTERS = 255

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105
_PARAMETER = rf"[ \t]*;[ \t]*({_TOKEN})=({_QUOTED}|{_TOKEN})"
_PARAMETERS = re.compile(_PARAMETER)
_DISPOSITION = re.compile(rf"form-data((?:{_PARAMETER})+)[ \t]*;?[ \t]*", re.IGNORECASE)
_EXTENDED = re.compile(r"utf-8'[A-Za-z0-9-]*'((?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-Fa-f]{2})*)", re.IGNORECASE)
_UNSAFE = re.compile(r'["\\]')
_PLAIN_CODINGS = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class PartHead:
    """`filename` is None for a value; of a file it is fit to be quoted in a header."""

    name: str
    filename: str | None
    declared_type: str


def parsed(headers: Sequence[tuple[str, str]]) -> PartHead:
    """Raises MalformedBody for what Go's reader and others could read differently, among it the codings that Go
    undoes by itself and the split and re-encoded names of RFC 2231.
    """
    named = {name.lower(): value.strip(" \t") for name, value in headers}
    if len(named) != len(headers) or named.get("content-transfer-encoding", "binary").lower() not in _PLAIN_CODINGS:
        raise MalformedBody(BROKEN_HEAD)
    parameters = parameters_of(named.get("content-disposition", ""))
    name, filename = parameters.pop("name", ""), parameters.pop("filename", "")
    if "filename*" in parameters:
        filename = extended(parameters.pop("filename*"))
    if parameters or not name or len(name) > MAX_NAME_CHARACTERS or "\\" in name:
        raise MalformedBody(BROKEN_HEAD)
    declared = named.get("content-type", "").partition(";")[0].strip().lower()
    return PartHead(name, safe_filename(filename) if filename else None, declared)


def parameters_of(disposition: str) -> dict[str, str]:
    found = _DISPOSITION.fullmatch(disposition)
    if not found or has_control(disposition):
        raise MalformedBody(BROKEN_HEAD)
    listed = [(name.lower(), unquoted(value)) for name, value in _PARAMETERS.findall(found[1])]
    if len(dict(listed)) != len(listed):
        raise MalformedBody(BROKEN_HEAD)
    return dict(listed)


def unquoted(value: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", value[1:-1]) if value.startswith('"') else value


def extended(value: str) -> str:
    found = _EXTENDED.fullmatch(value)
    try:
        text = unquote_to_bytes(found[1]).decode("utf-8") if found else ""
    except UnicodeDecodeError as error:
        raise MalformedBody(BROKEN_HEAD) from error
    if not text or has_control(text):
        raise MalformedBody(BROKEN_HEAD)
    return text


def safe_filename(name: str) -> str:
    """The last piece of a path; PocketBase makes a slug of it and keeps the extension."""
    last = name.rstrip("/").rpartition("/")[2] or "_"
    return _UNSAFE.sub("_", last)[-MAX_FILENAME_CHARACTERS:]
