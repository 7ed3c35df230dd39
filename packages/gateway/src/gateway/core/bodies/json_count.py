"""How many values a text would become as JSON, told before it is parsed: a few bytes of it may become fifty times as
much.
"""

import re

_BEFORE_A_VALUE = b",[{"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def values_in(text: bytes, limit: int) -> int:
    """At least as many as there are, beside the first; counting ends beyond the limit. Whether the text is JSON at all
    is not looked at.
    """
    count = between(text, 0, len(text))
    return count if count <= limit else outside_strings(text, limit)


def outside_strings(text: bytes, limit: int) -> int:
    count = begin = 0
    for string in _STRING.finditer(text):
        count += between(text, begin, string.start())
        if count > limit:
            return count
        begin = string.end()
    return count + between(text, begin, len(text))


def between(text: bytes, begin: int, end: int) -> int:
    return sum(text.count(sign, begin, end) for sign in _BEFORE_A_VALUE)
