"""Every key of both Hapta READMEs has a counterpart that exists."""

import pytest

from common.serving.settings import variable_names
from gateway.core.old_keys import OLD_KEYS, advice, old_keys_in, table
from gateway.settings import Settings
from infra.embedded.settings import PlatformSettings
from scripts.settings_reference import HAPTA_PAGE, hapta_page

V1_ENVIRONMENT = ("DB_URL", "ADMIN_EMAIL", "ADMIN_PASSWORD", "HAPTA_ADMIN_KEY", "SSL_ENABLED", "JWT_SECRET")
V1_CONFIG = ("port", "hostname", "developmentMode", "ratelimits", "rules")
V2_CONFIG = (
    "origin",
    "logLevel",
    "AI_ENABLED",
    "Clover_Tenant_ID",
    "Clover_Secret",
    "Clover_Server_Url",
    "DatabaseUrl",
)
SEEDS = (*V1_ENVIRONMENT, *V1_CONFIG, *V2_CONFIG)


@pytest.mark.parametrize("name", SEEDS)
def test_every_old_key_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in table()


def test_what_replaces_an_old_key_is_a_setting() -> None:
    known = {name for field in Settings.model_fields for name in variable_names(Settings, field)}
    known |= {name for field in PlatformSettings.model_fields for name in variable_names(PlatformSettings, field)}
    assert {key.replacement for key in OLD_KEYS} <= known
    assert {key.name for key in OLD_KEYS} == set(SEEDS)


def test_old_keys_are_found_as_they_are_spelt_and_each_once() -> None:
    found = old_keys_in(["JWT_SECRET", "ADMIN_EMAIL", "PORT", "HOSTNAME", "PATH", "RULES"])
    assert [key.name for key in found] == ["ADMIN_EMAIL", "JWT_SECRET"]
    assert advice(found[0]) == "ADMIN_EMAIL of Hapta is not read; set GATEWAY_POCKETBASE_EMAIL."


def test_the_one_old_name_that_is_still_taken_is_not_called_unread() -> None:
    [key] = old_keys_in(["HAPTA_ADMIN_KEY"])
    assert advice(key) == "HAPTA_ADMIN_KEY of Hapta is still read; its name is GATEWAY_OPERATOR_KEY now."
    assert "HAPTA_ADMIN_KEY" in variable_names(Settings, "operator_key")


def test_the_page_is_what_the_code_says() -> None:
    assert HAPTA_PAGE.read_text() == hapta_page(), "run `just settings-reference`"
