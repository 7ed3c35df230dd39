"""Which field a key of a body writes to.

PocketBase takes more than the plain name: `n+` and `n-` count, `+tags`, `tags+` and `tags-` edit a list or files, and
`text:autogenerate` appends. Its field names are made of word characters, so the first run of these is the field,
whatever a later version puts around it; a key that writes to nothing is taken for its field as well, which is harmless.
"""

import re

_WORD = re.compile(r"\w+")


def field_of(key: str) -> str:
    found = _WORD.search(key)
    return found.group() if found else key
