"""All that chathub can be told from outside."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.core.client_address import TrustedProxies
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

    valkey_url: SecretStr = Field(default=SecretStr("redis://127.0.0.1:6379/0"), validation_alias="VALKEY_URL")
    """Where Valkey listens: it counts messages for the limit over all nodes, keeps tickets and mirrors recent messages.
    Without it each node counts its share, and no tickets are issued."""

    nodes: PositiveInt = 1
    """Nodes that share the limits: while Valkey is away, each admits its part."""

    presence_grace_seconds: NonNegativeFloat = 5
    """How long a user is still shown who left: most come back at once."""

    issuer: str
    """`iss` of the tokens that are accepted: the issuer's public URL."""

    jwks_url: str
    """Where the issuer's keys are read; may be an internal address."""

    audience: str = "chathub"
    """What a token's `aud` must contain."""

    oidc_issuers: Names = ()
    """Further issuers whose access tokens are accepted, Keycloak for one; their keys are found by discovery."""

    oidc_audience: str = "chathub"
    """What the `aud` of their tokens must contain."""

    auth_url: str = ""
    """Where users sign in, as /discovery tells clients; without one at the platform itself."""

    token_url: str = ""
    """Where clients get their tokens, likewise."""

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

    expiry_warning_seconds: NonNegativeFloat = 60
    """How long before its token's end a socket is told so, to send a newer one."""

    expiry_grace_seconds: NonNegativeFloat = 25
    """How long a socket outlives its token."""

    idle_seconds: NonNegativeFloat = 86_400
    """How long a client may send nothing, pongs aside; 0 for as long as it likes."""

    max_sockets: PositiveInt = 20_000
    """Sockets that this node takes; further ones are refused with 503."""

    max_sockets_per_user: PositiveInt = 20
    """Sockets that one user may have on this node."""

    connects_per_second: PositiveInt = 500
    """Connects with a good token that this node takes; further ones are refused with 503, and come again."""

    connects_per_minute_per_user: PositiveInt = 300
    """Of those, what one user may use up; further ones are refused with 429."""

    refusals_per_minute: PositiveInt = 120
    """Connects of one network, an IPv4 address or an IPv6 /64, that may be refused with 401 or 403 on this node;
    further ones from there are not looked at for as long, and refused with 429."""

    trusted_proxies: Names = ("127.0.0.1", "::1")
    """Peers, addresses or networks, whose X-Forwarded-For is believed."""

    requests_per_minute: PositiveInt = Field(default=600, le=1_000_000)
    """HTTP requests of one user, on all nodes together; further ones are refused with 429."""

    frames_per_second: PositiveFloat = 50
    """Frames of any kind that one socket may send, over time."""

    frames_burst: PositiveInt = 200
    """Frames that one socket may send at once; twice as many close it with 4029."""

    drain_seconds: NonNegativeFloat = Field(default=5, le=8)
    """Over how long clients are sent away when this node stops."""

    recent_messages: PositiveInt = Field(default=500, le=5000)
    """Public messages that a client is shown on connecting, and that Valkey keeps of each channel."""

    analytics_seconds: PositiveFloat = 5
    """How often at most a dashboard is pushed new figures."""

    log_days: PositiveInt = 7
    """Age at which the chat log in JetStream forgets; PostgreSQL keeps all."""

    log_bytes: PositiveInt = 1024 * 1024 * 1024
    """Size at which the chat log in JetStream forgets its oldest messages."""

    @field_validator("trusted_proxies")
    @classmethod
    def are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        TrustedProxies.parse(value)
        return value
