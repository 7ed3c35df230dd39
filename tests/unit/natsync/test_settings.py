from pathlib import Path

import pytest

from common.serving.settings import SettingsError, load
from natsync.settings import Settings

REQUIRED = {
    "NATSYNC_POCKETBASE_EMAIL": "root@example.com",
    "NATSYNC_POCKETBASE_PASSWORD": "secret",
    "NATSYNC_ENCRYPTION_KEY": "A" * 43,
    "NATSYNC_DIRECTORY": "/srv/natsync",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **changed: str) -> Settings:
    for name, value in {**REQUIRED, **changed}.items():
        monkeypatch.setenv(name, value)
    return load(Settings)


def test_shared_addresses_have_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, POCKETBASE_URL="http://pb", NATS_URL="nats://n")
    assert (settings.pocketbase_url, settings.nats_url) == ("http://pb", "nats://n")


def test_the_store_is_beside_the_directory_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch).store == Path("/srv/nats")
    assert loaded(monkeypatch, NATSYNC_NATS_STORE="/var/nats").store == Path("/var/nats")


@pytest.mark.parametrize("name", ["two words", "natsync_keys", "nats_roles"])
def test_a_collection_has_a_name_that_can_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        loaded(monkeypatch, NATSYNC_USER_COLLECTION_NAME=name)


@pytest.mark.parametrize("key", ["", "A" * 42, "A" * 44, "!" * 43])
def test_a_key_that_is_not_32_bytes_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    with pytest.raises(SettingsError, match="NATSYNC_ENCRYPTION_KEY") as refused:
        loaded(monkeypatch, NATSYNC_ENCRYPTION_KEY=key)
    assert not key or key not in str(refused.value)
