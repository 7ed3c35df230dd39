from typing import Any

import pytest

from natsync.core.deciding.admission import Admission, Denied, admission
from natsync.core.tokens.user_tokens import picture
from tests.natsync_world import World, account, role, user

CONNECTION_KEY = "U" + "A" * 55


def admitted(world: World, row: dict[str, Any] | None = None, *, is_banned: bool = False) -> Admission:
    at = picture(world.desired(), world.entries, world.now)
    return admission(row or world.users[0], at, user_key=CONNECTION_KEY, is_banned=is_banned)


@pytest.fixture
def world() -> World:
    settled = World()
    settled.settle()
    return settled


def test_a_login_says_what_the_users_own_credentials_say_for_a_key_of_its_own(world: World) -> None:
    found = admitted(world)
    assert found.body == world.latest().claims["nats"]
    assert (found.row, found.name, found.account) == ("u1", "u1", "a1")
    assert found.account_key == world.entry("account", "a1").public_key
    assert found.issuer == world.latest().claims["iss"] == found.signer.public_key
    assert found.expires_at == 0


def test_a_user_with_rights_of_its_own_is_signed_for_by_its_account(world: World) -> None:
    world.users = [user(publish_permissions='["own.>"]', jwt_expires_at="2033-01-01 00:00:00.000Z")]
    world.settle()
    found = admitted(world)
    assert found.signer == world.entry("account", "a1")
    assert found.issuer in found.signer.signing_public_keys
    assert found.body["pub"]["allow"] == ["own.>"]
    assert found.expires_at > world.now


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"users": [user(active=False)]}, "suspended"),
        ({"accounts": [account(active=False)]}, "suspended"),
        ({"roles": [role(publish_permissions="nonsense")]}, "refused"),
        ({"users": [user(publish_permissions="nonsense")]}, "refused"),
        ({"users": [user(account_id="a9")]}, "refused"),
        ({"users": [user(jwt_expires_at="1970-01-02 00:00:00.000Z", publish_permissions='["a"]')]}, "expired"),
    ],
)
def test_whoever_would_have_no_credentials_has_no_login(world: World, changed: dict[str, Any], cause: str) -> None:
    for name, rows in changed.items():
        setattr(world, name, rows)
    with pytest.raises(Denied) as denied:
        admitted(world)
    assert denied.value.cause == cause
    assert str(denied.value)


def test_a_ban_counts_before_everything_else(world: World) -> None:
    with pytest.raises(Denied) as denied:
        admitted(world, is_banned=True)
    assert denied.value.cause == "banned"


def test_as_long_as_there_are_no_keys_it_is_for_another_time(world: World) -> None:
    scopes = world.entries.of_kind("scope")
    world.entries = world.entries.without(scopes)
    with pytest.raises(Denied) as denied:
        admitted(world)
    assert denied.value.cause == "not_ready"


def test_a_template_that_cannot_be_filled_in_is_told(world: World) -> None:
    world.users = [user(publish_deny_permissions='["{{tag(none)}}.x"]')]
    with pytest.raises(Denied) as denied:
        admitted(world)
    assert denied.value.cause == "refused"
