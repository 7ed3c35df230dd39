"""All that the gateway can be told from outside; built once, in __main__."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    DirectoryPath,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)
from pydantic_settings import SettingsConfigDict

from common.core.client_address import TrustedProxies
from common.core.rate_limit_rule import InvalidRule
from common.serving.settings import ExactUrl, Key, Names, Port, TelemetrySettings, Url, key_bytes, none_for_nothing
from gateway.core.front_door.limits import rules_of
from gateway.core.rule_files.moderation import ModerationTerms, guards_of
from gateway.core.sessions.operator_key import MIN_KEY_LENGTH
from gateway.core.sessions.session_token import OWN_AUDIENCE
from gateway.core.uploads.upload_checks import DEFAULT_MAX_PIXELS

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def signing_key(value: SecretStr) -> SecretStr:
    if not 0 < int.from_bytes(key_bytes(value), "big") < P256_ORDER:
        raise ValueError("must be base64url of a P-256 private value")
    return value


def checked_operator_key(value: SecretStr | None) -> SecretStr | None:
    """Empty is as good as absent: no empty key may ever open anything."""
    key = value.get_secret_value() if value else ""
    if key and len(key) < MIN_KEY_LENGTH:
        raise ValueError(f"must have at least {MIN_KEY_LENGTH} characters, as HAPTA_ADMIN_KEY too")
    return value if key else None


class Settings(TelemetrySettings):
    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    config: Path | None = None
    """A TOML file of settings in place of `gateway.toml` where the gateway is started: the names below in lower case,
    without the prefix. What stands in the environment comes first, and what a `.env` beside the file says, last."""

    host: str = "127.0.0.1"
    """Address of the public listener."""

    port: Port = 8101
    """Port of the public listener."""

    operations_port: Port = 8111
    """Port of /livez, /readyz, /metrics and /operator on loopback; 0 opens none."""

    pocketbase_url: Url = Field("http://127.0.0.1:8090", validation_alias="POCKETBASE_URL")
    """Where PocketBase listens. Its setting trustedProxy must name X-Forwarded-For, rightmost address."""

    valkey_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), validation_alias="VALKEY_URL")
    """Where Valkey listens; it holds the sessions."""

    nats_url: str = Field("", validation_alias="NATS_URL")
    """Where nats-server listens; several addresses are separated by commas. It tells what changed: without it no answer
    is kept, and every read is asked of PocketBase."""

    nats_creds: Annotated[Path | None, BeforeValidator(none_for_nothing)] = None
    """The credentials file that natsync wrote for the gateway."""

    issuer: Url
    """The public URL; the `iss` of session tokens."""

    signing_key: Annotated[SecretStr, AfterValidator(signing_key)]
    """Signs session tokens: base64url of a P-256 private value of 32 bytes."""

    session_key: Key
    """Seals PocketBase's tokens in Valkey: base64url of 32 bytes. Another key ends every session."""

    session_grace_seconds: Annotated[int, Field(ge=0, le=300)] = 10
    """How long a session token still works once its successor was issued, for requests that were under way. Used later,
    it counts as stolen and ends its session."""

    max_sessions: PositiveInt = 50
    """Sessions of one user; another sign-in ends the oldest."""

    roll_every_seconds: NonNegativeInt = 0
    """Ordinary calls answer with a successor in X-Gateway-Token once a token is that old; 0 leaves it to auth-refresh.
    Only for clients that take it up: the token that they hold dies with the grace."""

    strict_tokens: bool = False
    """Whether an unknown, expired or ended token is refused with 401. PocketBase, and so the default, sees a guest."""

    known_sessions: PositiveInt = 20_000
    """Session tokens that one process remembers, so that it need not ask Valkey at each request."""

    operator_key: Annotated[SecretStr | None, AfterValidator(checked_operator_key)] = Field(
        None, validation_alias=AliasChoices("GATEWAY_OPERATOR_KEY", "HAPTA_ADMIN_KEY")
    )
    """Opens /operator on the operations port, as a bearer token of at least 16 characters; without it nobody may. The
    name HAPTA_ADMIN_KEY is taken too."""

    pocketbase_email: str
    """A superuser of PocketBase; reads the collections' names and the records of those who sign in."""

    pocketbase_password: SecretStr
    """Its password."""

    roles_field: str = "roles"
    """The field of an auth record that lists its roles."""

    roles_collections: Names = ("users",)
    """Auth collections whose records may have roles. No client writes the field there, whatever PocketBase's rules
    allow: PocketBase's own dashboard does, rules in Python do, and routes that are granted the service's database."""

    tenant_field: str = ""
    """The field of an auth record, in the same collections, that names its tenant; none by default. No client writes
    it."""

    clearance_field: str = ""
    """The field there that has its clearance, a number or a list of numbers; none by default. No client
    writes it."""

    identity_server_url: ExactUrl | None = None
    """An OpenID Connect issuer that `services.authenticate` asks in PocketBase's place, to the letter as its tokens
    name it (`iss`), with or without a slash at its end; none by default."""

    identity_tenant_id: str = ""
    """The client that the gateway is there. Without one no issuer is asked."""

    identity_secret: SecretStr = SecretStr("")
    """The client's secret; empty for a public client."""

    identity_collection: str = "users"
    """The auth collection that has a record of each of the issuer's users."""

    identity_makes_users: bool = True
    """Whether a user who comes for the first time gets a record there."""

    identity_scopes: str = "openid profile email"
    """What is asked of the issuer."""

    identity_roles_claim: str = "realm_access.roles"
    """The claim of its ID tokens that lists roles; dots lead into claims inside others."""

    identity_tenant_claim: str = "tenant"
    """The claim that names the tenant."""

    identity_clearance_claim: str = "clearance"
    """The claim that has the clearance, a number or a list of numbers."""

    oauth2_targets: Names = ()
    """Pages that a browser may be sent to once it is back from an OAuth2 provider, by their whole addresses. Without
    one it is shown a page that closes itself."""

    client_ids: Names = ("ChatClient", "WebClient")
    """Clients that a login may name in the header X-Client-Id."""

    default_client_id: str = "ChatClient"
    """The client of a login that names none."""

    audiences: Names = (OWN_AUDIENCE, "natsync", "chathub")
    """The `aud` of session tokens."""

    trusted_proxies: Names = ("127.0.0.1", "::1")
    """Peers, addresses or networks, whose X-Forwarded-For is believed."""

    health_parts: dict[str, Url] = Field(default={})
    """Other parts of the platform for /readyz: a JSON object of names and the addresses of their /readyz."""

    max_body_bytes: PositiveInt = 2 * GIBIBYTE
    """The largest request body of all. A collection's own limit counts where it is lower: 32 MiB, and what its file
    fields may hold, as in PocketBase."""

    max_fields_bytes: PositiveInt = 32 * MEBIBYTE
    """The most that one body may have beside its files; it is held in memory."""

    max_memory_bytes: PositiveInt = 256 * MEBIBYTE
    """What the bodies of all requests of one process may hold in memory at once; more are refused with 503."""

    max_batch_requests: PositiveInt = 50
    """Requests in one batch. PocketBase's own setting counts as well."""

    max_batch_bytes: PositiveInt = 128 * MEBIBYTE
    """The largest batch, files included. PocketBase's own setting counts as well."""

    spool_directory: DirectoryPath = Path("/var/tmp")  # noqa: S108 - the files have no names
    """Where uploads wait while they are checked, in files without a name. Not in memory: not on a tmpfs."""

    max_spool_bytes: PositiveInt = 4 * GIBIBYTE
    """What all uploads of one process may take there at once; more are refused with 503."""

    max_spool_files: PositiveInt = 2000
    """Files that may wait there at once."""

    uploads_directory: Path | None = None
    """Where uploads that can be resumed wait for the rest of them, one folder for all workers of the machine. It must
    be the gateway's own; it is made when it is needed. By default `pocketwire-uploads` in the spool directory."""

    max_upload_bytes: PositiveInt = 16 * GIBIBYTE
    """What all uploads that can be resumed may take there, by the sizes that they have announced; more are refused with
    503."""

    max_uploads: PositiveInt = 2000
    """Uploads that may wait there at once."""

    max_user_upload_bytes: PositiveInt = 4 * GIBIBYTE
    """What those of one user may take."""

    max_user_uploads: PositiveInt = 32
    """How many one user may have under way."""

    upload_idle_seconds: PositiveFloat = 3600
    """How long one waits for more before it is removed."""

    upload_seconds: PositiveFloat = 86_400
    """How long one may take in all."""

    uploads_from_guests: bool = False
    """Whether who has not signed in may begin an upload that can be resumed. Guests are counted by their network."""

    upload_sockets: PositiveInt = 1000
    """WebSockets that files go over, of one process."""

    max_image_pixels: PositiveInt = DEFAULT_MAX_PIXELS
    """The largest image that is accepted, width times height."""

    body_grace_seconds: PositiveFloat = 10
    """How long a body may come in as slowly as it likes."""

    min_body_bytes_per_second: PositiveInt = 4096
    """How fast it must have come in on the whole from then on; a slower one is answered with 408."""

    rules_folder: Path | None = None
    """The folder of rule files. When one of them does not load, every read and write is refused."""

    watch_rules: bool = False
    """Whether rule files are read again when they change, for development."""

    rule_error_messages: bool = False
    """Whether the log tells what a rule's exception says, for development: it may quote a record."""

    development_mode: bool = False
    """Both of these at once, and the same for routes and schemas: files are read again when they change, and the log
    tells what exceptions say."""

    routes_folder: Path | None = None
    """The folder of route files. When one of them, or of the schemas, does not load, the gateway does not start."""

    schemas_folder: Path | None = None
    """The folder of the schemas that mirror them; by default `schemas` beside the routes."""

    service_routes: Names = ()
    """Paths of routes, as in `/posts/{id}`, whose `db` acts as the gateway itself, past the rules; all others act as
    their caller."""

    route_deadline_seconds: PositiveFloat = 10
    """How long a route may take, and each chunk of what it streams; the request is then refused with 503."""

    max_route_body_bytes: PositiveInt = 32 * MEBIBYTE
    """The largest body that a route is given, and the largest file in it."""

    rule_deadline_seconds: PositiveFloat = 2
    """How long one rule may take; the request is then refused with 503."""

    moderated_fields: Names = ()
    """Fields whose text a classifier is shown, as in `posts.title,comments.*`, beside those that rules name."""

    moderation_url: Url | None = None
    """The classifier; without it nothing is moderated."""

    moderation_authorization: SecretStr = SecretStr("")
    """The header Authorization that it is sent."""

    moderation_text_key: str = "text"
    """The key under which it is sent a text."""

    moderation_score_path: str = "score"
    """Where its answer has the score: keys and positions with dots between them, `*` for every one."""

    moderation_labels: Names = ()
    """Labels whose score counts; all, where there are none."""

    moderation_threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The score at which a text is refused."""

    moderation_deadline_seconds: PositiveFloat = 2
    """How long the classifier may take for one write."""

    moderation_fails_open: bool = False
    """Whether texts pass when there is no score; by default they are refused with 503."""

    rate_limits: dict[str, dict[str, Any]] = Field(default={}, json_schema_extra={"default": "`{}`"})
    """Limits in place of the default ones: a JSON object of `{"name": {"limit": 10, "every": 1000, "maxUses": 50}}`,
    times in milliseconds; a limit of 0 is none. Names: `default`, `list`, `view`, `create`, `update`, `delete`, `auth`,
    `files`, `realtime`, `batch`, an endpoint such as `request-otp`, and each of them for one collection: `posts:list`,
    `users:auth`. File routes fall under `routes`, or under a rule of their path: `/posts/*`. A
    rule `tenant` counts all users of a tenant together as well. Users are counted one by
    one, guests and all sign-ins by address."""

    cache_memory_bytes: PositiveInt = 64 * MEBIBYTE
    """What the kept answers of one process may take in memory."""

    cache_shared_bytes: PositiveInt = 32 * MEBIBYTE
    """What the answers that one process keeps in Valkey for the others may take there at once, beside the sessions."""

    cache_answer_bytes: PositiveInt = MEBIBYTE
    """The largest answer that is kept."""

    cache_seconds: PositiveFloat = 300
    """How long an answer is kept at most. It ends with the first change to anything that it depends on."""

    cache_stale_seconds: NonNegativeFloat = 3600
    """How long beyond that an answer that is the same for everybody stands in for a PocketBase that is away; it then
    bears `X-Cache: STALE`."""

    cache_silence_seconds: Annotated[float, Field(ge=0.6, le=3)] = 1
    """How long the record feed may be silent before no kept answer is believed. It speaks every half second."""

    enriched_collections: Names = ()
    """Collections whose records PocketBase's hooks change on their way out; reads of them are never kept."""

    log_every_read: NonNegativeInt = 1000
    """Every how many reads that succeeded one is logged, 0 for none. Errors, refusals and writes always are."""

    workers: PositiveInt = 1
    """Processes that share the public port and that of operations, where whichever is asked tells the metrics of all,
    each under the label `worker`. One that dies is started again."""

    upstream_connections: PositiveInt = 256
    """Connections to PocketBase for ordinary requests."""

    realtime_connections: PositiveInt = 10_000
    """Realtime streams to PocketBase that may be open at once: one for guests and one for each account with a
    subscription that only PocketBase can decide; without NATS, one for each client."""

    realtime_clients: PositiveInt = 20_000
    """Realtime clients that one process holds."""

    realtime_client_bytes: PositiveInt = 256 * 1024
    """What may wait for one of them; who reads more slowly is cut off."""

    @property
    def watches_files(self) -> bool:
        return self.watch_rules or self.development_mode

    @property
    def tells_messages(self) -> bool:
        return self.rule_error_messages or self.development_mode

    @property
    def moderation(self) -> ModerationTerms:
        return ModerationTerms(
            url=self.moderation_url or "",
            authorization=self.moderation_authorization.get_secret_value(),
            text_key=self.moderation_text_key,
            score_path=self.moderation_score_path,
            labels=frozenset(self.moderation_labels),
            threshold=self.moderation_threshold,
            deadline_seconds=self.moderation_deadline_seconds,
            fails_open=self.moderation_fails_open,
        )

    @field_validator("moderated_fields")
    @classmethod
    def are_fields(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        guards_of(value)
        return value

    @field_validator("rate_limits")
    @classmethod
    def are_rules(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        try:
            rules_of(value)
        except InvalidRule as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("audiences")
    @classmethod
    def includes_own(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if OWN_AUDIENCE not in value:
            raise ValueError(f"must include {OWN_AUDIENCE}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        TrustedProxies.parse(value)
        return value
