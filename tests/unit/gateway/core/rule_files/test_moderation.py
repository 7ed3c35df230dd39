"""Which texts go to the classifier, and how its answers are read."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.rule_files.moderation import (
    ModeratedText,
    ModerationTerms,
    UnreadableScore,
    guards_of,
    judged,
    score_of,
    texts_of,
)
from gateway.core.rule_files.refusals import Refused, data_of

TERMS = ModerationTerms(url="http://classifier", threshold=0.8, max_characters=50)
GUARDS = guards_of(["posts.title", "posts.meta"])


def texts(fields: dict[str, Any], names: list[str] | None = None) -> dict[str, str]:
    guards = GUARDS if names is None else guards_of(names)
    return {item.key: item.text for item in texts_of(fields, guards, TERMS)}


def test_chosen_fields_are_shown_by_whatever_spelling_they_are_written() -> None:
    assert texts({"title:autogenerate": "a", "title+": "b", "body": "c", "n": 1}) == {
        "title:autogenerate": "a",
        "title+": "b",
    }


def test_text_is_found_inside_lists_and_objects() -> None:
    assert texts({"meta": {"a": ["bädword"]}})["meta"] == '{"a": ["bädword"]}'
    assert texts({"meta": ["x"]}) == {"meta": '["x"]'}


def test_what_holds_no_text_is_not_shown() -> None:
    assert texts({"title": "  ", "meta": {}}) == {}
    assert texts({"title": 3, "meta": None}) == {}
    assert texts({"title": True, "meta": []}) == {}


def test_a_star_stands_for_every_field() -> None:
    assert texts({"a": "x", "b": "y", "c": 1}, ["posts.*"]) == {"a": "x", "b": "y"}


def test_a_text_too_long_to_be_shown_whole_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        texts({"title": "x" * 51, "meta": "y"})
    assert set(data_of(refused.value.errors)) == {"title"}


@pytest.mark.parametrize("name", ["posts", "posts.", ".title", ""])
def test_settings_that_name_no_field_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"collection\.field"):
        guards_of([name])


OPENAI = {"results": [{"flagged": True, "category_scores": {"hate": 0.2, "violence": 0.7}}]}
TRANSFORMERS = [[{"label": "toxic", "score": 0.9}, {"label": "neutral", "score": 0.99}]]


@pytest.mark.parametrize(
    ("answer", "path", "labels", "score"),
    [
        ({"score": 0.4}, "score", [], 0.4),
        ({"score": True}, "score", [], 1.0),
        (OPENAI, "results.*.category_scores.*", [], 0.7),
        (OPENAI, "results.0.flagged", [], 1.0),
        (TRANSFORMERS, "*.*", ["toxic"], 0.9),
        (TRANSFORMERS, "0.*", [], 0.99),
        (TRANSFORMERS, "*.*", ["obscene"], 0.0),
        ({"a": "text", "b": 0.1}, "*", [], 0.1),
    ],
)
def test_scores_are_found_where_the_path_leads(answer: object, path: str, labels: list[str], score: float) -> None:
    assert score_of(answer, ModerationTerms(score_path=path, labels=frozenset(labels))) == score


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        "0.9",
        {"score": None},
        {"score": "0.9"},
        {"score": float("nan")},
        {"score": [0.9]},
        {"scores": 0.9},
    ],
)
def test_an_answer_without_a_score_is_none(answer: object) -> None:
    with pytest.raises(UnreadableScore):
        score_of(answer, ModerationTerms())


@given(
    st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)), st.text()
)
def test_no_answer_breaks_the_reading(answer: object, path: str) -> None:
    with suppress(UnreadableScore):
        assert isinstance(score_of(answer, ModerationTerms(score_path=path)), float)


def test_texts_at_their_threshold_are_refused_each_by_name() -> None:
    scored = [
        (ModeratedText("a", "x", 0.5), 0.5),
        (ModeratedText("b", "x", 0.5), 0.49),
        (ModeratedText("c", "x", 0.1), 0.2),
    ]
    with pytest.raises(Refused) as refused:
        judged(scored)
    assert set(data_of(refused.value.errors)) == {"a", "c"}
    judged(scored[1:2])


def test_moderation_is_off_without_a_classifier() -> None:
    assert TERMS.is_on
    assert not ModerationTerms().is_on


def test_the_classifiers_key_is_shown_nowhere() -> None:
    assert "hunter2" not in repr(ModerationTerms(authorization="Bearer hunter2"))
