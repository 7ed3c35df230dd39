"""Who is told when sessions end or users are banned."""

from typing import Protocol

from common.core.notices import Notice


class Hearer(Protocol):
    """Is told at once and in order; must neither wait nor raise."""

    def heard(self, notice: Notice) -> None: ...

    def missed(self) -> None:
        """Listening began, or began again: what was told before may not have been heard."""
        ...
