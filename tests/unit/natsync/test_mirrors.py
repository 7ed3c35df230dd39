from typing import Any

from natsync.core import desired, mirrors
from natsync.core.desired import Desired
from natsync.core.ledger import Entries, Entry, by_place

LIMITS = dict.fromkeys(("max_connections", "max_subscriptions", "max_data", "max_payload"), -1)
ENTRIES = Entries(
    by_place(
        [
            Entry("account", "a1", public_key="A", seed="enc::a", jwt="account.jwt", handled="rotate_keys"),
            Entry("user", "u1", public_key="U", seed="enc::u", jwt="user.jwt"),
        ]
    )
)


def wanted(*, user: dict[str, Any] | None = None, **account: Any) -> Desired:
    row = {"id": "u1", "account_id": "a1", "role_id": "r1", "active": True, **(user or {})}
    return desired.of(
        accounts=[{"id": "a1", "name": "a", "active": True, **LIMITS, **account}],
        roles=[{"id": "r1", **LIMITS}],
        users=[row],
    )


def user_fields(target: Desired, **pending: str) -> dict[str, Any]:
    return mirrors.user_fields("u1", target, ENTRIES, pending, lambda entry: f"creds of {entry.public_key}")


def test_credentials_are_shown_once_the_account_is_on_the_servers() -> None:
    shown = user_fields(wanted())
    assert (shown["creds_file"], shown["sync_status"]) == ("creds of U", "synced")
    waiting = user_fields(wanted(), a1="NATS is away")
    assert waiting["sync_status"] == "pending"
    assert not {"creds_file", "jwt"} & waiting.keys()


def test_a_suspended_users_credentials_are_taken_off_the_row() -> None:
    shown = user_fields(wanted(user={"active": False}))
    assert (shown["creds_file"], shown["jwt"], shown["sync_status"]) == ("", "", "inactive")


def test_a_refused_user_without_keys_shows_none_that_someone_wrote_there() -> None:
    target = wanted(user={"role_id": "gone"})
    shown = mirrors.user_fields("u1", target, Entries({}), {}, lambda _: "never")
    assert (shown["creds_file"], shown["public_key"], shown["sync_status"]) == ("", "", "error")


def test_a_trigger_is_cleared_only_after_it_took_effect() -> None:
    raised = wanted(rotate_keys=True)
    assert mirrors.account_fields("a1", raised, ENTRIES, {})["rotate_keys"] is False
    assert "rotate_keys" not in mirrors.account_fields("a1", raised, ENTRIES, {"a1": "away"})
    assert "rotate_keys" not in mirrors.account_fields("a1", raised, Entries({}), {})
    assert "rotate_keys" not in mirrors.account_fields("a1", wanted(), ENTRIES, {})


def test_a_zero_is_warned_of_on_a_synced_row() -> None:
    shown = mirrors.account_fields("a1", wanted(max_connections=0), ENTRIES, {})
    assert shown["sync_status"] == "synced"
    assert shown["sync_error"] == "warning: max_connections is 0: nobody can connect"


def test_a_token_too_long_for_the_servers_is_warned_of() -> None:
    entries = Entries(by_place([Entry("user", "u1", jwt="x" * 4000)]))
    shown = mirrors.user_fields("u1", wanted(), entries, {}, lambda _: "")
    assert "4000 bytes" in shown["sync_error"]


def test_only_differences_are_written() -> None:
    fields = mirrors.account_fields("a1", wanted(), ENTRIES, {})
    assert mirrors.differences({**fields, "name": "a"}, fields) == {}
    assert mirrors.differences({**fields, "jwt": "mine"}, fields) == {"jwt": "account.jwt"}
