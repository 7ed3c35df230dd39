"""One request to PocketBase and its answer, without saying how they travel."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """`target` is path and query, escaped already. An endless answer may be silent for as long as it likes."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: AsyncIterator[bytes] | None
    is_endless: bool = False


class UpstreamAnswer(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...

    def chunks(self) -> AsyncIterator[bytes]: ...


class Upstream(Protocol):
    def exchange(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """Raises UpstreamUnavailable when PocketBase is away, at any point of the answer."""
        ...
