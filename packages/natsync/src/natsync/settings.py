"""All that natsync can be told from outside; built once, in __main__."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveFloat, SecretStr
from pydantic_settings import SettingsConfigDict

from common.serving.settings import Key, Port, TelemetrySettings, key_bytes


class Settings(TelemetrySettings):
    model_config = SettingsConfigDict(env_prefix="NATSYNC_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address of the HTTP listener."""

    port: Port = 8102
    """Port of the HTTP listener."""

    operations_port: Port = 8112
    """Port of /livez, /readyz and /metrics on loopback; 0 opens none."""

    pocketbase_url: str = Field("http://127.0.0.1:8090", validation_alias="POCKETBASE_URL")
    """Where PocketBase listens."""

    nats_url: str = Field("nats://127.0.0.1:4222", validation_alias="NATS_URL")
    """Where nats-server listens; several addresses are separated by commas."""

    pocketbase_email: str
    """A superuser of PocketBase."""

    pocketbase_password: SecretStr
    """Its password."""

    encryption_key: Key
    """Seals key material in PocketBase: base64url of 32 bytes. Without it no stored key can be used."""

    directory: Path
    """Where operator.jwt, nats.conf and creds/ are written; readable by this user alone."""

    nats_store: Path | None = None
    """Where nats-server keeps its accounts and streams; by default `nats` beside the directory."""

    nats_port: Port = 4222
    """Client port in the nats.conf that is written."""

    nats_websocket_port: Port = 9222
    """WebSocket port in the nats.conf that is written."""

    nats_monitor_port: Port = 8222
    """Monitoring port in the nats.conf that is written."""

    issuer: str = ""
    """Issuer of the access tokens that the HTTP API accepts."""

    jwks_url: str = ""
    """Where the issuer publishes its keys."""

    audience: str = "natsync"
    """What a token's `aud` must name."""

    operator_name: str = "pocketwire"
    """Name of the operator; used when it is first made."""

    debounce_ms: NonNegativeFloat = 100
    """How long hints of one change are gathered before a pass."""

    sweep_seconds: PositiveFloat = 5
    """Longest time between two passes."""

    wait_seconds: PositiveFloat = 30
    """How long `bootstrap` waits for PocketBase."""

    @property
    def key(self) -> bytes:
        return key_bytes(self.encryption_key)

    @property
    def store(self) -> Path:
        return self.nats_store or self.directory.absolute().parent / "nats"
