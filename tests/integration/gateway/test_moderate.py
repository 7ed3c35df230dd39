"""Texts are shown to a real classifier before they are written, and its silence counts as configured."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.http_classifier import open_http_classifier
from gateway.core.body_refusals import InvalidFields
from gateway.core.rule_files.moderation import ModerationTerms
from gateway.core.rule_files.refusals import ModerationUnavailable
from tests.court import Court, sitting, write_rules
from tests.eventually import eventually
from tests.servers.classifier import ClassifierServer, classifier_server
from tests.servers.process import free_port

RULES = """
@before("posts", "create")
def sign(ctx):
    ctx.record["title"] = ctx.record.get("title", "") + " [ann]"

moderate("posts", "title", "body")
moderate("posts", "body", threshold=0.3)
"""


@pytest.fixture
async def classifier() -> AsyncGenerator[ClassifierServer]:
    async with classifier_server() as running:
        running.words = {"vile": 0.95, "rude": 0.5}
        yield running


@asynccontextmanager
async def moderated(folder: Path, terms: ModerationTerms) -> AsyncGenerator[Court]:
    write_rules(folder, rules=RULES)
    async with open_http_classifier(terms) as asked, sitting(folder, classifier=asked, terms=terms) as court:
        yield court


async def test_texts_are_shown_as_they_would_be_written_and_refused_by_field(
    tmp_path: Path, classifier: ClassifierServer
) -> None:
    async with moderated(tmp_path, ModerationTerms(url=classifier.url, authorization="Bearer key")) as court:
        assert await court.create({"title": "kind", "body": "kind", "n": 1})
        assert {"text": "kind [ann]"} in classifier.asked
        assert set(classifier.authorizations) == {"Bearer key"}
        with pytest.raises(InvalidFields) as refused:
            await court.create({"title": "rude", "body": "rude"})
        assert refused.value.data == {
            "body": {"code": "validation_moderation", "message": "Not accepted by moderation."}
        }
        with pytest.raises(InvalidFields) as refused:
            await court.update({"title:autogenerate": "vile"})
        assert set(refused.value.data) == {"title:autogenerate"}


async def test_without_a_classifier_nothing_is_shown_to_anybody(tmp_path: Path, classifier: ClassifierServer) -> None:
    async with moderated(tmp_path, ModerationTerms()) as court:
        assert await court.create({"title": "vile"}) == {"title": "vile [ann]"}
    assert classifier.asked == []


async def test_other_collections_and_fields_are_not_shown(tmp_path: Path, classifier: ClassifierServer) -> None:
    async with moderated(tmp_path, ModerationTerms(url=classifier.url)) as court:
        await court.update({"note": "vile"})
        await court.create({"title": "vile"}, collection="notes")
    assert classifier.asked == []


FAILURES: list[dict[str, object]] = [
    {"status": 500},
    {"status": 204, "answer": b""},
    {"status": 302, "headers": {"Location": "/classify"}},
    {"answer": b"not json"},
    {"answer": b"[" * 100_000},
    {"answer": {"verdict": "bad"}},
    {"answer": b'{"score": NaN}'},
    {"answer": b" " * 300_000 + b'{"score": 0}'},
    {"answer": gzip.compress(b'{"score": 0}'), "headers": {"Content-Encoding": "gzip"}},
]


@pytest.mark.parametrize("failure", FAILURES, ids=range(len(FAILURES)))
@pytest.mark.parametrize("fails_open", [True, False])
async def test_an_answer_without_a_score_counts_as_configured(
    tmp_path: Path, classifier: ClassifierServer, failure: dict[str, object], fails_open: bool
) -> None:
    for name, value in failure.items():
        setattr(classifier, name, value)
    async with moderated(tmp_path, ModerationTerms(url=classifier.url, fails_open=fails_open)) as court:
        if fails_open:
            assert await court.update({"title": "vile"})
        else:
            with pytest.raises(ModerationUnavailable):
                await court.update({"title": "vile"})
        assert court.journal.failures[0].kind == "UpstreamUnavailable"


async def test_a_classifier_that_is_not_there_counts_as_configured(tmp_path: Path) -> None:
    terms = ModerationTerms(url=f"http://127.0.0.1:{free_port()}/classify")
    async with moderated(tmp_path, terms) as court:
        with pytest.raises(ModerationUnavailable):
            await court.update({"title": "vile"})
    async with moderated(tmp_path, replace(terms, fails_open=True)) as court:
        assert await court.update({"title": "vile"}) == {"title": "vile"}


async def test_a_classifier_that_hangs_is_waited_for_until_the_deadline(
    tmp_path: Path, classifier: ClassifierServer
) -> None:
    classifier.released.clear()
    async with moderated(tmp_path, ModerationTerms(url=classifier.url, deadline_seconds=0.2)) as court:
        with pytest.raises(ModerationUnavailable):
            await court.update({"title": "vile"})
        assert court.journal.failures[0].kind in ("TimeoutError", "UpstreamUnavailable")


async def test_calls_at_one_time_are_bounded(tmp_path: Path, classifier: ClassifierServer) -> None:
    classifier.released.clear()
    terms = ModerationTerms(url=classifier.url, max_calls=2, deadline_seconds=30)
    async with moderated(tmp_path, terms) as court:
        writing = [asyncio.create_task(court.update({"title": "a", "body": "b"})) for _ in range(5)]

        async def two_are_under_way() -> bool:
            return classifier.under_way == 2

        await eventually(two_are_under_way)
        classifier.released.set()
        await asyncio.wait(writing)
        assert all(task.result() for task in writing)
        assert len(classifier.asked) == 10
        assert classifier.most_under_way == 2


async def test_other_classifiers_are_asked_and_read_in_their_own_way(
    tmp_path: Path, classifier: ClassifierServer
) -> None:
    classifier.answer = [[{"label": "toxic", "score": 0.9}, {"label": "neutral", "score": 0.1}]]
    terms = ModerationTerms(url=classifier.url, text_key="inputs", score_path="*.*", labels=frozenset({"toxic"}))
    async with moderated(tmp_path, terms) as court:
        with pytest.raises(InvalidFields):
            await court.update({"title": "anything"})
    assert classifier.asked == [{"inputs": "anything"}]
