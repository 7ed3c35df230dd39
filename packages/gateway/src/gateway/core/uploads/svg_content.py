"""Whether an SVG holds anything that would run. It is parsed, not searched: entities and encodings hide words."""

from typing import Any
from xml.parsers import expat

ACTIVE_ELEMENTS = frozenset(
    ("script", "foreignobject", "iframe", "embed", "object", "applet", "audio", "video", "handler", "listener")
)
MAX_SVG_BYTES = 4 * 1024 * 1024
_ACTIVE_SCHEMES = ("javascript:", "vbscript:", "data:text/html", "data:image/svg", "data:application")


class ActiveContent(Exception):
    """The SVG is not only a picture, or is not well-formed."""


class SvgScan:
    """`feed` every chunk, then `finish`; both raise ActiveContent."""

    def __init__(self) -> None:
        self._size = 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = check_element
        self._parser.ProcessingInstructionHandler = refuse
        self._parser.ExternalEntityRefHandler = refuse
        self._parser.EntityDeclHandler = check_entity

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_SVG_BYTES:
            raise ActiveContent
        self._parse(chunk, is_last=False)

    def finish(self) -> None:
        self._parse(b"", is_last=True)

    def _parse(self, chunk: bytes, *, is_last: bool) -> None:
        try:
            self._parser.Parse(chunk, is_last)
        except expat.ExpatError as error:
            raise ActiveContent from error


def check_element(name: str, attributes: dict[str, str]) -> None:
    if local(name) in ACTIVE_ELEMENTS or any(is_active(*item) for item in attributes.items()):
        raise ActiveContent


def is_active(name: str, value: str) -> bool:
    plain = "".join(value.split()).lower().replace("\0", "")
    return local(name).startswith("on") or any(scheme in plain for scheme in _ACTIVE_SCHEMES)


def local(name: str) -> str:
    return name.rpartition(":")[2].lower()


def refuse(*_: Any) -> int:
    raise ActiveContent


def check_entity(*declaration: Any) -> None:
    """Illustrator declares entities for its namespaces; those that reach outside are refused."""
    _name, _is_parameter, value, *_ = declaration
    if value is None:
        raise ActiveContent
