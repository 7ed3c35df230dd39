"""What PocketBase's answer to a refresh says of the token that was refreshed."""

from typing import Literal, TypeAlias

Word: TypeAlias = Literal["taken", "refused", "busy", "away"]

_TAKEN = (200, 403)
_BUSY = (408, 429)


def word_of(status: int) -> Word:
    """403 is for a token that is good and only not to be refreshed. `busy` asks to be asked again."""
    if status in _TAKEN:
        return "taken"
    if status in _BUSY:
        return "busy"
    return "refused" if 400 <= status < 500 else "away"
