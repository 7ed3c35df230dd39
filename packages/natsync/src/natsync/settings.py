"""All that natsync can be told from outside; built once, in __main__."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from common.serving.settings import Key, Names, Port, TelemetrySettings, key_bytes, none_for_nothing
from natsync.core.collections.collection_names import CollectionNames
from natsync.core.collections.event_filter import known_events
from natsync.core.collections.schema import ACCOUNTS, ROLES, USERS
from natsync.core.deciding.decision import Terms
from natsync.core.deciding.guard import Guard
from natsync.core.deciding.publish_queue import QueueTerms
from natsync.core.servers.server_choice import ConnectionTerms, RetryTerms, Timeouts, server_list
from natsync.core.state.built_in import CalloutTerms
from natsync.core.state.rights import Defaults
from natsync.core.validation.permissions import DEFAULT_PUBLISH, DEFAULT_SUBSCRIBE


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
    """Where nats-server listens; of several addresses, with commas between, the first is the primary."""

    backup_nats_urls: str = ""
    """Servers that are tried when the primary does not answer, with commas between."""

    max_primary_retries: NonNegativeInt = 4
    """How often the primary is tried again before the backups are."""

    initial_backoff_seconds: PositiveFloat = 0.1
    """Wait before the first of those tries."""

    max_backoff_seconds: PositiveFloat = 8
    """Longest wait between two tries."""

    backoff_multiplier: float = Field(2.0, ge=1)
    """By how much each wait is longer than the one before it."""

    failback_interval_seconds: PositiveFloat = 30
    """While on a backup: how often the primary is tried."""

    connect_timeout_seconds: PositiveFloat = 2
    """How long a server may take to let natsync in, or to answer a heartbeat."""

    publish_timeout_seconds: PositiveFloat = 10
    """How long the servers may take to say that they have an account's token; then they are asked."""

    request_timeout_seconds: PositiveFloat = 10
    """How long they may take to answer any other question."""

    cut_timeout_seconds: PositiveFloat = 5
    """How long connections that are to end are looked for and ended before that counts as failed."""

    publish_queue_interval_seconds: PositiveFloat = 30
    """Longest wait between two tries of what the servers did not take."""

    max_publish_attempts: PositiveInt = 10
    """After how many tries that counts as failed. It is tried again all the same."""

    failed_record_cleanup_interval_seconds: PositiveFloat = 6 * 3600
    """How often failed entries of the queue, and actions that are closed, are looked through."""

    failed_record_retention_seconds: PositiveFloat = 24 * 3600
    """How long a failed entry is kept, and an action that is closed. Work that is still wanted then begins anew."""

    pocketbase_email: str
    """A superuser of PocketBase."""

    pocketbase_password: SecretStr
    """Its password."""

    encryption_key: Key
    """Seals key material in PocketBase: base64url of 32 bytes. Without it no stored key can be used."""

    old_encryption_key: Annotated[Key | None, BeforeValidator(none_for_nothing)] = None
    """What `natsync rekey` opens with, to seal it again with the one above; nothing else uses it."""

    pbnats_encryption_key: SecretStr | None = None
    """What pb-nats has sealed its keys with, if it has: 32 characters, for `natsync import-pbnats` alone."""

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

    nats_routes_port: Port = 6222
    """Port between servers in the configuration of a cluster that `natsync export` writes."""

    issuer: str = ""
    """Issuer of the access tokens that the HTTP API accepts."""

    jwks_url: str = ""
    """Where the issuer publishes its keys."""

    audience: str = "natsync"
    """What a token's `aud` must name."""

    oidc_issuers: Names = ()
    """Further issuers whose access tokens are accepted, with commas between; their keys are found by discovery."""

    oidc_audience: str = "natsync"
    """What the `aud` of their tokens must name."""

    auth_callout: bool = True
    """Whether clients may log in to NATS with an access token in place of credentials."""

    auth_callout_encryption: bool = True
    """Whether nats-server encrypts such a token on its way to natsync."""

    creds_at_rest: Literal["plain", "sealed"] = "plain"
    """`plain` shows credentials in `creds_file`; `sealed` shows none there: they are to be had from /nats/creds."""

    account_collection_name: str = ACCOUNTS.name
    """What accounts are called in PocketBase."""

    role_collection_name: str = ROLES.name
    """What roles are called there."""

    user_collection_name: str = USERS.name
    """What NATS users are called there."""

    operator_name: str = "pocketwire"
    """Name of the operator; used when it is first made."""

    default_publish_permissions: Names = DEFAULT_PUBLISH
    """Subjects that may be published to where neither role nor user names any, with commas between."""

    default_subscribe_permissions: Names = DEFAULT_SUBSCRIBE
    """Subjects that may be subscribed to where neither role nor user names any, with commas between."""

    default_jwt_expiry_seconds: NonNegativeInt = 0
    """How long users' tokens last whose rows have no `jwt_expires_at`; they are renewed in time. 0 is for ever."""

    removal_guard_accounts: NonNegativeInt = 20
    """If more accounts than this have lost their rows at once, none is removed until an action says so."""

    removal_guard_users: NonNegativeInt = 1000
    """The same for users."""

    removal_guard_share: float = Field(0.5, ge=0, le=1)
    """The same if more than this share of them have, be they ever so few; three accounts or twenty users may go."""

    debounce_ms: NonNegativeFloat = 100
    """How long hints of one change are gathered before a pass."""

    event_filter: Annotated[Names, AfterValidator(known_events)] = ()
    """Changes that begin a pass at once, as `nats_users` or `nats_users.create`, with commas between; without any, all
    do. The others wait for the next sweep."""

    sweep_seconds: PositiveFloat = 5
    """Longest time between two passes."""

    takeover_seconds: PositiveFloat = 3
    """Of several natsyncs one reconciles. So long it is not heard when another takes over."""

    wait_seconds: PositiveFloat = 30
    """How long `bootstrap` waits for PocketBase."""

    @property
    def key(self) -> bytes:
        return key_bytes(self.encryption_key)

    @model_validator(mode="after")
    def _names_can_be(self) -> Self:
        _ = self.collection_names
        return self

    @property
    def collection_names(self) -> CollectionNames:
        return CollectionNames(self.account_collection_name, self.role_collection_name, self.user_collection_name)

    @property
    def callout_terms(self) -> CalloutTerms:
        return CalloutTerms(self.auth_callout, self.auth_callout_encryption)

    @property
    def defaults(self) -> Defaults:
        return Defaults(
            self.default_publish_permissions,
            self.default_subscribe_permissions,
            self.default_jwt_expiry_seconds,
            self.callout_terms,
        )

    @property
    def terms(self) -> Terms:
        guard = Guard(self.removal_guard_accounts, self.removal_guard_users, self.removal_guard_share)
        return Terms(
            self.defaults, guard, self.failed_record_retention_seconds, self.failed_record_cleanup_interval_seconds
        )

    @property
    def nats_servers(self) -> tuple[str, ...]:
        return server_list(self.nats_url, self.backup_nats_urls)

    @property
    def connection_terms(self) -> ConnectionTerms:
        retry = RetryTerms(
            self.max_primary_retries,
            self.initial_backoff_seconds,
            self.max_backoff_seconds,
            self.backoff_multiplier,
        )
        return ConnectionTerms(retry, self.connect_timeout_seconds, self.failback_interval_seconds)

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(self.publish_timeout_seconds, self.request_timeout_seconds)

    @property
    def queue_terms(self) -> QueueTerms:
        return QueueTerms(
            max_attempts=self.max_publish_attempts,
            interval_seconds=self.publish_queue_interval_seconds,
            retention_seconds=self.failed_record_retention_seconds,
            cleanup_interval_seconds=self.failed_record_cleanup_interval_seconds,
        )

    @property
    def store(self) -> Path:
        return self.nats_store or self.directory.absolute().parent / "nats"
