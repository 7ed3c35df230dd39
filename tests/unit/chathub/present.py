"""Everybody who was welcomed and has not left, in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chathub.core.channels import Channel, ChannelBook
from chathub.core.client_frames import Frame
from chathub.core.hub import Hub, Peer
from chathub.core.presence import Roster
from chathub.core.recent import Recent


@dataclass
class Present:
    peers: list[Peer] = field(default_factory=list[Peer])

    def tell(self, frame: Frame, *, but: Iterable[Peer] = ()) -> None:
        left_out = list(but)
        for peer in self.peers:
            if peer not in left_out:
                peer.push(frame)


class Hearer(ABC):
    """A peer that is told everything at once."""

    def __init__(self, present: Present) -> None:
        self._present = present

    def welcome(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.push(frame)
        self._present.peers.append(self)

    @abstractmethod
    def push(self, frame: Frame) -> None: ...

    def leave(self) -> None:
        if self in self._present.peers:
            self._present.peers.remove(self)

    def end(self, reason: str) -> None:
        raise AssertionError(f"nobody is sent away here: {reason}")


class OpenHub(Hub):
    def __init__(self) -> None:
        self.present = Present()
        book = ChannelBook()
        book.replace([Channel(1, "general", None, 1)])
        super().__init__(Recent(), book, Roster("n1", dead_seconds=9, grace_seconds=5), self.present)
