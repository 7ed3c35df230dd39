"""Settings a service is started with: read once, frozen, and strict about names."""

import base64
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin

from dotenv import dotenv_values
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

LogFormat: TypeAlias = Literal["json", "console"]

ENV_FILE = ".env"

Port: TypeAlias = Annotated[int, Field(ge=0, le=65535)]

Settings = TypeVar("Settings", bound=BaseSettings)


def key_bytes(value: SecretStr) -> bytes:
    """Raises ValueError unless the text is base64url of 32 bytes."""
    text = value.get_secret_value()
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("must be base64url of 32 bytes")
    return key


def checked_key(value: SecretStr) -> SecretStr:
    key_bytes(value)
    return value


def comma_separated(value: object) -> object:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def none_for_nothing(value: object) -> object:
    return None if value == "" else value


def without_slash(value: str) -> str:
    return value.rstrip("/")


Key: TypeAlias = Annotated[SecretStr, AfterValidator(checked_key)]
"""32 bytes as base64url; `key_bytes` reads it."""

Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]
"""Comma-separated in the environment."""

ExactUrl: TypeAlias = Annotated[str, Field(pattern=r"^https?://[^/\s]")]
"""For names that are compared to the letter, as those of issuers are."""

Url: TypeAlias = Annotated[ExactUrl, AfterValidator(without_slash)]


class TelemetrySettings(BaseSettings):
    """What every service can be told about its logs and traces; its settings inherit these."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    log_level: LogLevel = "INFO"
    """Least severe log lines that are written."""

    log_format: LogFormat = "json"
    """`json` writes each line as a JSON object, `console` for people."""

    otlp_endpoint: Annotated[Url | None, BeforeValidator(none_for_nothing)] = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    """Where an OpenTelemetry collector takes OTLP over HTTP, as http://host:4318; nowhere, and nothing is traced."""


class SettingsError(Exception):
    """The environment does not describe a service that could start; the message names every variable at fault."""


class UnknownKeys(SettingsError):
    """A file has keys that are no settings."""

    def __init__(self, file: Path, keys: Sequence[str]) -> None:
        super().__init__(f"{file}: unknown settings: {', '.join(keys)}")
        self.keys = tuple(keys)


def environment() -> Mapping[str, str]:
    """For what is said of it before there are settings."""
    return os.environ  # noqa: TID251 - the one place that reads it


def load(kind: type[Settings], file: Path | None = None) -> Settings:
    """Build settings from the environment, and below it from a TOML file and a `.env` beside that.

    The file has the settings by their names in lower case and without the prefix; a relative path in it starts where
    the file is. A `.env` may have variables of others as well. Raises SettingsError for a missing or malformed value,
    and for a variable or a key that bears the service's prefix but is no setting of it, so that a misspelt name is not
    silently ignored. No value is repeated in the message.
    """
    given = environment()
    if unknown := unknown_variables(kind, given):
        raise SettingsError(f"unknown settings: {', '.join(unknown)}")
    try:
        return kind(**(values_of(kind, file, given) if file else {}))
    except ValidationError as error:
        faults = [
            f"{variable_name(kind, fault['loc'])}: {fault['msg']}" if fault["loc"] else fault["msg"]
            for fault in error.errors()
        ]
        raise SettingsError("; ".join(faults)) from None
    except UnreadableSetting as error:
        named = [variable_name(kind, (name,)) for name in kind.model_fields if f'"{name}"' in str(error)]
        raise SettingsError(f"{', '.join(named)}: must be JSON") from None


