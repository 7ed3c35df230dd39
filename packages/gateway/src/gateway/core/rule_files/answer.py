"""PocketBase's answer before the rules: its records, the expanded ones in them, and what the rules made of both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gateway.core.bodies.json_values import NotJson, decoded
from gateway.core.operation import Operation, Read
from gateway.core.refusals import UnreadableAnswer
from gateway.core.rule_files.context import Context, records_of
from gateway.core.rule_files.expanded import expanded
from gateway.core.rule_files.outcome import Misruled, checked_json
from gateway.core.rule_files.rule_set import Rule

UNREADABLE = "PocketBase's answer cannot be shown to the rules."


@dataclass(frozen=True, slots=True)
class Answer:
    """`value` is None for an empty body, which the answer to a delete is."""

    body: bytes
    value: dict[str, Any] | None

    @classmethod
    def read(cls, body: bytes, *, max_bytes: int) -> "Answer":
        """Raises UnreadableAnswer: what no rule can look at goes back to nobody."""
        if not body:
            return cls(body, None)
        if len(body) > max_bytes:
            raise UnreadableAnswer(UNREADABLE)
        try:
            value = decoded(body)
        except NotJson as error:
            raise UnreadableAnswer(UNREADABLE) from error
        if not isinstance(value, dict):
            raise UnreadableAnswer(UNREADABLE)
        return cls(body, cast(dict[str, Any], value))

    def inner(self, rule: Rule, operation: Operation) -> Iterator[tuple[Read, dict[str, Any]]]:
        """The expanded records that the rule guards, each a view. Raises InvalidRequest as `expanded` does."""
        expands = operation.expands if isinstance(operation, Read) else dict[str, str]()
        for collection, record in expanded(records_of(operation.action, self.value), expands):
            if rule.guards(collection, "view"):
                id: object = record.get("id")
                yield Read("view", collection, id if isinstance(id, str) else None, operation.query), record

    def settled(
        self, inner: Sequence[tuple[dict[str, Any], Context]], outer: Context | None, *, max_bytes: int
    ) -> "Answer":
        """The answer as the rules left it, copied. Raises Misruled for what is no answer, or too large."""
        for record, context in inner:
            replace_in_place(record, context.answer)
        value = outer.answer if outer else self.value
        if self.value is None:
            return self
        body = checked_json(value, max_bytes=max_bytes)
        return Answer(body, decoded(body))


def replace_in_place(record: dict[str, Any], answer: object) -> None:
    """For a rule that has put another object in the place of an expanded record."""
    if answer is record:
        return
    if not isinstance(answer, dict):
        raise Misruled(f"{type(answer).__name__} in place of an object")
    others = cast(dict[str, Any], answer)
    record.clear()
    record.update(others)
