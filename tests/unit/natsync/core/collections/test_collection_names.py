from typing import Any

import pytest

from natsync.core.collections.collection_names import CollectionNames, answer_inward, body_outward, path_outward
from natsync.core.collections.schema import SPECS
from natsync.core.collections.shape import creation

NAMES = CollectionNames("tenants", "nats_roles", "devices")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/collections/nats_users/records/u1", "/api/collections/devices/records/u1"),
        ("/api/collections/nats_accounts", "/api/collections/tenants"),
        ("/api/collections/nats_roles/records", "/api/collections/nats_roles/records"),
        ("/api/collections/users/records", "/api/collections/users/records"),
        ("/api/collections", "/api/collections"),
        ("/api/realtime", "/api/realtime"),
    ],
)
def test_paths_go_out_in_pocketbases_words(path: str, expected: str) -> None:
    assert path_outward(path, NAMES) == expected


def test_so_does_every_request_of_a_batch() -> None:
    one = {"method": "PATCH", "url": "/api/collections/nats_users/records/u1", "body": {"active": True}}
    (sent,) = body_outward("/api/batch", {"requests": [one]}, NAMES)["requests"]
    assert sent == {**one, "url": "/api/collections/devices/records/u1"}


def test_a_collection_is_defined_under_its_name_and_rules_name_it_so() -> None:
    users = next(spec for spec in SPECS if spec.name == "nats_users")
    ids = {spec.name: spec.name for spec in SPECS} | {"users": "users"}
    said = creation(users, ids)
    sent = body_outward("/api/collections", said, NAMES)
    assert sent["name"] == "devices"
    assert '@request.auth.collectionName = "devices"' in sent["viewRule"]
    assert '"nats_users"' not in str(sent["viewRule"])
    assert answer_inward("/api/collections/devices", sent, NAMES) == said
    assert answer_inward("/api/collections", {"items": [sent]}, NAMES) == {"items": [said]}
    assert sent["createRule"] == said["createRule"]


def test_a_record_comes_back_in_ours_wherever_it_stands() -> None:
    theirs = {"id": "u1", "collectionName": "devices", "collection": "devices", "name": "tenants"}
    ours = {**theirs, "collectionName": "nats_users"}
    shapes: tuple[tuple[Any, Any], ...] = (
        (theirs, ours),
        ({"items": [theirs], "page": 1}, {"items": [ours], "page": 1}),
        ([{"status": 200, "body": theirs}], [{"status": 200, "body": ours}]),
    )
    for answer, expected in shapes:
        assert answer_inward("/api/collections/devices/records", answer, NAMES) == expected


def test_an_action_may_name_a_collection_either_way() -> None:
    for name in ("devices", "nats_users"):
        action = {"collectionName": "nats_actions", "collection": name}
        inward = answer_inward("/api/collections/nats_actions/records/x", action, NAMES)
        assert inward["collection"] == "nats_users"


@pytest.mark.parametrize("answer", [None, 5, "text", {"token": "t"}, []])
def test_what_is_no_record_stays_as_it_is(answer: Any) -> None:
    for path in ("/api/realtime", "/api/collections"):
        assert answer_inward(path, answer, NAMES) == answer


@pytest.mark.parametrize(
    "names",
    [("a b",), ("",), ("1a",), ("x" * 101,), ("natsync_keys",), ("users",), ("nats_users",), ("same", "same")],
)
def test_a_name_that_cannot_be_or_is_anothers_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="name"):
        CollectionNames(*names)


def test_by_default_nothing_is_translated() -> None:
    assert CollectionNames().are_usual
    assert not NAMES.are_usual
