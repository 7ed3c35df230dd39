from typing import Any

import pytest

from natsync.core.deciding.hints import is_edited

BEFORE: dict[str, Any] = {"id": "u1", "updated": "1", "synced_at": "", "active": False, "jwt": "old"}


@pytest.mark.parametrize(
    ("after", "edited"),
    [
        ({"updated": "2", "synced_at": "2", "jwt": "new"}, False),
        ({"updated": "2", "active": True, "jwt": "new"}, True),
        ({"updated": "2", "jwt": "new", "unasked": 1}, False),
    ],
)
def test_what_natsync_did_not_write_was_written_by_somebody_else(after: dict[str, Any], edited: bool) -> None:
    assert is_edited(BEFORE, {**BEFORE, **after}, {"jwt"}) == edited


def test_a_row_that_was_not_known_is_no_edited_one() -> None:
    assert not is_edited(None, BEFORE, {"jwt"})
