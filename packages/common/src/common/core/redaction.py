"""Takes secrets out of what is about to be logged, and bounds it.

A secret is known by its name (`password`, `Authorization`, ...), wherever a name stands before a value, or by its shape
(JSON Web Tokens, NATS seeds, private keys, credentials in a URL). In doubt it is taken out. Every pattern takes time in
proportion to the text, whatever the text is: each either consumes what it has looked at, or looks no further than a
fixed number of characters.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias, cast

REDACTED = "[redacted]"
CUT = "[cut]"
UNREADABLE = "[unreadable]"

MAX_DEPTH = 8
MAX_VALUES = 500
MAX_CHARACTERS = 24 * 1024
HEAD_CHARACTERS, TAIL_CHARACTERS = 4 * 1024, 8 * 1024
WHOLE_CHARACTERS = HEAD_CHARACTERS + TAIL_CHARACTERS
"""What is kept of one long text: of a traceback, the end says most."""

_OVERLAP_CHARACTERS = 9 * 1024
"""What is read beyond a cut, so that no secret is met by one half only; longer than any token that is accepted."""

_ASCII = re.IGNORECASE | re.ASCII
_WORD = (
    r"(?:passw|passphrase|\bpass\b|\bpwd|secret|token|seed|authorization|cookie|creds|credential"
    r"|(?:api|private|access|signing|session|encryption)[_-]?key|(?<=[?&])ticket(?==))"
    r"(?![A-Za-z0-9_-]{0,40}(?:type|url|uri|endpoint|count|length|seconds|kind|status|limit)(?![A-Za-z0-9_-]))"
)
_HINTS = ("pass", "pwd", "secret", "token", "seed", "authorization", "cookie", "cred", "key", "ticket=")
"""Without one of these in it, a text holds no secret's name: a quick look that spares most texts the slow one."""

_NAME = re.compile(_WORD, _ASCII)
_NAMED_VALUE = re.compile(
    rf"""{_WORD}[A-Za-z0-9_-]{{0,40}}"""
    r"""(?:\\{0,8}["'])?\s{0,4}(?:=>|[:=]|(?<=["']),)\s{0,4}(?!\[redacted\](?![^\s&"'\\]))[\[(]?"""
    r"""(?P<secret>[bru]?(?P<quote>\\{0,8}["'])(?:(?!(?P=quote))(?:\\.|.)){1,9000}"""
    r"""|(?:(?:bearer|basic|digest|token)\s{1,4})?(?!["'\\{\[(])[^\s&"'\\]+)""",
    _ASCII | re.DOTALL,
)
_HEADER_LINE = re.compile(
    r"""(?:authorization|cookie)\s{0,4}:\s{0,4}(?![\[{(]?\\{0,8}["'])(?!\[redacted\])(?P<secret>[^\r\n"'\\]+)""", _ASCII
)
_SCHEME = re.compile(r"\b(?:bearer|basic)\s{1,4}(?P<secret>[A-Za-z0-9._~+/=-]{4,})", _ASCII)
_TOKEN = re.compile(r"(?P<secret>eyJ[A-Za-z0-9_-]{16,}[A-Za-z0-9_.-]*)")
_SEED = re.compile(r"(?P<secret>S[AOUNCX][A-Z2-7]{56,}|(?<![A-Z2-7])S[AOUNCX][A-Z2-7]{40,})")
_URL_USER = re.compile(
    r"""(?<=://)(?!\[redacted\]@)(?P<secret>[^/\s:@"]*:[^/\s"]*|[^/\s:@"]{0,256}:(?!\d{1,5}/)[^\s"]{0,256}|[^/\s?#@"]+)@"""
)
"""The second form is of a password that holds a slash, as base64 does: what stands before it is no port."""
_PRIVATE_BLOCK = re.compile(
    r"(?P<secret>-{3,5}BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|SEED|JWT)[A-Z0-9 ]{0,20}-{3,5}"
    r".*?(?:-{3,6}END [A-Z0-9 ]{0,60}-{3,6}|\Z))",
    re.DOTALL,
)

Span: TypeAlias = tuple[int, int]


def is_secret_name(name: str) -> bool:
    """Whether what bears that name is to be taken out; `token_type` and its like are not."""
    return _is_known_secret_name(name) if len(name) <= 64 else _NAME.search(name) is not None


@lru_cache(maxsize=1024)
def _is_known_secret_name(name: str) -> bool:
    return _NAME.search(name) is not None


def redact_text(text: str) -> str:
    """The text without the secrets in it. Takes time in proportion to its length."""
    return _without(text, _secrets(text), 0, len(text))


def redact(name: str, value: object) -> Any:
    """What may be logged of a value that bears a name: numbers, texts, lists and mappings of such, of bounded size.

    Whatever is none of these becomes its `repr`. Never raises.
    """
    return Redaction().value(name, value, MAX_DEPTH)


def redact_event(event: Mapping[str, object]) -> dict[str, Any]:
    """`redact` for all fields of one log line, which share one bound. Never raises."""
    return Redaction().mapping(event, MAX_DEPTH)