def values_of(kind: type[BaseSettings], file: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """What the file and the `.env` beside it say and the environment does not. Raises SettingsError."""
    written, beside = read_file(kind, file), variables_beside(file)
    if unknown := unknown_variables(kind, beside):
        raise SettingsError(f"{file.parent / ENV_FILE}: unknown settings: {', '.join(unknown)}")
    spelt = {name.upper() for name in given}
    fields = ((name, set(variable_names(kind, name))) for name in kind.model_fields)
    decided = spelt.union(*(names for name, names in fields if name in written or names & spelt))
    source = EnvSettingsSource(kind)
    source.env_vars = {name.lower(): value for name, value in beside.items() if name.upper() not in decided}
    return {**source(), **without_overridden(kind, written, given)}


def variables_beside(file: Path) -> Mapping[str, str]:
    """What stands in the `.env` of the file's folder, whoever it is for."""
    found = dotenv_values(file.parent / ENV_FILE, interpolate=False)
    return {name: value for name, value in found.items() if value is not None}


def read_file(kind: type[BaseSettings], file: Path) -> dict[str, Any]:
    """The values by field. Raises SettingsError."""
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    if unknown := sorted(values.keys() - kind.model_fields.keys()):
        raise UnknownKeys(file, unknown)
    folder = file.parent
    return {name: placed(kind.model_fields[name], value, folder) for name, value in values.items()}


def placed(field: FieldInfo, value: Any, folder: Path) -> Any:
    """A path as seen from the folder; anything else as it is."""
    kinds = (field.annotation, *get_args(field.annotation))
    return folder / value if isinstance(value, str) and value and Path in kinds else value


def without_overridden(kind: type[BaseSettings], values: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """By the names under which the settings take them: what stands in the environment comes first."""
    spelt = {name.upper() for name in given}
    kept: dict[str, Any] = {}
    for name, value in values.items():
        names = variable_names(kind, name)
        if not spelt & set(names):
            alias = kind.model_fields[name].validation_alias
            kept[name if alias is None else names[0]] = value
    return kept


def variable_names(kind: type[BaseSettings], name: str) -> list[str]:
    alias = kind.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [variable_name(kind, (name,))]


def unknown_variables(kind: type[BaseSettings], variables: Mapping[str, str]) -> list[str]:
    """Variables with the settings' prefix that are none of them, nor, where settings nest, part of one."""
    prefix = str(kind.model_config.get("env_prefix", ""))
    if not prefix:
        return []
    delimiter = kind.model_config.get("env_nested_delimiter") or ""
    names = {variable_name(kind, (name,)): field.annotation for name, field in kind.model_fields.items()}
    bearing = (name for name in variables if name.upper().startswith(prefix.upper()))
    return sorted(name for name in bearing if not is_known(name.upper(), names, delimiter.upper()))


def is_known(variable: str, names: Mapping[str, Any], delimiter: str) -> bool:
    if variable in names:
        return True
    return any(
        bool(delimiter)
        and variable.startswith(name + delimiter)
        and takes(kind, variable[len(name + delimiter) :], delimiter)
        for name, kind in names.items()
    )


def takes(kind: Any, part: str, delimiter: str) -> bool:
    """Whether a setting of that type has a part of that name; mappings have whichever is set."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return is_known(part, {name.upper(): field.annotation for name, field in kind.model_fields.items()}, delimiter)
    if (get_origin(kind) or kind) in (dict, Mapping):
        return True
    return any(takes(option, part, delimiter) for option in get_args(kind))


def variable_name(kind: type[BaseSettings], location: tuple[Any, ...]) -> str:
    """What the operator would set: prefix, field and, where settings nest, the fields within; nothing of a value."""
    name = str(location[0])
    field = kind.model_fields.get(name)
    alias = field.validation_alias if field else None
    if isinstance(alias, str):
        return alias.upper()
    if field is None:
        return name
    parts = [name, *nested_names(field.annotation, location[1:])]
    delimiter = kind.model_config.get("env_nested_delimiter") or "__"
    return f"{kind.model_config.get('env_prefix', '')}{delimiter.join(parts)}".upper()


def nested_names(kind: Any, location: tuple[Any, ...]) -> list[str]:
    if not location or not isinstance(kind, type) or not issubclass(kind, BaseModel):
        return []
    field = kind.model_fields.get(str(location[0]))
    return [] if field is None else [str(location[0]), *nested_names(field.annotation, location[1:])]


def reference(kind: type[BaseSettings]) -> str:
    """The settings as a Markdown table, generated so that it cannot drift from the code."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in kind.model_fields.items():
        default = "required" if field.is_required() else shown_default(field)
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{variable_name(kind, (name,))}` | {default} | {meaning} |")
    return "\n".join(rows)


def shown_default(field: FieldInfo) -> str:
    """What a reader would type: lists as comma-separated text, nothing for nothing."""
    value: object = field.get_default(call_default_factory=True)
    extra = cast(object, field.json_schema_extra)
    if isinstance(extra, dict) and "default" in extra:
        return str(cast(dict[str, object], extra)["default"])
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, list | tuple | set | frozenset):
        value = ",".join(str(item) for item in cast(Iterable[object], value))
    return "" if value in (None, "", {}) else f"`{value}`"
