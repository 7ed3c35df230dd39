"""Puts every read and write before the rules, and lets through what all of them let through.

write: awarded fields | validate | before | moderate -> PocketBase -> after
read:  before -> cache or PocketBase -> after

A hearing keeps to the rule set it began with. A verdict is what one call returns or raises, and every rule gets a
context of its own, so neither concurrent requests nor what a rule has left running can mix anything up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gateway.core.bodies.field_names import modified
from gateway.core.operation import Operation, Read, Write
from gateway.core.rule_files.answer import Answer
from gateway.core.rule_files.awarded_fields import AwardedFields
from gateway.core.rule_files.context import Asker, Context, Metadata
from gateway.core.rule_files.model_validation import without_undeclared
from gateway.core.rule_files.outcome import Misruled, changed
from gateway.core.rule_files.refusals import FieldError, Refused, RuleFailed, service_error
from gateway.core.rule_files.rule_set import Rule, RuleSet
from gateway.judging.moderate import Moderator
from gateway.judging.read_once import ReadOnce, StoredRecords
from gateway.judging.run_rule import Runner

MAX_RECORD_BYTES = 32 * 1024 * 1024
GIVEN_TWICE = "Give the field once."
MAX_ANSWER_BYTES = 32 * 1024 * 1024


class Rules(Protocol):
    @property
    def current(self) -> RuleSet: ...


@dataclass(frozen=True, slots=True)
class FixedRules:
    """Rules that never change; none at all where no folder is configured."""

    current: RuleSet = field(default_factory=RuleSet)


@dataclass(frozen=True, slots=True)
class Case:
    """What one rule is given, and the record behind it should it want that."""

    context: Context
    reading: ReadOnce


@dataclass(frozen=True, slots=True)
class Judge:
    rules: Rules
    runner: Runner
    records: StoredRecords
    moderator: Moderator
    awarded: AwardedFields = field(default_factory=AwardedFields)
    max_record_bytes: int = MAX_RECORD_BYTES
    max_answer_bytes: int = MAX_ANSWER_BYTES

    def hearing(self, principal: Asker, metadata: Metadata) -> "Hearing":
        """For one request, a batch included: all of it is judged by the rules in force now."""
        return Hearing(self, self.rules.current, principal, metadata)


@dataclass(frozen=True, slots=True)
class Hearing:
    """Every method raises a ServiceError rather than let through what a rule refuses, or could not judge."""

    judge: Judge
    rules: RuleSet
    principal: Asker
    metadata: Metadata

    async def before_write(self, write: Write) -> Write:
        """What is to be written in its place. A rule may write what the client may not."""
        self.judge.awarded.check(write)
        self.rules.check_loaded()
        if self.rules.changes(write):
            check_spellings(write)
        write = await self._validated(write)
        for rule in self.rules.find("before", write.collection, write.action):
            write, _ = await self._ruled(rule, write)
        try:
            await self.judge.moderator.moderate(write, self.rules.find_moderated(write.collection, write.action))
        except Refused as refused:
            raise service_error(refused, write.action) from None
        return write

    async def before_read(self, read: Read) -> None:
        """To be asked before the cache is: an answer may be there that this caller must not have."""
        self.rules.check_loaded()
        for rule in self.rules.find("before", read.collection, read.action):
            await self._run(rule, read, [self._case(read)])

    async def after(self, operation: Operation, body: bytes) -> bytes:
        """What goes back in place of PocketBase's answer. Only for answers of success."""
        self.rules.check_loaded()
        if not self.rules.redacts(operation, body):
            return body
        answer = Answer.read(body, max_bytes=self.judge.max_answer_bytes)
        for rule in self.rules.after_answers:
            answer = await self._answered(rule, operation, answer)
        return answer.body

    async def _validated(self, write: Write) -> Write:
        """Every model sees what the client gave; what none of them knows is left out at the end."""
        given, declared = write.fields, set[str]()
        rules = self.rules.find("validate", write.collection, write.action)
        for rule in rules:
            write, context = await self._ruled(rule, write)
            declared |= context.declared or set()
        return replace(write, fields=without_undeclared(write.fields, given, declared)) if rules else write

    async def _ruled(self, rule: Rule, write: Write) -> tuple[Write, Context]:
        case = self._case(write)
        await self._run(rule, write, [case])
        try:
            return changed(write, case.context.record, max_bytes=self.judge.max_record_bytes), case.context
        except Misruled as error:
            self.judge.runner.blame(rule, error, write)
            raise RuleFailed from None

    async def _answered(self, rule: Rule, operation: Operation, answer: Answer) -> Answer:
        """Expanded records come first, so that the rule sees the whole as the client will."""
        inner = [(record, self._case(read, record, is_answered=True)) for read, record in answer.inner(rule, operation)]
        is_meant = rule.guards(operation.collection, operation.action)
        outer = self._case(operation, answer.value, is_answered=True) if is_meant else None
        cases = [case for _, case in inner] + ([outer] if outer else [])
        if not cases:
            return answer
        await self._run(rule, operation, cases)
        contexts = [(record, case.context) for record, case in inner]
        try:
            return answer.settled(contexts, outer and outer.context, max_bytes=self.judge.max_answer_bytes)
        except Misruled as error:
            self.judge.runner.blame(rule, error, operation)
            raise RuleFailed from None

    async def _run(self, rule: Rule, operation: Operation, cases: Sequence[Case]) -> None:
        await self.judge.runner.run(rule, [case.context for case in cases], operation)
        for case in cases:
            if case.reading.failure:
                raise case.reading.failure

    def _case(self, operation: Operation, answer: dict[str, Any] | None = None, *, is_answered: bool = False) -> Case:
        seconds = self.judge.runner.deadline_seconds
        reading = ReadOnce(self.judge.records, operation, is_answered=is_answered, seconds=seconds)
        context = Context(
            operation, principal=self.principal, metadata=self.metadata, stored=reading.as_stored(), answer=answer
        )
        return Case(context, reading)


def check_spellings(write: Write) -> None:
    """Raises InvalidFields for a field that is given both by its own name and by another spelling: a rule that sets
    the one could not tell its word from the client's.
    """
    if twice := modified(write.fields):
        raise service_error(Refused(None, 400, [FieldError(key, GIVEN_TWICE) for key in sorted(twice)]), write.action)
