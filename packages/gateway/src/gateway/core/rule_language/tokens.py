"""The text of a PocketBase filter or rule to tokens, scanned as PocketBase's own scanner does (ganigeorgiev/fexpr).

What is odd here is odd there: a group is taken as text up to its closing bracket, minding quotes but not comments, and
is scanned anew; a backslash shields the next quote; an identifier directly before a bracket is a call.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

MAX_CALL_DEPTH = 3

_OPERATORS = frozenset(("=", "!=", "~", "!~", "<", "<=", ">", ">="))
OPERATORS = _OPERATORS | {f"?{operator}" for operator in _OPERATORS}
JOINS = frozenset(("&&", "||"))

_BLANKS = re.compile(r"[ \t\n]+")
_WORD = re.compile(r"[A-Za-z@_#][A-Za-z0-9_.:]*")
_NUMBER = re.compile(r"-?[0-9]*(?:\.[0-9]*)?")
_WHOLE_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SIGNS = re.compile(r"[=?!<>~]+")
_JOIN_SIGNS = re.compile(r"[&|]+")
_COMMENT = re.compile(r"//[^\n]*\n?")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_UNGROUPED = re.compile(r"""[^()'"]+""")


class Unparsable(ValueError):
    """PocketBase would refuse this text, or it nests deeper than is followed here."""


@dataclass(frozen=True, slots=True)
class Identifier:
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Number:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Operator:
    text: str


@dataclass(frozen=True, slots=True)
class Join:
    text: str


@dataclass(frozen=True, slots=True)
class GroupText:
    """What stands between brackets, still to be scanned."""

    text: str


Operand: TypeAlias = Identifier | Text | Number | Call
Token: TypeAlias = Operand | Operator | Join | GroupText


def tokens_of(text: str) -> Iterator[Token]:
    """Blanks and comments are left out. Raises Unparsable, at the token that is malformed.

    A NUL is refused, where PocketBase takes it for the end: nothing may stand behind it unread.
    """
    scanner = _Scanner(text)
    while (token := scanner.next_token()) is not None:
        yield token


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def next_token(self) -> Token | None:
        self._skip_blanks()
        if self._at >= len(self._text):
            return None
        match self._text[self._at]:
            case "(":
                return GroupText(self._group())
            case character if character in "=?!<>~":
                return Operator(self._one_of(_SIGNS, OPERATORS))
            case character if character in "&|":
                return Join(self._one_of(_JOIN_SIGNS, JOINS))
            case _:
                return self._operand(MAX_CALL_DEPTH)

    def _operand(self, call_depth: int) -> Operand:
        match self._text[self._at : self._at + 1]:
            case "'" | '"':
                return self._quoted()
            case character if character in tuple("-0123456789"):
                return self._number()
            case _:
                return self._word(call_depth)

    def _skip_blanks(self) -> None:
        while self._take(_BLANKS) or self._take(_COMMENT):
            pass

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _one_of(self, pattern: re.Pattern[str], allowed: frozenset[str]) -> str:
        signs = self._take(pattern)
        if signs not in allowed:
            raise Unparsable(f"{signs!r} is no operator.")
        return signs

    def _quoted(self) -> Text:
        quoted = self._take(_QUOTED)
        if not quoted:
            raise Unparsable("A text is not closed.")
        return Text(quoted[1:-1].replace(f"\\{quoted[0]}", quoted[0]))

    def _number(self) -> Number:
        number = self._take(_NUMBER)
        if not _WHOLE_NUMBER.fullmatch(number):
            raise Unparsable(f"{number!r} is no number.")
        return Number(number)

    def _word(self, depth: int) -> Identifier | Call:
        word = self._take(_WORD)
        if not word:
            raise Unparsable(f"{self._text[self._at : self._at + 1]!r} begins nothing.")
        if word[-1] in ".:" or word in ("@", "_", "#"):
            raise Unparsable(f"{word!r} is no identifier.")
        if self._text[self._at : self._at + 1] == "(":
            return self._call(word, depth)
        return Identifier(word)

    def _group(self) -> str:
        self._at += 1
        begin, depth = self._at, 1
        while depth:
            self._take(_UNGROUPED)
            match self._text[self._at : self._at + 1]:
                case "(":
                    depth += 1
                    self._at += 1
                case ")":
                    depth -= 1
                    self._at += 1
                case "":
                    raise Unparsable("A bracket is not closed.")
                case _:
                    self._quoted()
        return self._text[begin : self._at - 1]

    def _call(self, name: str, depth: int) -> Call:
        """A comma must stand between arguments and may stand behind the last."""
        if depth <= 0:
            raise Unparsable("Calls are nested too deeply.")
        self._at += 1
        arguments: list[Operand] = []
        while not self._call_ends():
            arguments.append(self._operand(depth - 1))
            self._skip_blanks()
            if not self._skip(",") and self._text[self._at : self._at + 1] != ")":
                raise Unparsable("Arguments are not separated by a comma.")
        return Call(name, tuple(arguments))

    def _call_ends(self) -> bool:
        self._skip_blanks()
        return self._skip(")")

    def _skip(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found
