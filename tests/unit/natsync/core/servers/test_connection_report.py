from typing import Any

from natsync.core.servers.connection_report import Connected, read_connected
from natsync.core.servers.servers_said import Answer, Server

ENTRY: dict[str, Any] = {
    "cid": 9,
    "type": "websocket",
    "ip": "10.0.0.7",
    "port": 4711,
    "start": "2026-11-21T11:15:26.77001189Z",
    "authorized_user": "UABC",
    "account": "AABC",
    "jwt": "eyJ.secret.token",
    "issuer_key": "AISS",
    "name": "sensor",
    "lang": "python3",
    "version": "2.16",
    "subscriptions": 3,
    "in_msgs": 1,
    "out_msgs": 2,
    "in_bytes": 10,
    "out_bytes": 20,
    "pending_bytes": 0,
}


def seen(*entries: Any) -> list[Connected]:
    return read_connected(Answer(Server("NID", "n1"), {"connections": list(entries)}, ""))


def test_a_connection_is_told_without_its_token() -> None:
    (one,) = seen(ENTRY)
    assert (one.server, one.server_name, one.id, one.account, one.user) == ("NID", "n1", 9, "AABC", "UABC")
    assert (one.login, one.kind, one.address, one.issuer) == ("credentials", "websocket", "10.0.0.7:4711", "AISS")
    assert (one.subscriptions, one.messages_in, one.messages_out, one.bytes_in, one.bytes_out) == (3, 1, 2, 10, 20)
    assert round(one.started_at, 3) == 1795259726.770
    assert "secret" not in repr(one)


def test_one_without_a_token_of_its_own_was_let_in_by_access_token() -> None:
    (one,) = seen({**ENTRY, "jwt": ""})
    assert one.login == "token"


def test_what_cannot_be_read_is_left_out_or_nothing() -> None:
    assert seen({**ENTRY, "cid": "9"}, "nonsense", None, {}) == []
    (one,) = seen({"cid": 1, "start": "yesterday", "name": 5})
    assert (one.started_at, one.name, one.subscriptions) == (0.0, "", 0)
    assert read_connected(Answer(Server("N", "n"), None, "error")) == []
    assert read_connected(Answer(Server("N", "n"), {"connections": None}, "")) == []
