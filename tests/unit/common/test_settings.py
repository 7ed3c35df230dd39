import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.serving.settings import (
    Key,
    Names,
    Port,
    SettingsError,
    TelemetrySettings,
    UnknownKeys,
    Url,
    load,
    reference,
    unknown_variables,
    variables_beside,
)


class Sample(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_", frozen=True, use_attribute_docstrings=True)

    port: int = 1
    """Where it listens."""

    secret: str = Field(min_length=5)
    url: str = Field(default="http://x", validation_alias="SHARED_URL")


class Pool(BaseModel):
    size: PositiveInt = 5
    labels: dict[str, str] = {}


class Store(BaseModel):
    url: Url = "http://store"
    pool: Pool = Pool()


class Nested(TelemetrySettings):
    model_config = SettingsConfigDict(env_prefix="NESTED_", env_nested_delimiter="__", frozen=True)

    store: Store = Store()
    spare: Store | None = None
    parts: dict[str, Url] = Field(default={})
    key: Key | None = None
    port: Port = 80
    names: Names = ()
    password: SecretStr = SecretStr("")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_SECRET", "long enough")


def test_settings_are_read_by_their_prefix_and_shared_ones_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED_URL", "http://y")
    loaded = load(Sample)
    assert (loaded.port, loaded.url) == (1, "http://y")


def test_a_misspelt_name_is_refused_instead_of_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PROT", "2")
    with pytest.raises(SettingsError, match="SAMPLE_PROT"):
        load(Sample)


def test_settings_that_do_not_nest_have_no_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PORT__NUMBER", "2")
    with pytest.raises(SettingsError, match="SAMPLE_PORT__NUMBER"):
        load(Sample)


def test_faults_name_the_variable_and_never_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PORT", "eighty")
    monkeypatch.setenv("SAMPLE_SECRET", "abc")
    with pytest.raises(SettingsError) as caught:
        load(Sample)
    assert "SAMPLE_PORT" in str(caught.value)
    assert "SAMPLE_SECRET" in str(caught.value)
    assert "eighty" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_nested_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STORE__POOL__SIZE": "7", "store__url": "http://y/", "PARTS__a": "http://z"}.items():
        monkeypatch.setenv(f"NESTED_{name}", value)
    loaded = load(Nested)
    assert (loaded.store.pool.size, loaded.store.url, loaded.parts) == (7, "http://y", {"a": "http://z"})


@pytest.mark.parametrize(
    "name",
    [
        "STORE__URLS",
        "STORE__POOL__SIZES",
        "STORE__POOL__SIZE__X",
        "SPARE__ULR",
        "PORT__X",
        "STORE_",
        "STORES",
        "Store__x",
    ],
)
def test_a_misspelt_part_of_a_nested_setting_is_refused_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NESTED_{name}", "1")
    with pytest.raises(SettingsError, match=f"NESTED_{name}"):
        load(Nested)


@pytest.mark.parametrize(
    "name", ["STORE", "STORE__URL", "spare__pool__size", "STORE__POOL__LABELS__anything", "PARTS__x"]
)
def test_a_part_that_is_there_is_no_mistake(name: str) -> None:
    assert unknown_variables(Nested, {f"NESTED_{name}": "1", "OTHER_X": "1"}) == []


FIELDS = [
    "STORE__URL",
    "STORE__POOL__SIZE",
    "PORT",
    "KEY",
    "PARTS",
    "STORE",
    "PARTS__A",
    "LOG_LEVEL",
    "LOG_FORMAT",
]


@given(st.sampled_from(FIELDS), st.text('abcXYZ{}[]":,', min_size=1, max_size=12))
def test_a_malformed_value_is_an_error_that_names_its_variable_and_not_the_value(name: str, value: str) -> None:
    marked = f"{value}hunter2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"NESTED_{name}", marked)
        with pytest.raises(SettingsError) as caught:
            load(Nested)
    assert f"NESTED_{name.removesuffix('__A')}" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("INFO", "json", None)),
        ({"NESTED_LOG_LEVEL": "DEBUG", "NESTED_LOG_FORMAT": "console"}, ("DEBUG", "console", None)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"}, ("INFO", "json", "http://127.0.0.1:4318")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ("INFO", "json", None)),
    ],
)
def test_logs_and_traces_are_told_alike_to_every_service(
    variables: dict[str, str], expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    loaded = load(Nested)
    assert (loaded.log_level, loaded.log_format, loaded.otlp_endpoint) == expected


def test_the_reference_lists_every_setting() -> None:
    table = reference(Sample)
    assert "| `SAMPLE_PORT` | `1` | Where it listens. |" in table
    assert "| `SAMPLE_SECRET` | required |" in table
    assert "`SHARED_URL`" in table
    assert "| `OTEL_EXPORTER_OTLP_ENDPOINT` |  | Where an OpenTelemetry collector" in reference(Nested)


class Filed(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="FILED_", extra="forbid")

    name: str
    url: str = Field("", validation_alias="FILED_ELSEWHERE")
    key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("FILED_KEY", "OLD_KEY"))
    folder: Path | None = None
    limits: dict[str, dict[str, int]] = {}


