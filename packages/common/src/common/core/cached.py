"""What a cache is given and what it answers."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, final

import msgspec

from common.core.epochs import EVERYTHING, Tags
from common.core.errors import InvalidRequest
from common.core.object_size import object_size_bytes

T = TypeVar("T")

Outcome: TypeAlias = Literal["hit", "negative", "stale", "stale_if_error", "miss", "bypass"]
OUTCOMES: Final = ("hit", "negative", "stale", "stale_if_error", "miss", "bypass")
Tier: TypeAlias = Literal["memory", "shared", "origin"]
TIERS: Final = ("memory", "shared", "origin")

MAX_KEY_CHARACTERS = 4096
MAX_TAG_CHARACTERS = 512
MAX_TAGS = 64


class Answer(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """`value` is None where the origin said that there is no such thing.

    `hit` and `negative` are fresh and come from `tier`; `miss` and `bypass` were loaded for this read; `stale` is past
    its end and being loaded anew, `stale_if_error` past its end while the origin is away: mark it as such.
    `age_seconds` is how long ago the value was loaded.
    """

    value: T | None
    outcome: Outcome
    tier: Tier
    age_seconds: float


@final
class Absent:
    """What a loader returns when there is no such thing; kept for `Policy.negative_ttl_seconds`."""


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Unstored(Generic[T]):
    """What a loader returns for a value that is for this reader alone, or must not be kept."""

    value: T


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How values are written into the shared tier, read back, and weighed in memory.

    `decode` raises ValueError or msgspec.MsgspecError for bytes it cannot read: they count as a miss.
    """

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    size_bytes: Callable[[T], int]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a read of `key` would meet now, and why. Never the value."""

    key: str
    outcome: Literal["hit", "negative", "stale", "miss", "bypass"]
    why: str
    tier: Tier = "origin"
    tags: Tags = ()
    age_seconds: float | None = None
    ttl_left_seconds: float | None = None
    size_bytes: int | None = None


def identical(value: bytes) -> bytes:
    if not isinstance(value, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - loaders are not always typed
        raise TypeError(f"A cache of bytes was given {type(value).__name__}.")
    return value


RAW: Final[Codec[bytes]] = Codec(identical, identical, lambda value: sys.getsizeof(identical(value)))
"""Values that are bytes already."""


def typed(kind: type[T]) -> Codec[T]:
    """Values of a type that msgspec knows, kept in the shared tier as MessagePack. They are handed out as they are:
    treat them as immutable."""
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kind)
    return Codec(msgspec.msgpack.encode, decoder.decode, object_size_bytes)


def key_of(*parts: str) -> str:
    """One key from several texts; different texts never make the same key."""
    return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)


def check_key(key: str) -> None:
    """Raises InvalidRequest, naming the key but never showing it."""
    _check_text("key", key, MAX_KEY_CHARACTERS)


def check_tags(tags: Tags) -> None:
    """Raises InvalidRequest."""
    if not isinstance(tags, tuple):  # pyright: ignore[reportUnnecessaryIsInstance] - a lone text would pass for many
        raise InvalidRequest("tags: must be a tuple of texts.")
    if len(tags) > MAX_TAGS:
        raise InvalidRequest(f"tags: {len(tags)} were given; {MAX_TAGS} are allowed.")
    for tag in tags:
        _check_text("tags", tag, MAX_TAG_CHARACTERS)
        if tag == EVERYTHING:
            raise InvalidRequest(f"tags: every entry bears {EVERYTHING!r} already.")


def check_bump(tags: Tags) -> None:
    """Raises InvalidRequest."""
    if not tags:
        raise InvalidRequest("tags: nothing is to be bumped.")
    for tag in tags:
        _check_text("tags", tag, MAX_TAG_CHARACTERS)


def _check_text(field: str, text: str, limit: int) -> None:
    if not isinstance(text, str) or not 0 < len(text) <= limit:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"{field}: must be a text of 1 to {limit} characters.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{field}: holds half of a surrogate pair.") from error
