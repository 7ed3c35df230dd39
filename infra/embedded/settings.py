"""What the platform can be told: `.env` in its home folder, overridden by the environment."""

import base64
import os
import secrets
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.serving.settings import SettingsError, unknown_variables, variable_name
from infra.embedded.repository import REPOSITORY

Port = Annotated[int, Field(ge=1, le=65535)]


class PlatformSettings(BaseSettings):
    """Ports, addresses and secrets of one platform."""

    model_config = SettingsConfigDict(
        env_prefix="POCKETWIRE_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    home: Path = Field(default=Path(), json_schema_extra={"default": "the checkout"})
    """Folder that holds `.env` and `.data`; taken from the environment alone."""

    domain: str | None = Field(default=None, validation_alias="DOMAIN")
    """Public name. With it Caddy serves 80 and 443 with automatic HTTPS."""

    http_port: Port = 8080
    """Caddy's plain HTTP."""

    https_port: Port = 8443
    """Caddy's HTTPS with its internal CA."""

    pocketbase_port: Port = 8090
    """PocketBase, its dashboard included."""

    postgres_port: Port = 5433
    """PostgreSQL."""

    valkey_port: Port = 6380
    """Valkey."""

    nats_port: Port = 4222
    """NATS clients."""

    nats_websocket_port: Port = 9222
    """NATS over WebSocket; Caddy forwards `/nats/ws` to it."""

    nats_monitor_port: Port = 8222
    """nats-server's monitoring page."""

    gateway_port: Port = 8101
    """The gateway's public application."""

    natsync_port: Port = 8102
    """natsync's HTTP API."""

    chathub_port: Port = 8103
    """chathub's public application."""

    gateway_operations_port: Port = 8111
    """The gateway's health and metrics."""

    natsync_operations_port: Port = 8112
    """natsync's health and metrics."""

    chathub_operations_port: Port = 8113
    """chathub's health and metrics."""

    pocketbase_url: str | None = Field(default=None, validation_alias="POCKETBASE_URL")
    """A PocketBase of your own; the embedded one is then not started. Likewise for the next three."""

    nats_url: str | None = Field(default=None, validation_alias="NATS_URL")
    """NATS of your own."""

    valkey_url: str | None = Field(default=None, validation_alias="VALKEY_URL")
    """Valkey of your own."""

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    """PostgreSQL of your own: a database for chathub."""

    superuser_email: str = Field(validation_alias="POCKETBASE_SUPERUSER_EMAIL", min_length=3)
    """PocketBase's superuser."""

    superuser_password: str = Field(validation_alias="POCKETBASE_SUPERUSER_PASSWORD", min_length=10)
    """Generated on the first run, like everything below."""

    admin_email: str = Field(validation_alias="PLATFORM_ADMIN_EMAIL", min_length=3)
    """The first platform admin."""

    admin_password: str = Field(validation_alias="PLATFORM_ADMIN_PASSWORD", min_length=8)
    """Its password at first; change it after signing in."""

    postgres_password: str = Field(validation_alias="POSTGRES_PASSWORD", min_length=1)
    """PostgreSQL's superuser `postgres`."""

    chathub_database_password: str = Field(validation_alias="CHATHUB_DATABASE_PASSWORD", min_length=1)
    """chathub's own PostgreSQL login."""

    valkey_password: str = Field(validation_alias="VALKEY_PASSWORD", min_length=1)
    """Valkey."""

    gateway_signing_key: str = Field(validation_alias="GATEWAY_SIGNING_KEY", min_length=43)
    """Signs session tokens."""

    gateway_session_key: str = Field(validation_alias="GATEWAY_SESSION_KEY", min_length=43)
    """Seals PocketBase's tokens in Valkey."""

    natsync_encryption_key: str = Field(validation_alias="NATSYNC_ENCRYPTION_KEY", min_length=43)
    """Seals NATS keys in PocketBase."""

    @property
    def data(self) -> Path:
        return self.home / ".data"

    @property
    def public_url(self) -> str:
        return f"https://{self.domain}" if self.domain else f"http://localhost:{self.http_port}"

    @property
    def local_url(self) -> str:
        """The front door as this machine reaches it."""
        return self.public_url if self.domain else f"http://127.0.0.1:{self.http_port}"


def key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def password() -> str:
    """Letters and digits alone, so that it needs no quoting in a URL, a command line or a configuration file."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))


GENERATED: Mapping[str, Callable[[], str]] = {
    "POCKETBASE_SUPERUSER_EMAIL": lambda: "superuser@pocketwire.test",
    "POCKETBASE_SUPERUSER_PASSWORD": password,
    "PLATFORM_ADMIN_EMAIL": lambda: "admin@pocketwire.test",
    "PLATFORM_ADMIN_PASSWORD": password,
    "POSTGRES_PASSWORD": password,
    "CHATHUB_DATABASE_PASSWORD": password,
    "VALKEY_PASSWORD": password,
    "GATEWAY_SIGNING_KEY": key,
    "GATEWAY_SESSION_KEY": key,
    "NATSYNC_ENCRYPTION_KEY": key,
}


def home_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("POCKETWIRE_HOME") or REPOSITORY).resolve()


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Everything that was set: `.env`, overridden by the environment."""
    written = dotenv_values(home_folder(environment) / ".env", interpolate=False)
    return {name: value for name, value in {**written, **environment}.items() if value}


def load(environment: Mapping[str, str]) -> PlatformSettings:
    """Raises SettingsError, naming each variable at fault and never a value."""
    given = variables(environment)
    if unknown := unknown_variables(PlatformSettings, given):
        raise SettingsError(f"unknown settings: {', '.join(unknown)}")
    try:
        return PlatformSettings.model_validate({**fields_of(given), "home": home_folder(environment)})
    except ValidationError as error:
        names = sorted({variable_name(PlatformSettings, fault["loc"]) for fault in error.errors()})
        raise SettingsError(
            f"missing or malformed in {home_folder(environment) / '.env'}: {', '.join(names)}; "
            "put the old value back, or remove .env and .data for a clean start"
        ) from None


def fields_of(given: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, field in PlatformSettings.model_fields.items():
        variable = variable_name(PlatformSettings, (name,))
        if variable in given:
            fields[field.validation_alias if isinstance(field.validation_alias, str) else name] = given[variable]
    return fields


def generate_missing(environment: Mapping[str, str]) -> None:
    """Write the secrets of a first run into `.env` (600).

    Only before there is data: secrets made later would not open what the old ones closed, so then `load` reports
    what is missing.
    """
    home = home_folder(environment)
    if (home / ".data" / "initialised").exists():
        return
    given = variables(environment)
    missing = {name: make() for name, make in GENERATED.items() if name not in given}
    if not missing:
        return
    file = home / ".env"
    before = file.read_text() if file.exists() else ""
    lines = "".join(f"{name}={value}\n" for name, value in missing.items())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a") as output:
        os.fchmod(descriptor, 0o600)
        output.write(("\n" if before and not before.endswith("\n") else "") + lines)
