"""A multipart form as it arrives: bytes in, parts out, bounded in heads and parts.

What stands before the first boundary and after the last one is passed over, as Go does it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from multipart import (  # pyright: ignore[reportMissingTypeStubs] - its source is annotated
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

from gateway.core.bodies.part_head import PartHead, parsed
from gateway.core.body_refusals import MalformedBody
from gateway.core.refusals import TooLarge

MAX_PARTS = 1000
MAX_HEAD_BYTES = 4096
MAX_HEADERS = 8

BROKEN_MULTIPART = "The multipart form is not well-formed."
TOO_MANY_PARTS = "The multipart form has too many parts, or heads that are too long."


@dataclass(frozen=True, slots=True)
class PartEnded:
    """All of the part that was begun last has been told."""


PART_ENDED: Final = PartEnded()
PartEvent: TypeAlias = PartHead | bytes | PartEnded


class MultipartReader:
    """`finish` must be called after the last chunk: only it tells a form that was cut off from a whole one."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = PushMultipartParser(
            boundary,
            max_segment_count=MAX_PARTS,
            max_header_size=MAX_HEAD_BYTES,
            max_header_count=MAX_HEADERS,
        )

    def feed(self, chunk: bytes) -> Iterator[PartEvent]:
        """Must be read to its end before the next chunk. Raises MalformedBody, TooLarge."""
        try:
            for event in self._parser.parse(chunk):
                yield told(event)
        except ParserLimitReached as error:
            raise TooLarge(TOO_MANY_PARTS) from error
        except MultipartError as error:
            raise MalformedBody(BROKEN_MULTIPART) from error

    def finish(self) -> None:
        """Raises MalformedBody."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise MalformedBody(BROKEN_MULTIPART) from error


def told(event: MultipartSegment | bytes | bytearray | None) -> PartEvent:
    if event is None:
        return PART_ENDED
    if isinstance(event, MultipartSegment):
        headers: Sequence[tuple[str, str]] = event.headerlist
        return parsed(headers)
    return bytes(event)
