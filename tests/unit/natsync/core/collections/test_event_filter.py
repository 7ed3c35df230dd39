import pytest

from natsync.core.collections.event_filter import is_heeded, known_events


def test_without_names_every_event_begins_a_pass() -> None:
    assert is_heeded((), "nats_users", "update")


@pytest.mark.parametrize(
    ("collection", "action", "expected"),
    [
        ("nats_users", "update", True),
        ("nats_accounts", "create", True),
        ("nats_accounts", "update", False),
        ("natsync_bans", "create", True),
    ],
)
def test_a_name_is_a_collection_or_one_kind_of_event_in_it(collection: str, action: str, expected: bool) -> None:
    names = known_events(["nats_users", "nats_accounts.create"])
    assert is_heeded(names, collection, action) is expected


@pytest.mark.parametrize("name", ["users", "nats_users.view", "natsync_keys", "", "nats_users.", "NATS_USERS"])
def test_what_is_no_event_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="name 2 is no event"):
        known_events(["nats_users", name])
