import json
from typing import Any

import pytest

from natsync.core.claims.account_claims import AccountLimits, Authorization, Export, Import
from natsync.core.claims.keys import KeyKind
from natsync.core.claims.user_claims import Permissions, ResponsePermission, UserClaims, UserLimits
from natsync.core.moving.adoption import Adopted, Adoption, NotAdoptable
from natsync.core.moving.nsc_store import adoption
from tests.nsc_folder import NscAccount, NscFolder, key


def rows(adopted: Adoption, collection: str) -> list[Any]:
    return [row for name, row in adopted.rows if name == collection]


def entry(adopted: Adoption, kind: str, name: str) -> Adopted:
    return next(one for one in adopted.entries if (one.kind, one.name) == (kind, name))


def test_the_operator_its_system_account_and_their_keys_are_taken_over() -> None:
    store = NscFolder()
    adopted = adoption(store.found())
    operator, system = adopted.entries
    assert (operator.identity.seed, operator.record) == (store.identity.seed, "operator")
    assert operator.signing
    assert operator.signing.seed == store.signer.seed
    assert (system.record, system.identity.public_key) == ("SYS", store.system.identity.public_key)
    assert rows(adopted, "nats_accounts") == []


def test_an_account_becomes_a_row_with_its_limits_and_keeps_its_keys_and_revocations() -> None:
    limits = AccountLimits(connections=5, data=-1, payload=1024, disk_storage=10, memory_storage=-1)
    cut = key(KeyKind.USER).public_key
    account = NscAccount("team a", {"limits": limits, "revocations": {cut: 7}, "description": "ours"})
    adopted = adoption(NscFolder(accounts=[account]).found())
    (row,) = rows(adopted, "nats_accounts")
    assert (row["name"], row["description"], row["active"]) == ("team a", "ours", True)
    assert (row["max_connections"], row["max_payload"], row["max_subscriptions"]) == (5, 1024, -1)
    assert (row["max_jetstream_disk_storage"], row["max_jetstream_memory_storage"]) == (10, -1)
    kept = entry(adopted, "account", "team a")
    assert (kept.record, kept.identity.public_key, kept.revocations) == (
        row["id"],
        account.identity.public_key,
        {cut: 7},
    )
    assert kept.signing
    assert kept.signing.seed == account.signer.seed


def test_users_who_may_do_the_same_share_a_role() -> None:
    account = NscAccount("a")
    same = UserClaims(Permissions(("x.>",), ("y",), ("z",), response=ResponsePermission(3, 5)), UserLimits(9, -1, 10))
    account.user("one", same)
    account.user("two", same)
    account.user("free", UserClaims())
    adopted = adoption(NscFolder(accounts=[account]).found())
    users = {row["nats_username"]: row for row in rows(adopted, "nats_users")}
    roles = {row["id"]: row for row in rows(adopted, "nats_roles")}
    assert users["one"]["role_id"] == users["two"]["role_id"] != users["free"]["role_id"]
    role = roles[users["one"]["role_id"]]
    assert [json.loads(role[f"{side}_permissions"]) for side in ("publish", "subscribe", "publish_deny")] == [
        ["x.>"],
        ["y"],
        ["z"],
    ]
    assert (role["allow_response"], role["allow_response_max"], role["allow_response_ttl"]) == (True, 3, 5)
    assert (role["max_subscriptions"], role["max_data"], role["max_payload"]) == (9, -1, 10)
    assert roles[users["free"]["role_id"]]["publish_permissions"] == ""


def test_a_scoped_key_becomes_a_role_that_its_users_hold() -> None:
    account = NscAccount("a", template=UserClaims(Permissions(("jobs.>",), ("jobs.>",))))
    account.user("worker")
    adopted = adoption(NscFolder(accounts=[account]).found())
    (role,), (user,) = rows(adopted, "nats_roles"), rows(adopted, "nats_users")
    assert (role["name"], user["role_id"]) == ("team", role["id"])
    scope = entry(adopted, "scope", "team")
    assert (scope.record, scope.identity.seed) == (f"{user['account_id']}.{role['id']}", account.scoped.seed)


