"""All that chathub can be told from outside."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.serving.settings import Names, Port, TelemetrySettings, Url


class DatabaseSettings(BaseSettings):
    """All that migrating needs."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """PostgreSQL, as postgresql://user:password@host:port/database."""


class Settings(TelemetrySettings):
    """Built once, in __main__; read in app.py alone."""

    model_config = SettingsConfigDict(
        env_prefix="CHATHUB_", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; Caddy is expected in front."""

    port: Port = 8103
    """Port of the public application."""

    operations_port: Port = 8113
    """Loopback port of /livez, /readyz and /metrics; 0 for none."""

    database_url: SecretStr = Field(validation_alias="DATABASE_URL")
    """PostgreSQL, as postgresql://user:password@host:port/database."""

    nats_url: str = Field(default="nats://127.0.0.1:4222", validation_alias="NATS_URL")
    """NATS servers, separated by commas."""

    nats_creds: Path | None = None
    """Credentials file that natsync issued; none for an open server."""

    issuer: str
    """`iss` of the tokens that are accepted: the issuer's public URL."""

    jwks_url: str
    """Where the issuer's keys are read; may be an internal address."""

    audience: str = "chathub"
    """What a token's `aud` must contain."""

    client_ids: Names = ("ChatClient", "WebClient")
    """Values of `azp` that are accepted."""

    origins: Names = ()
    """Browser origins allowed beside the domain's own, for sockets and for CORS, as https://host; `*` allows any."""

    public_url: Url = "http://localhost:8080"
    """Where clients reach the platform; what /discovery tells them is built from it."""

    server_name: str = "Pocketwire"
    """Name shown by clients."""

    max_message_length: PositiveInt = Field(default=2000, le=8000)
    """Characters one message may have."""

    outbox_bytes: PositiveInt = 1024 * 1024
    """What may wait for one slow client before it is closed with 4008."""

    expiry_grace_seconds: NonNegativeFloat = 25
    """How long a socket outlives its token."""

    log_days: PositiveInt = 7
    """Age at which the chat log in JetStream forgets; PostgreSQL keeps all."""

    log_bytes: PositiveInt = 1024 * 1024 * 1024
    """Size at which the chat log in JetStream forgets its oldest messages."""
