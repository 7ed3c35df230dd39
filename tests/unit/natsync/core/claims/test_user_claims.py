from natsync.core.claims.user_claims import (
    Permissions,
    ResponsePermission,
    TimeRange,
    UserClaims,
    UserLimits,
    scoped_user_body,
    user_body,
)


def test_a_users_token_names_its_account_and_all_its_limits() -> None:
    permissions = Permissions(("a",), ("b",), response=ResponsePermission(1, 10))
    body = user_body(UserClaims(permissions, UserLimits(subscriptions=0)), account="A")
    assert body == {
        "pub": {"allow": ["a"]},
        "sub": {"allow": ["b"]},
        "resp": {"max": 1, "ttl": 10_000_000_000},
        "subs": 0,
        "data": -1,
        "payload": -1,
        "issuer_account": "A",
        "type": "user",
        "version": 2,
    }


def test_a_user_without_a_response_permission_has_none() -> None:
    assert "resp" not in user_body(UserClaims(), account="A")


def test_restrictions_are_said_where_there_are_any() -> None:
    claims = UserClaims(
        source_networks=("10.0.0.0/8",),
        times=(TimeRange("08:00:00", "18:00:00"),),
        times_location="Europe/Berlin",
        connection_types=("MQTT",),
        bearer_token=True,
    )
    body = user_body(claims, account="A", tags=["team:red"])
    assert body["src"] == ["10.0.0.0/8"]
    assert body["times"] == [{"start": "08:00:00", "end": "18:00:00"}]
    assert body["times_location"] == "Europe/Berlin"
    assert body["allowed_connection_types"] == ["MQTT"]
    assert body["bearer_token"] is True
    assert body["tags"] == ["team:red"]


def test_a_user_of_a_scoped_key_carries_no_rights_of_its_own() -> None:
    assert scoped_user_body(account="A") == {"issuer_account": "A", "type": "user", "version": 2}
    assert scoped_user_body(account="A", tags=["team:red"])["tags"] == ["team:red"]
