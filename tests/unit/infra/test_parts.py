"""What each part of the platform is told."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.embedded import parts, settings

KEY = "a key of some length"


def told(home: Path, **given: str) -> dict[str, Mapping[str, str]]:
    environment = {"POCKETWIRE_HOME": str(home), **given}
    settings.generate_missing(environment)
    platform = parts.describe(settings.load(environment), settings.variables(environment))
    return {part.name: part.environment for part in platform.parts}


@pytest.mark.parametrize("name", ["GATEWAY_OPERATOR_KEY", "HAPTA_ADMIN_KEY"])
@pytest.mark.parametrize("is_in_file", [True, False])
def test_an_operator_s_key_reaches_the_gateway_alone(tmp_path: Path, name: str, is_in_file: bool) -> None:
    if is_in_file:
        (tmp_path / ".env").write_text(f"{name}={KEY}\n")
    environments = told(tmp_path, **({} if is_in_file else {name: KEY}))
    assert environments["gateway"][name] == KEY
    assert not [part for part, environment in environments.items() if part != "gateway" and name in environment]


def test_without_a_key_the_gateway_is_told_none(tmp_path: Path) -> None:
    assert not {"GATEWAY_OPERATOR_KEY", "HAPTA_ADMIN_KEY"} & set(told(tmp_path)["gateway"])
