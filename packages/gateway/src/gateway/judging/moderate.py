"""Shows texts to the classifier before they are written, within one deadline however many they are."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from common.core.errors import UpstreamUnavailable
from common.task_group import TaskGroup
from gateway.core.operation import Write
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.moderation import ModeratedText, ModerationTerms, judged, texts_of
from gateway.core.rule_files.refusals import ModerationUnavailable
from gateway.core.rule_files.rule_set import ModeratedFields

logger = structlog.get_logger(__name__)


class Classifier(Protocol):
    async def score(self, text: str) -> float:
        """Raises UpstreamUnavailable when there is no score to be had."""
        ...


class Moderator:
    """Does nothing without a classifier."""

    def __init__(self, classifier: Classifier | None, terms: ModerationTerms, journal: Journal) -> None:
        self._classifier = classifier
        self._terms = terms
        self._journal = journal
        self._calls = asyncio.Semaphore(terms.max_calls)

    async def moderate(self, write: Write, guards: Sequence[ModeratedFields]) -> None:
        """Raises Refused for what is not accepted, ModerationUnavailable when nobody could tell and that matters."""
        if self._classifier is None or not guards:
            return
        texts = texts_of(write.fields, guards, self._terms)
        try:
            async with asyncio.timeout(self._terms.deadline_seconds):
                scores = await self._scores(self._classifier, texts)
        except (UpstreamUnavailable, TimeoutError) as error:
            self._failed(guards[0], type(error).__name__)
        else:
            judged(zip(texts, scores, strict=True))

    async def _scores(self, classifier: Classifier, texts: Sequence[ModeratedText]) -> list[float]:
        try:
            async with TaskGroup() as tasks:
                scoring = [tasks.create_task(self._score(classifier, item.text)) for item in texts]
        except* UpstreamUnavailable as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in scoring]

    async def _score(self, classifier: Classifier, text: str) -> float:
        async with self._calls:
            return await classifier.score(text)

    def _failed(self, guard: ModeratedFields, kind: str) -> None:
        self._journal.note(guard.name, guard.place, kind, now=time.time())
        logger.error("no verdict of the classifier", rule=str(guard.place), error=kind, passed=self._terms.fails_open)
        if not self._terms.fails_open:
            raise ModerationUnavailable from None
