"""Runs one rule beside the server's loop, and turns whatever happens to it into a verdict."""

import inspect
import time
from collections.abc import Sequence

import structlog

from gateway.core.operation import Operation
from gateway.core.rule_files.context import Context
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.outcome import Misruled, place_of, refusal_in, text_of
from gateway.core.rule_files.refusals import RuleFailed, RuleOverdue
from gateway.core.rule_files.rule_set import Rule
from gateway.isolate.lanes import Lanes
from gateway.isolate.outcome import Crowded, Outcome, Overdue

logger = structlog.get_logger(__name__)

MAX_MESSAGE_CHARACTERS = 200


class Runner:
    """`tells_messages` writes the text of a rule's exception to the log: in development only, it may quote a record."""

    def __init__(self, lanes: Lanes, journal: Journal, *, deadline_seconds: float, tells_messages: bool) -> None:
        self._lanes = lanes
        self._journal = journal
        self._tells_messages = tells_messages
        self.deadline_seconds = deadline_seconds

    async def run(self, rule: Rule, contexts: Sequence[Context], operation: Operation) -> None:
        """One deadline for all contexts. Returns when the rule passed them; raises a ServiceError otherwise."""
        try:
            outcome = await self._called(rule, contexts)
        except (Overdue, Crowded) as error:
            self.blame(rule, error, operation)
            raise RuleOverdue from None
        if outcome.error is None:
            return
        if refusal := refusal_in(outcome.error, operation.action):
            raise refusal from None
        self.blame(rule, outcome.error, operation)
        raise RuleFailed from None

    async def _called(self, rule: Rule, contexts: Sequence[Context]) -> Outcome[None]:
        if rule.is_async:
            return await self._lanes.loops.run(lambda: awaited(rule, contexts), seconds=self.deadline_seconds)
        return await self._lanes.threads.run(lambda: called(rule, contexts), seconds=self.deadline_seconds)

    def blame(self, rule: Rule, error: BaseException, operation: Operation) -> None:
        """To the journal and the log: where, and of what kind; what it says only where that is wanted."""
        place = place_of(error, rule.place.file) or rule.place
        self._journal.note(rule.name, place, type(error).__name__, now=time.time())
        is_told = self._tells_messages or isinstance(error, Misruled | Overdue)
        logger.error(
            "a rule failed",
            rule=f"{rule.name} at {rule.place}",
            place=str(place),
            error=type(error).__name__,
            message=text_of(error, max_characters=MAX_MESSAGE_CHARACTERS) if is_told else None,
            collection=operation.collection,
            action=operation.action,
        )


def called(rule: Rule, contexts: Sequence[Context]) -> None:
    for context in contexts:
        check_returned(rule.call(context))


async def awaited(rule: Rule, contexts: Sequence[Context]) -> None:
    for context in contexts:
        check_returned(await rule.call(context))


def check_returned(returned: object) -> None:
    """Nothing means yes. Anything else is a rule that meant something by it which would be lost: a False among them."""
    if returned is None:
        return
    if inspect.iscoroutine(returned):
        returned.close()
    raise Misruled(f"a rule refuses by raising; it returned {type(returned).__name__}")
