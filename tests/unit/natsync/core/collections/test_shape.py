from typing import Any

import pytest

from natsync.core.collections import shape as collections
from natsync.core.collections.schema import ACCOUNTS, EXPORTS, KEYS, ROLES, SPECS, USERS
from natsync.core.collections.shape import ROLES_UNTOUCHED, CollectionUnfit

IDS = {"nats_accounts": "i1", "nats_roles": "i2", "users": "i3"}


def made(spec: collections.Spec) -> dict[str, Any]:
    return collections.creation(spec, IDS)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_what_was_made_needs_no_correction(spec: collections.Spec) -> None:
    assert collections.correction(spec, made(spec), IDS) == {}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_secrets_are_hidden_and_nothing_is_open_to_guests(spec: collections.Spec) -> None:
    for field in spec.fields:
        secret = field["name"].endswith(("seed", "private_key")) or field["name"] == "older_keys"
        assert field.get("hidden", False) == secret or field["name"] == "jwt"
    assert all(rule is None or "@request.auth" in rule for rule in spec.rules.values())
    assert len(spec.rules) == 5


def test_relations_point_to_collections_by_id() -> None:
    targets = {field["name"]: field["collectionId"] for field in made(USERS)["fields"] if "collectionId" in field}
    assert targets == {"account_id": "i1", "role_id": "i2", "user": "i3"}


def test_the_owners_fields_stay_and_missing_ones_are_added() -> None:
    own = {"name": "own", "type": "file"}
    found = {**made(ACCOUNTS), "fields": [own, *made(ACCOUNTS)["fields"][3:]]}
    fields = collections.correction(ACCOUNTS, found, IDS)["fields"]
    assert fields[0] == own
    assert {field["name"] for field in made(ACCOUNTS)["fields"]} <= {field["name"] for field in fields}


def test_an_exposed_secret_a_short_field_a_loose_rule_and_a_lost_index_are_put_right() -> None:
    exposed = [{**field, "hidden": False, "max": 5000} for field in made(KEYS)["fields"]]
    found = {**made(KEYS), "fields": exposed, "listRule": "", "indexes": ["CREATE INDEX `own` ON `x` (`y`)"]}
    changes = collections.correction(KEYS, found, IDS)
    seed = next(field for field in changes["fields"] if field["name"] == "seed")
    assert (seed["hidden"], seed["max"]) == (True, collections.MAX_TEXT)
    assert changes["listRule"] is None
    assert len(changes["indexes"]) == 2


@pytest.mark.parametrize(
    ("spec", "name", "kind"), [(ROLES, "publish_permissions", "json"), (EXPORTS, "type", "select")]
)
def test_a_text_that_is_only_read_may_stand_in_a_field_of_another_kind(
    spec: collections.Spec, name: str, kind: str
) -> None:
    fields = [{"name": name, "type": kind}, *(field for field in made(spec)["fields"] if field["name"] != name)]
    assert collections.correction(spec, {**made(spec), "fields": fields}, IDS) == {}


def test_a_collection_of_another_shape_is_refused() -> None:
    with pytest.raises(CollectionUnfit, match="type base"):
        collections.correction(USERS, {**made(USERS), "type": "base"}, IDS)
    wrong = {**made(ACCOUNTS), "fields": [{"name": "active", "type": "text"}]}
    with pytest.raises(CollectionUnfit, match=r"nats_accounts\.active"):
        collections.correction(ACCOUNTS, wrong, IDS)


@pytest.mark.parametrize(
    ("rule", "guarded"),
    [
        (None, None),
        ("", ROLES_UNTOUCHED),
        ("id = @request.auth.id", f"(id = @request.auth.id) && {ROLES_UNTOUCHED}"),
        ("a = 1 || b = 2", f"(a = 1 || b = 2) && {ROLES_UNTOUCHED}"),
        (f"a = 1 || {ROLES_UNTOUCHED}", f"(a = 1 || {ROLES_UNTOUCHED}) && {ROLES_UNTOUCHED}"),
    ],
)
def test_a_rule_is_tightened_once(rule: str | None, guarded: str | None) -> None:
    assert collections.with_roles_untouched(rule) == guarded
    assert collections.with_roles_untouched(guarded) == guarded


def test_roles_of_another_kind_are_refused() -> None:
    for roles in ({"type": "text"}, {"type": "select", "maxSelect": 1, "values": ["admin"]}):
        with pytest.raises(CollectionUnfit):
            collections.users_correction({"fields": [{"name": "roles", **roles}], "createRule": None})