class Redaction:
    """One log line's share of values and characters; nesting is followed to a depth, and no further."""

    def __init__(self) -> None:
        self._values = MAX_VALUES
        self._characters = MAX_CHARACTERS

    def value(self, name: str, value: object, depth: int) -> Any:
        self._values -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and not value:
            return value
        if is_secret_name(name):
            return REDACTED
        return self._plain(value, depth)

    def mapping(self, value: Mapping[Any, object], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in value.items():
            if self._values <= 0:
                found[CUT] = CUT
                break
            name = key if isinstance(key, str) else self._read(key)
            found[self._text(name)] = self.value(name, item, depth - 1)
        return found

    def _plain(self, value: object, depth: int) -> Any:
        try:
            if isinstance(value, str):
                return self._text(value)
            if isinstance(value, int | float):
                return value if abs(value) < 2**63 else self._text(self._read(value))
            if isinstance(value, Mapping | list | tuple | set | frozenset):
                return self._collection(cast(Any, value), depth)
            return self._text(self._read(value))
        except Exception:  # noqa: BLE001 - whatever an odd object raises, a log line must not
            return UNREADABLE

    def _collection(self, value: Any, depth: int) -> Any:
        if depth <= 0:
            return CUT
        if isinstance(value, Mapping):
            return self.mapping(cast(Mapping[Any, object], value), depth)
        pair = self._header(value)
        if pair is not None:
            return [self._text(pair), REDACTED]
        found: list[Any] = []
        for item in value:
            if self._values <= 0:
                found.append(CUT)
                break
            found.append(self.value("", item, depth - 1))
        return found

    def _header(self, value: Any) -> str | None:
        """The name in a pair of name and value, as headers come, where it is a secret's."""
        if not isinstance(value, list | tuple) or len(cast(list[object], value)) != 2:
            return None
        first = cast(list[object], value)[0]
        name = self._read(first) if isinstance(first, bytes) else first
        return name if isinstance(name, str) and is_secret_name(name) else None

    def _text(self, text: str) -> str:
        kept = redact_text(text) if len(text) <= WHOLE_CHARACTERS else _shortened(text)
        if not kept.isascii():
            kept = kept.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair cannot be written
        if len(kept) > self._characters:
            kept = kept[: max(self._characters, 0)] + CUT
        self._characters -= len(kept)
        return kept

    def _read(self, value: object) -> str:
        """Any object as text; bytes as the text they most likely are."""
        try:
            if isinstance(value, bytes | bytearray | memoryview):
                return bytes(cast(bytes, value[: 2 * MAX_CHARACTERS])).decode("utf-8", "backslashreplace")
            return repr(value)
        except Exception:  # noqa: BLE001 - whatever an odd object raises, a log line must not
            return UNREADABLE


def _shortened(text: str) -> str:
    """Beginning and end, each judged together with what is cut off beside it."""
    length = len(text)
    if length <= WHOLE_CHARACTERS + _OVERLAP_CHARACTERS:
        secrets = _secrets(text)
        head = _without(text, secrets, 0, HEAD_CHARACTERS)
        return f"{head}{CUT}{_without(text, secrets, length - TAIL_CHARACTERS, length)}"
    first, last = text[: HEAD_CHARACTERS + _OVERLAP_CHARACTERS], text[-TAIL_CHARACTERS - _OVERLAP_CHARACTERS :]
    head = _without(first, _secrets(first), 0, HEAD_CHARACTERS)
    return f"{head}{CUT}{_without(last, _secrets(last), _OVERLAP_CHARACTERS, len(last))}"


def _without(text: str, secrets: list[Span], start: int, end: int) -> str:
    """The text from start to end; a secret that reaches into it counts."""
    kept: list[str] = []
    at = start
    for begin, after in sorted(secrets):
        if after <= at or begin >= end:
            continue
        if begin > at:
            kept.append(text[at:begin])
        if begin >= at or at == start:
            kept.append(REDACTED)
        at = after
    return "".join((*kept, text[at:end])) if kept else text[start:end]


def _secrets(text: str) -> list[Span]:
    found: list[Span] = []
    if "---BEGIN " in text:
        found += [match.span("secret") for match in _PRIVATE_BLOCK.finditer(text)]
    if "eyJ" in text:
        found += [match.span("secret") for match in _TOKEN.finditer(text)]
    if "://" in text:
        found += [match.span("secret") for match in _URL_USER.finditer(text)]
    found += [match.span("secret") for match in _SEED.finditer(text)]
    lowered = text.lower()
    if any(hint in lowered for hint in _HINTS):
        found += [match.span("secret") for match in _HEADER_LINE.finditer(text)]
        found += [_value(match) for match in _NAMED_VALUE.finditer(text)]
    if "bearer" in lowered or "basic" in lowered:
        found += [match.span("secret") for match in _SCHEME.finditer(text) if _looks_made(match["secret"])]
    return found


def _value(match: re.Match[str]) -> Span:
    """Without the quote before it, where there is one."""
    return max(match.start("secret"), match.end("quote")), match.end("secret")


def _looks_made(word: str) -> bool:
    """Words of ordinary text after `Bearer` or `Basic` have no digits, no capitals within, and an end."""
    bare = word.rstrip(".")
    has_inner_capital = bare[1:] != bare[1:].lower() and not bare.isupper()
    return has_inner_capital or len(bare) > 24 or any(character in "0123456789_~+/=" for character in bare)
