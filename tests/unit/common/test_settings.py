import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.serving.settings import SettingsError, load, reference


class Sample(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_", frozen=True, use_attribute_docstrings=True)

    port: int = 1
    """Where it listens."""

    secret: str = Field(min_length=5)
    url: str = Field(default="http://x", validation_alias="SHARED_URL")


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


def test_faults_name_the_variable_and_never_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PORT", "eighty")
    monkeypatch.setenv("SAMPLE_SECRET", "abc")
    with pytest.raises(SettingsError) as caught:
        load(Sample)
    assert "SAMPLE_PORT" in str(caught.value)
    assert "SAMPLE_SECRET" in str(caught.value)
    assert "eighty" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_the_reference_lists_every_setting() -> None:
    table = reference(Sample)
    assert "| `SAMPLE_PORT` | `1` | Where it listens. |" in table
    assert "| `SAMPLE_SECRET` | required |" in table
    assert "`SHARED_URL`" in table
