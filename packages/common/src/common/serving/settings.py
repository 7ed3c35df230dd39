"""Settings a service is started with: read once, frozen, and strict about names."""

import base64
import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode

LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

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


def without_slash(value: str) -> str:
    return value.rstrip("/")


Key: TypeAlias = Annotated[SecretStr, AfterValidator(checked_key)]
"""32 bytes as base64url; `key_bytes` reads it."""

Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]
"""Comma-separated in the environment."""

Url: TypeAlias = Annotated[str, Field(pattern=r"^https?://[^/\s]"), AfterValidator(without_slash)]


class SettingsError(Exception):
    """The environment does not describe a service that could start; the message names every variable at fault."""


def load(kind: type[Settings]) -> Settings:
    """Build settings from the environment.

    Raises SettingsError for a missing or malformed value, and for a variable that bears the service's prefix but
    is no setting of it, so that a misspelt name is not silently ignored. No value is repeated in the message.
    """
    if unknown := unknown_variables(kind, os.environ):  # noqa: TID251 - the one place that reads it
        raise SettingsError(f"unknown settings: {', '.join(unknown)}")
    try:
        return kind()
    except ValidationError as error:
        faults = "; ".join(f"{variable_name(kind, fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(faults) from None


def unknown_variables(kind: type[BaseSettings], variables: Mapping[str, str]) -> list[str]:
    prefix = str(kind.model_config.get("env_prefix", ""))
    if not prefix:
        return []
    known = {variable_name(kind, (name,)) for name in kind.model_fields}
    delimiter = kind.model_config.get("env_nested_delimiter") or "__"
    return sorted(
        name
        for name in variables
        if name.upper().startswith(prefix.upper()) and name.upper().split(delimiter)[0] not in known
    )


def variable_name(kind: type[BaseSettings], location: tuple[Any, ...]) -> str:
    name = str(location[0])
    field = kind.model_fields.get(name)
    alias = field.validation_alias if field else None
    if isinstance(alias, str):
        return alias.upper()
    return name if field is None else f"{kind.model_config.get('env_prefix', '')}{name}".upper()


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
