"""NATS subjects as text: what is one, what covers what, and where a template stands in one.

Sources: nats-server (`sublist.go`, subject matching; `auth.go`, templates), nats-io/jwt v2 (`types.go`).
"""

import re
from functools import lru_cache

MAX_SUBJECT_CHARACTERS = 1000
FULL_WILDCARD = ">"
TEMPLATE = re.compile(
    r"\{\{(name|subject|account-name|account-subject)\(\)\}\}|\{\{(account-tag|tag)\(([^(){}\s.]+)\)\}\}"
)


@lru_cache(maxsize=4096)  # the roles of a thousand accounts name the same few
def subject_fault(subject: str, *, queues: bool = False, templates: bool = False) -> str:
    """Why this is no subject, or nothing. A subscription may name a queue group after a space."""
    plain, space, queue = subject.partition(" ")
    tokens = plain.split(".")
    faults = (
        ("is too long", len(subject) > MAX_SUBJECT_CHARACTERS),
        ("has a space in it", bool(space) and not queues),
        ("names no proper queue group", bool(space) and not is_plain(queue)),
        ("is empty, or has a space or control character in it", not is_plain(plain)),
        ("has an empty token", "" in tokens),
        ("has '>' before its end", ">" in tokens[:-1]),
        ("has a wildcard that does not stand alone", any(is_half_wildcard(token) for token in tokens)),
        ("has a template in it", not templates and any(looks_templated(token) for token in tokens)),
        ("has an unknown template in it", templates and any(is_half_template(token) for token in tokens)),
    )
    return next((fault for fault, holds in faults if holds), "")


def is_half_wildcard(token: str) -> bool:
    return len(token) > 1 and ("*" in token or ">" in token)


def is_plain(text: str) -> bool:
    return text != "" and text.isprintable() and not any(character.isspace() for character in text)


def is_literal_token(text: str) -> bool:
    """May this stand for one token, and for nothing but itself?"""
    return is_plain(text) and not any(character in text for character in ".*>") and not looks_templated(text)


def has_wildcards(subject: str) -> bool:
    return any(token in ("*", ">") for token in subject.split("."))


def looks_templated(token: str) -> bool:
    return "{{" in token or "}}" in token


def is_half_template(token: str) -> bool:
    """Braces beside a template, or for none that servers know."""
    remainder = TEMPLATE.sub("", token)
    return looks_templated(remainder) or (remainder != token and any(brace in remainder for brace in "{}"))


def has_template(subject: str) -> bool:
    return TEMPLATE.search(subject) is not None


def covers(wide: str, narrow: str) -> bool:
    """Does `wide` match whatever `narrow` matches? Either may have wildcards."""
    wide_tokens, narrow_tokens = wide.split("."), narrow.split(".")
    for position, mine in enumerate(wide_tokens):
        if position >= len(narrow_tokens):
            return False
        if mine == FULL_WILDCARD:
            return True
        theirs = narrow_tokens[position]
        if theirs == ">" or mine not in ("*", theirs):
            return False
    return len(wide_tokens) == len(narrow_tokens)


def collide(one: str, other: str) -> bool:
    """Do servers refuse the two beside each other? They do when one contains the other, `*` taken to contain `>`."""
    return contains(one, other) or contains(other, one)


def contains(wide: str, narrow: str) -> bool:
    tokens = narrow.split(".")
    if tokens[-1] == FULL_WILDCARD and len(tokens) == len(wide.split(".")):
        tokens[-1] = "*"
    return covers(wide, ".".join(tokens))


def overlap(one: str, other: str) -> bool:
    """Is there a subject that both match?"""
    one_tokens, other_tokens = one.split("."), other.split(".")
    for mine, theirs in zip(one_tokens, other_tokens, strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return len(one_tokens) == len(other_tokens)