def test_a_revoked_user_comes_switched_off() -> None:
    account = NscAccount("a")
    account.user("gone", UserClaims())
    account.user("here", UserClaims())
    account.claims = {"revocations": {account.users["gone"][0].public_key: 2**33}}
    users = rows(adoption(NscFolder(accounts=[account]).found()), "nats_users")
    assert {row["nats_username"]: row["active"] for row in users} == {"gone": False, "here": True}


def test_what_a_row_cannot_say_is_left_as_it_is_and_said() -> None:
    account = NscAccount("a", {"authorization": Authorization((key(KeyKind.USER).public_key,))})
    account.user("bound", UserClaims(source_networks=("10.0.0.0/8",)))
    account.user("seedless", UserClaims())
    store = NscFolder(accounts=[account], lost={account.users["seedless"][0].public_key})
    adopted = adoption(store.found())
    assert rows(adopted, "nats_users") == []
    said = "\n".join(adopted.notices)
    for what in ("authorization is not carried over", "bound of account a", "src", "seedless of account a"):
        assert what in said


def test_exports_and_imports_become_rows() -> None:
    other = key(KeyKind.ACCOUNT).public_key
    account = NscAccount(
        "a",
        {
            "exports": [Export("orders.>", "service", response_type="Stream", response_milliseconds=5)],
            "imports": [Import("news", other, "stream", local_subject="from.news", token="t.t.t")],
        },
    )
    adopted = adoption(NscFolder(accounts=[account]).found())
    (offer,), (use,) = rows(adopted, "nats_account_exports"), rows(adopted, "nats_account_imports")
    assert (offer["subject"], offer["type"], offer["response_type"], offer["response_threshold"]) == (
        "orders.>",
        "service",
        "Stream",
        5,
    )
    assert (use["account"], use["subject"], use["local_subject"], use["token"]) == (other, "news", "from.news", "t.t.t")


def test_an_account_whose_signing_seeds_are_lost_keeps_the_keys_and_is_to_get_a_new_one() -> None:
    account = NscAccount("a")
    adopted = adoption(NscFolder(accounts=[account], lost={account.signer.public_key}).found())
    kept = entry(adopted, "account", "a")
    assert kept.signing is None
    assert [pair.public_key for pair in kept.older] == [account.signer.public_key]


def test_an_operator_may_keep_its_own_seed_elsewhere_but_not_all_of_them() -> None:
    store = NscFolder()
    store.lost = {store.identity.public_key}
    assert adoption(store.found()).entries[0].identity.seed == ""
    store.lost |= {store.signer.public_key}
    with pytest.raises(NotAdoptable, match="No seed of the operator"):
        adoption(store.found())


def test_a_store_without_its_system_account_or_with_a_wrong_seed_is_refused() -> None:
    found = NscFolder().found()
    with pytest.raises(NotAdoptable, match="system account"):
        adoption(type(found)(found.operator, (), found.seeds))
    store = NscFolder()
    wrong = {**store.seeds, store.signer.public_key: key(KeyKind.OPERATOR).seed}
    with pytest.raises(NotAdoptable, match="belongs to another key") as refused:
        adoption(type(found)(store.operator, (), wrong))
    assert wrong[store.signer.public_key] not in str(refused.value)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_token_is_refused(token: str) -> None:
    found = NscFolder().found()
    with pytest.raises(NotAdoptable):
        adoption(type(found)(token, found.accounts, found.seeds))


def test_taking_over_twice_comes_to_the_same() -> None:
    account = NscAccount("a")
    account.user("one", UserClaims())
    found = NscFolder(accounts=[account]).found()
    first, second = adoption(found), adoption(found)
    assert (first.rows, first.entries) == (second.rows, second.entries)
