"""An answer that is not for the connection it was asked over, held in memory; a record beyond that is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import orjson
from starlette.types import Message


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is empty where it was overlong."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def value(self) -> dict[str, Any] | None:
        """None where it is no JSON object."""
        try:
            value: object = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return cast(dict[str, Any], value) if isinstance(value, dict) else None


@dataclass(slots=True)
class Collected:
    MAX_BYTES: ClassVar[int] = 1024 * 1024

    status: int = 0
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytearray = field(default_factory=bytearray)
    is_overlong: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
            return
        piece: bytes = message.get("body", b"")
        self.is_overlong = self.is_overlong or len(self.body) + len(piece) > self.MAX_BYTES
        if not self.is_overlong:
            self.body += piece

    def answer(self) -> Answer:
        return Answer(self.status, self.headers, b"" if self.is_overlong else bytes(self.body))
