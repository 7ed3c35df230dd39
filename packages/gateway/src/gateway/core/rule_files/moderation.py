"""Which texts of a write a classifier is shown, how its answer reads, and what follows from it."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.core.bodies.field_names import field_of
from gateway.core.operation import Action
from gateway.core.rule_files.refusals import FieldError, invalid
from gateway.core.rule_files.rule_set import EVERY, ModeratedFields, Place

REFUSED = "Not accepted by moderation."
REFUSED_CODE = "validation_moderation"
OVERLONG = "Must be no more than {} characters to be moderated."
OVERLONG_CODE = "validation_max_text_constraint"


class UnreadableScore(ValueError):
    """The classifier answered something in which no score can be found."""


@dataclass(frozen=True, slots=True)
class ModerationTerms:
    """How any one classifier is asked. Off without a URL.

    It is sent `{text_key: text}` as JSON. `score_path` leads to what its answer holds: keys and positions with dots
    between them, `*` for every one; there, a number or a truth counts as it is, and an object of `label` and `score`
    counts if its label is among `labels`, or if there are none of these.
    """

    url: str = ""
    authorization: str = field(default="", repr=False)
    text_key: str = "text"
    score_path: str = "score"
    labels: frozenset[str] = frozenset()
    threshold: float = 0.8
    deadline_seconds: float = 2.0
    fails_open: bool = False
    max_characters: int = 20_000
    max_calls: int = 32

    @property
    def is_on(self) -> bool:
        return bool(self.url)


@dataclass(frozen=True, slots=True)
class ModeratedText:
    """`key` is as the client spelt it, since the answer is for the client."""

    key: str
    text: str
    threshold: float


def guards_of(fields: Iterable[str]) -> tuple[ModeratedFields, ...]:
    """From settings such as `posts.title` and `comments.*`. Raises ValueError for any other shape."""
    return tuple(guard_of(name) for name in fields)


def guard_of(name: str) -> ModeratedFields:
    collection, dot, chosen = name.partition(".")
    if not (collection and dot and chosen):
        raise ValueError(f"{name!r} is not of the form collection.field")
    actions: frozenset[Action] = frozenset({"create", "update"})
    collections = frozenset({collection.casefold()})
    return ModeratedFields(
        "moderate", "moderate", Place("settings", 0), collections, actions, frozenset({chosen}), None
    )


def texts_of(
    fields: Mapping[str, Any], guards: Sequence[ModeratedFields], terms: ModerationTerms
) -> list[ModeratedText]:
    """What is to be shown, by whatever spelling it is written; the strictest threshold counts.

    Raises Refused for a text beyond the bound: one that is not shown whole could hide anything.
    """
    texts: list[ModeratedText] = []
    for key, value in fields.items():
        thresholds = [threshold_of(guard, terms) for guard in guards if guard.fields & {field_of(key), EVERY}]
        text = text_of(value)
        if thresholds and text:
            texts.append(ModeratedText(key, text, min(thresholds)))
    if overlong := [item.key for item in texts if len(item.text) > terms.max_characters]:
        invalid(*(FieldError(key, OVERLONG.format(terms.max_characters), OVERLONG_CODE) for key in overlong))
    return texts


def threshold_of(guard: ModeratedFields, terms: ModerationTerms) -> float:
    return terms.threshold if guard.threshold is None else guard.threshold


def text_of(value: object) -> str:
    """Lists and objects may hold text anywhere; numbers and truths hold none."""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) and value else ""


def score_of(answer: object, terms: ModerationTerms) -> float:
    """The highest score. Raises UnreadableScore when there is none."""
    found = follow([answer], terms.score_path.split("."))
    scores = [score for value in found if (score := number_of(value, terms.labels)) is not None]
    if not scores:
        raise UnreadableScore("no score where score_path leads")
    return max(scores)


def follow(values: list[object], steps: Sequence[str]) -> list[object]:
    for step in steps:
        values = [inner for value in values for inner in inside(value, step)]
    return values


def inside(value: object, step: str) -> Iterator[object]:
    if isinstance(value, dict):
        members = cast(dict[str, object], value)
        yield from members.values() if step == EVERY else (members[key] for key in (step,) if key in members)
    elif isinstance(value, list):
        items = cast(list[object], value)
        yield from items if step == EVERY else items[slice_of(step)]


def slice_of(step: str) -> slice:
    return slice(int(step), int(step) + 1) if step.isdecimal() else slice(0)


def number_of(value: object, labels: frozenset[str]) -> float | None:
    """None for what is no score. A label that does not count scores nothing, which is a score too."""
    if isinstance(value, dict):
        members = cast(dict[str, object], value)
        score = number_of(members.get("score"), labels)
        counts = not labels or members.get("label") in labels
        return score if score is None or counts else 0.0
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def judged(scored: Iterable[tuple[ModeratedText, float]]) -> None:
    """Raises Refused with an error for every text that scored its threshold or more."""
    refused = [FieldError(item.key, REFUSED, REFUSED_CODE) for item, score in scored if score >= item.threshold]
    if refused:
        invalid(*refused)
