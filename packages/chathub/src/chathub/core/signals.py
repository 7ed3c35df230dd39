"""What users are told of each other that is not kept: who writes, and who has read how far."""

from typing import TypeAlias

import msgspec

from common.core.messages import Message


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A channel, or else somebody."""

    channel_id: int | None = None
    recipient_id: str | None = None


class TypingNow(msgspec.Struct, frozen=True, tag="typing"):
    """`user` is the id and the name."""

    user: tuple[str, str]
    place: Place


class ReadPosition(msgspec.Struct, frozen=True, tag="read"):
    user: tuple[str, str]
    place: Place
    cache_id: int


Signal: TypeAlias = TypingNow | ReadPosition


class Signals(Message, frozen=True):
    """What one node has to tell the others, of a short while."""

    signals: tuple[Signal, ...]
