"""What the gateway accepts from its environment."""

import pytest

from common.core.tokens import base64url
from common.serving.settings import SettingsError, load
from gateway.settings import Settings

NEEDED = {
    "GATEWAY_ISSUER": "https://example.com/",
    "GATEWAY_SIGNING_KEY": base64url(b"\1" * 32),
    "GATEWAY_SESSION_KEY": base64url(b"\2" * 32),
    "GATEWAY_POCKETBASE_EMAIL": "root@example.com",
    "GATEWAY_POCKETBASE_PASSWORD": "secret",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **changed: str) -> Settings:
    for name, value in {**NEEDED, **changed}.items():
        monkeypatch.setenv(name, value)
    return load(Settings)


def test_lists_are_separated_by_commas_and_parts_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        GATEWAY_CLIENT_IDS="ChatClient, WebClient,",
        GATEWAY_HEALTH_PARTS='{"chathub": "http://127.0.0.1:8113/readyz"}',
    )
    assert settings.client_ids == ("ChatClient", "WebClient")
    assert settings.health_parts == {"chathub": "http://127.0.0.1:8113/readyz"}
    assert settings.issuer == "https://example.com"
    assert settings.trusted_proxies == ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_SIGNING_KEY", base64url(b"\xff" * 32)),
        ("GATEWAY_SIGNING_KEY", base64url(bytes(32))),
        ("GATEWAY_SESSION_KEY", base64url(b"\2" * 16)),
        ("GATEWAY_SESSION_KEY", "not base64!"),
        ("GATEWAY_AUDIENCES", "chathub"),
        ("GATEWAY_TRUSTED_PROXIES", "caddy"),
        ("GATEWAY_ISSUER", "example.com"),
        ("GATEWAY_MAX_BODY_BYTES", "0"),
        ("GATEWAY_HEALTH_PARTS", '{"a": "nowhere"}'),
        ("GATEWAY_MAX_BODY_BYTE", "1"),
        ("GATEWAY_OPERATOR_KEY", "short"),
        ("HAPTA_ADMIN_KEY", "short"),
        ("GATEWAY_SESSION_GRACE_SECONDS", "301"),
        ("GATEWAY_MAX_SESSIONS", "0"),
    ],
)
def test_what_cannot_work_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        loaded(monkeypatch, **{name: value})
    if "KEY" in name:
        assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["GATEWAY_OPERATOR_KEY", "HAPTA_ADMIN_KEY"])
def test_an_empty_operator_key_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert loaded(monkeypatch, **{name: ""}).operator_key is None
    key = loaded(monkeypatch, **{name: "a key of some length"}).operator_key
    assert key
    assert key.get_secret_value() == "a key of some length"