def write(tmp_path: Path, text: str, env: str = "") -> Path:
    (tmp_path / "service.toml").write_text(text)
    (tmp_path / ".env").write_text(env)
    return tmp_path / "service.toml"


def test_a_file_has_settings_by_their_names_and_paths_from_its_own_folder(tmp_path: Path) -> None:
    file = write(tmp_path, 'name = "a"\nurl = "http://x"\nkey = "k"\nfolder = "rules"\n[limits.default]\nlimit = 3', "")
    loaded = load(Filed, file)
    assert (loaded.name, loaded.url, loaded.key.get_secret_value()) == ("a", "http://x", "k")
    assert (loaded.folder, loaded.limits) == (tmp_path / "rules", {"default": {"limit": 3}})
    assert load(Filed, write(tmp_path, 'name = "a"\nfolder = "/rules"')).folder == Path("/rules")


def test_the_environment_comes_first_then_the_file_then_what_stands_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, 'url = "of the file"\nkey = "of the file"', "FILED_NAME='beside'\n")
    assert load(Filed, file).name == "beside"
    monkeypatch.setenv("FILED_NAME", "given")
    monkeypatch.setenv("FILED_ELSEWHERE", "given")
    monkeypatch.setenv("OLD_KEY", "given")
    loaded = load(Filed, file)
    assert (loaded.name, loaded.url, loaded.key.get_secret_value()) == ("given", "given", "given")


def test_what_stands_beside_the_file_may_be_of_others_and_is_taken_as_it_is(tmp_path: Path) -> None:
    others = "DB_URL=http://x\nPOCKETWIRE_PORT=1\nEMPTY\n"
    file = write(tmp_path, 'url = "of the file"', others + "filed_name='pa${HOME}ss'\nOLD_KEY=old\n")
    loaded = load(Filed, file)
    assert (loaded.name, loaded.url, loaded.key.get_secret_value()) == ("pa${HOME}ss", "of the file", "old")
    assert set(variables_beside(file)) == {"DB_URL", "POCKETWIRE_PORT", "filed_name", "OLD_KEY"}


def test_a_misspelt_name_beside_the_file_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.env: unknown settings: FILED_NAEM"):
        load(Filed, write(tmp_path, 'name = "a"', "FILED_NAEM=b\n"))
    with pytest.raises(SettingsError, match="FILED_LIMITS"):
        load(Filed, write(tmp_path, 'name = "a"', "FILED_LIMITS=b\n"))


@pytest.mark.parametrize("text", ['name = "a"\nnaem = "b"', "name = ", "name = 1\nlimits = 7", "\x00"])
def test_a_file_that_does_not_fit_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(Filed, write(tmp_path, text))
    if "naem" in text:
        assert isinstance(error.value, UnknownKeys)
        assert error.value.keys == ("naem",)
    with pytest.raises(SettingsError):
        load(Filed, tmp_path / "missing.toml")
