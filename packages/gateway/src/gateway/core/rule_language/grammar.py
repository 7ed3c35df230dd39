"""A PocketBase filter or rule to a syntax tree, or the refusal to read it.

Grammar and limits are those of PocketBase's parser, down to its tolerance: a group may follow an operand or another
group without a join, and takes the place of what was begun before it. https://pocketbase.io/docs/api-rules-and-filters
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from gateway.core.rule_language.tokens import (
    Call,
    GroupText,
    Identifier,
    Join,
    Number,
    Operand,
    Operator,
    Text,
    Token,
    Unparsable,
    tokens_of,
)

MAX_COMPARISONS = 200
MAX_CLIENT_FILTER_BYTES = 3500
MAX_RULE_BYTES = 64 * 1024
MAX_GROUP_DEPTH = 24  # PocketBase has no limit of its own, but scans a group once for each bracket around it

JoinText: TypeAlias = Literal["&&", "||"]


@dataclass(frozen=True, slots=True)
class Comparison:
    left: Operand
    operator: str
    right: Operand


@dataclass(frozen=True, slots=True)
class Member:
    """One part of a group and how it is joined to what stands before it; the first one's join means nothing."""

    join: JoinText
    item: "Comparison | Group"


@dataclass(frozen=True, slots=True)
class Group:
    members: tuple[Member, ...]


def parse_rule(text: str) -> Group:
    """The tree of a collection's rule. Raises Unparsable."""
    return parsed(text, MAX_RULE_BYTES)


def parse_client_filter(text: str) -> Group:
    """The tree of what a client filters by. Raises Unparsable."""
    return parsed(text, MAX_CLIENT_FILTER_BYTES)


def parsed(text: str, max_bytes: int) -> Group:
    if len(text.encode("utf-8", "replace")) > max_bytes:
        raise Unparsable("The text is too long.")
    tree = group_of(text, MAX_GROUP_DEPTH)
    if sum(1 for _ in comparisons_of(tree)) > MAX_COMPARISONS:
        raise Unparsable("The text makes too many comparisons.")
    return tree


def group_of(text: str, depth: int) -> Group:
    """Raises Unparsable for an empty group as well."""
    if depth <= 0:
        raise Unparsable("Groups are nested too deeply.")
    reader = _Reader(depth)
    for token in tokens_of(text):
        reader.read(token)
    return reader.finished()


class _Reader:
    """What has been read of one group: whole members, and the operand and operator of one that is begun."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._members: list[Member] = []
        self._join: JoinText = "&&"
        self._is_joinable = False
        self._left: Operand | None = None
        self._operator: str | None = None

    def read(self, token: Token) -> None:
        match token:
            case GroupText(text):
                self._add(group_of(text, self._depth - 1))
            case Join(text) if self._is_joinable:
                self._join, self._is_joinable = cast(JoinText, text), False
            case Operator(text) if self._left is not None and self._operator is None:
                self._operator = text
            case Identifier() | Text() | Number() | Call() if not self._is_joinable:
                self._read_operand(token)
            case _:
                raise Unparsable("A token stands where it has no meaning.")

    def _read_operand(self, operand: Operand) -> None:
        if self._left is None:
            self._left = operand
        elif self._operator is None:
            raise Unparsable("Two operands stand without an operator.")
        else:
            self._add(Comparison(self._left, self._operator, operand))

    def _add(self, item: Comparison | Group) -> None:
        self._members.append(Member(self._join, item))
        self._left = self._operator = None
        self._is_joinable = True

    def finished(self) -> Group:
        if not self._is_joinable:
            raise Unparsable("The text ends before it says something whole.")
        return Group(tuple(self._members))


def comparisons_of(tree: Group) -> Iterator[Comparison]:
    for member in tree.members:
        if isinstance(member.item, Comparison):
            yield member.item
        else:
            yield from comparisons_of(member.item)
