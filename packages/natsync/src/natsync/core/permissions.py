"""Which subjects a role allows: read from its text, checked, and compared."""

import json
from typing import Any, cast

from natsync.core.claims import Permissions
from natsync.core.subject_grammar import subject_fault

DEFAULT_PUBLISH = (">",)
DEFAULT_SUBSCRIBE = (">", "_INBOX.>")
MAX_SUBJECTS = 500


class BadPermissions(ValueError):
    """The text is no list of subjects; the message says why and is shown on the row."""


def of_role(publish: str, subscribe: str) -> Permissions:
    """Raises BadPermissions. Empty lists mean the defaults: everything within the account."""
    return Permissions(
        publish=read_subjects(publish, "publish_permissions", queues=False) or DEFAULT_PUBLISH,
        subscribe=read_subjects(subscribe, "subscribe_permissions", queues=True) or DEFAULT_SUBSCRIBE,
    )


def read_subjects(text: str, field: str, *, queues: bool) -> tuple[str, ...]:
    if not text.strip():
        return ()
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadPermissions(f"{field} is not JSON") from error
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(subject, str) for subject in cast(list[object], value)):
        raise BadPermissions(f"{field} must be a JSON array of texts")
    subjects = tuple(dict.fromkeys(cast(list[str], value)))
    if len(subjects) > MAX_SUBJECTS:
        raise BadPermissions(f"{field} names more than {MAX_SUBJECTS} subjects")
    for subject in subjects:
        check_subject(subject, field, queues=queues)
    return subjects


def check_subject(subject: str, field: str, *, queues: bool) -> None:
    if fault := subject_fault(subject, queues=queues, templates=True):
        raise BadPermissions(f"{field}: {subject[:100]!r} {fault}")


def narrows(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """May the bearer of the token body `before` do anything that `after` does not spell out as well?

    Compared as text: a subject that only a wider one now covers counts as taken away, which costs a reconnection
    and no safety.
    """
    lost = any(set(allowed(before, side)) - set(allowed(after, side)) for side in ("pub", "sub"))
    return lost or any(is_less(after.get(limit, 0), before.get(limit, 0)) for limit in ("subs", "data", "payload"))


def allowed(body: dict[str, Any], side: str) -> list[str]:
    return body.get(side, {}).get("allow", [])


def is_less(now: int, before: int) -> bool:
    return now not in (before, -1) and (before == -1 or now < before)
