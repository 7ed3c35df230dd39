"""Which collections the record feed follows, and of which it shows the records."""

from natsync.core.collections.collection_names import CollectionNames
from natsync.core.collections.followed import Followed

COLLECTIONS = [
    {"id": "1", "name": "posts", "type": "base"},
    {"id": "2", "name": "users", "type": "auth", "system": False},
    {"id": "3", "name": "latest", "type": "view"},
    {"id": "4", "name": "_superusers", "type": "auth", "system": True},
    {"id": "5", "name": "nats_users", "type": "auth"},
    {"id": "6", "name": "natsync_keys", "type": "base"},
]
FOLLOWED = Followed.of(COLLECTIONS, CollectionNames())


def test_all_are_followed_but_views_and_pocketbases_own() -> None:
    assert FOLLOWED.names == ["nats_users", "natsync_keys", "posts", "users"]


def test_whole_records_are_asked_for_where_they_hold_no_keys() -> None:
    assert FOLLOWED.shown == ["posts", "users"]


def test_an_image_has_all_that_its_event_has_and_the_record() -> None:
    event = FOLLOWED.event("posts", "x", "update", epoch="e", sequence=7)
    shown = FOLLOWED.image(event, {"id": "x", "title": "a"})
    assert all(getattr(shown, name) == getattr(event, name) for name in event.__struct_fields__)
    assert (shown.record, shown.left_out) == ({"id": "x", "title": "a"}, "")


def test_what_holds_keys_is_left_out_even_if_it_came() -> None:
    event = FOLLOWED.event("nats_users", "x", "update", epoch="e", sequence=7)
    shown = FOLLOWED.image(event, {"id": "x", "creds_file": "secret"})
    assert (shown.record, shown.left_out) == (None, "secret")


def test_what_holds_keys_is_left_out_by_whatever_name_it_goes() -> None:
    renamed = [*COLLECTIONS, {"id": "7", "name": "devices", "type": "auth"}]
    followed = Followed.of(renamed, CollectionNames(users="devices"))
    assert followed.shown == ["posts", "users"]
    event = followed.event("devices", "x", "update", epoch="e", sequence=7)
    assert followed.image(event, {"id": "x", "creds_file": "secret"}).record is None
