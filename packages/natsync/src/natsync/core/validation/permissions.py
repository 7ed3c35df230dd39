"""Which subjects a row names: read from its text and checked."""

import json
from typing import cast

from natsync.core.validation.subject_grammar import subject_fault
from natsync.core.validation.user_validation import MAX_SUBJECTS

DEFAULT_PUBLISH = (">",)
DEFAULT_SUBSCRIBE = (">", "_INBOX.>")


class BadPermissions(ValueError):
    """The text is no list of subjects; the message says why and is shown on the row."""


def read_subjects(text: str, field: str, *, queues: bool) -> tuple[str, ...]:
    """Raises BadPermissions. Templates may stand in them; for whom they are filled in is another question."""
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
