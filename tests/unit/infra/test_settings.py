from pathlib import Path

import pytest

from common.serving.settings import SettingsError
from infra.embedded import settings


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"POCKETWIRE_HOME": str(home), **more}


def test_a_first_run_generates_every_secret_once_and_keeps_it(tmp_path: Path) -> None:
    settings.generate_missing(environment(tmp_path))
    file = tmp_path / ".env"
    first = file.read_text()
    settings.generate_missing(environment(tmp_path))
    assert file.read_text() == first
    assert file.stat().st_mode & 0o777 == 0o600
    chosen = settings.load(environment(tmp_path))
    secrets = {chosen.superuser_password, chosen.admin_password, chosen.gateway_signing_key, chosen.gateway_session_key}
    assert len(secrets) == 4


def test_what_the_user_wrote_beforehand_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POCKETWIRE_HTTP_PORT=9999\nPLATFORM_ADMIN_EMAIL=me@example.com")
    settings.generate_missing(environment(tmp_path))
    chosen = settings.load(environment(tmp_path))
    assert (chosen.http_port, chosen.admin_email) == (9999, "me@example.com")


def test_a_secret_missing_beside_data_is_named_and_not_made_anew(tmp_path: Path) -> None:
    settings.generate_missing(environment(tmp_path))
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "initialised").touch()
    file = tmp_path / ".env"
    kept = [line for line in file.read_text().splitlines() if not line.startswith("NATSYNC_ENCRYPTION_KEY")]
    file.write_text("\n".join(kept) + "\n")
    settings.generate_missing(environment(tmp_path))
    with pytest.raises(SettingsError, match="NATSYNC_ENCRYPTION_KEY") as caught:
        settings.load(environment(tmp_path))
    assert not any(line.split("=")[1] in str(caught.value) for line in kept)


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    settings.generate_missing(environment(tmp_path))
    with pytest.raises(SettingsError, match="POCKETWIRE_HTP_PORT"):
        settings.load(environment(tmp_path, POCKETWIRE_HTP_PORT="1"))


def test_a_malformed_value_is_named_but_not_repeated(tmp_path: Path) -> None:
    settings.generate_missing(environment(tmp_path))
    with pytest.raises(SettingsError, match="POCKETWIRE_HTTP_PORT") as caught:
        settings.load(environment(tmp_path, POCKETWIRE_HTTP_PORT="eighty-eighty"))
    assert "eighty" not in str(caught.value)


def test_a_domain_is_served_over_https(tmp_path: Path) -> None:
    settings.generate_missing(environment(tmp_path))
    assert settings.load(environment(tmp_path, DOMAIN="chat.example.com")).public_url == "https://chat.example.com"
