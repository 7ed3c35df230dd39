"""Which of the body types that PocketBase reads a request has, read more narrowly than PocketBase does.

PocketBase looks only whether the header begins with a known type (`application/jsonfoo` is JSON to it), takes the
first of several headers, reads XML into some bodies, reads a body that comes with GET or DELETE, and ignores
Content-Encoding. Whatever is doubtful is refused here.
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.core.body_refusals import MalformedBody, UnsupportedType
from gateway.core.front_door.headers import RawHeaders, has_body

BodyKind: TypeAlias = Literal["none", "json", "form", "multipart"]

UNSUPPORTED = "Unsupported Content-Type."
NO_CODING = "A body with a Content-Encoding is not accepted."
NO_BODY = "This request must not have a body."

_KINDS: dict[str, BodyKind] = {
    "application/json": "json",
    "application/x-www-form-urlencoded": "form",
    "multipart/form-data": "multipart",
}
_METHODS_WITH_BODY = frozenset({"POST", "PATCH", "PUT"})
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105
_PARAMETER = rf'[ \t]*;[ \t]*({_TOKEN})=("[^"\\]*"|{_TOKEN})'
_PARAMETERS = re.compile(_PARAMETER)
_MEDIA_TYPE = re.compile(rf"[ \t]*({_TOKEN}/{_TOKEN})((?:{_PARAMETER})*)[ \t]*;?[ \t]*")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


@dataclass(frozen=True, slots=True)
class MediaType:
    kind: BodyKind
    boundary: bytes = b""

    @property
    def is_form(self) -> bool:
        """Would PocketBase take the query's parameters for fields of this body?"""
        return self.kind in ("form", "multipart")


def of_request(method: str, headers: RawHeaders) -> MediaType:
    """Raises UnsupportedType, or MalformedBody for a body that this method must not have."""
    listed = list(headers)
    if any(name == b"content-encoding" and value.strip().lower() != b"identity" for name, value in listed):
        raise UnsupportedType(NO_CODING)
    if not has_body(listed):
        return MediaType("none")
    if method not in _METHODS_WITH_BODY:
        raise MalformedBody(NO_BODY)
    values = [value for name, value in listed if name == b"content-type"]
    if len(values) != 1:
        raise UnsupportedType(UNSUPPORTED)
    return parsed(values[0].decode("latin-1"))


def parsed(value: str) -> MediaType:
    """Raises UnsupportedType."""
    found = _MEDIA_TYPE.fullmatch(value)
    kind = _KINDS.get(found[1]) if found else None
    if not found or not kind:
        raise UnsupportedType(UNSUPPORTED)
    listed = [(name.lower(), text.strip('"')) for name, text in _PARAMETERS.findall(found[2])]
    parameters = dict(listed)
    boundary = parameters.pop("boundary", "") if kind == "multipart" else ""
    charset = parameters.pop("charset", "utf-8").lower()
    is_doubtful = len(dict(listed)) != len(listed) or parameters or charset not in ("utf-8", "utf8")
    if is_doubtful or (kind == "multipart" and not _BOUNDARY.fullmatch(boundary)):
        raise UnsupportedType(UNSUPPORTED)
    return MediaType(kind, boundary.encode("ascii"))
