"""The collections natsync lives from, field by field."""

from collections.abc import Mapping

from natsync.core.collections.shape import MAX_TEXT, RULES, Definition, Spec

ADMIN = '@request.auth.collectionName = "users" && @request.auth.roles:each ?= "admin"'
SELF = '@request.auth.collectionName = "nats_users" && id = @request.auth.id'
LINKED = '@request.auth.collectionName = "users" && user = @request.auth.id'
OWN_OR_ADMIN = f"({ADMIN}) || ({SELF}) || ({LINKED})"
UNANSWERED = " && ".join(f"@request.body.{name}:isset = false" for name in ("status", "result", "done_at"))
OWN_NAME = '(@request.body.requested_by = "" || @request.body.requested_by = @request.auth.id)'


def text(name: str, *, hidden: bool = False, required: bool = False) -> Definition:
    return {"name": name, "type": "text", "max": MAX_TEXT, "hidden": hidden, "required": required}


def flag(name: str) -> Definition:
    return {"name": name, "type": "bool"}


def number(name: str) -> Definition:
    return {"name": name, "type": "number", "onlyInt": True}


def date(name: str) -> Definition:
    return {"name": name, "type": "date"}


def structure(name: str, *, hidden: bool = False) -> Definition:
    return {"name": name, "type": "json", "maxSize": 5_000_000, "hidden": hidden}


def relation(name: str, *, required: bool, cascade: bool = False) -> Definition:
    return {"name": name, "type": "relation", "maxSelect": 1, "required": required, "cascadeDelete": cascade}


def keys(*, signing: bool) -> tuple[Definition, ...]:
    own = (text("public_key"), text("private_key", hidden=True), text("seed", hidden=True))
    if not signing:
        return own
    return (
        *own,
        text("signing_public_key"),
        text("signing_private_key", hidden=True),
        text("signing_seed", hidden=True),
    )


LISTS = ("publish_permissions", "subscribe_permissions", "publish_deny_permissions", "subscribe_deny_permissions")
PERMISSIONS = tuple(text(name) for name in LISTS)
STATUS = (text("sync_status"), text("sync_error"), date("synced_at"))
REVISION = number("sync_revision")
"""Goes up whenever a trigger was carried out: a trigger together with the revision beside it counts once."""
TIMES: tuple[Definition, ...] = (
    {"name": "created", "type": "autodate", "onCreate": True, "onUpdate": False},
    {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
)
NOBODY: Mapping[str, str | None] = dict.fromkeys(RULES)
ADMINS: Mapping[str, str | None] = dict.fromkeys(RULES, ADMIN)

OPERATOR = Spec(
    name="nats_system_operator",
    kind="base",
    rules=NOBODY,
    fields=(text("name"), *keys(signing=True), text("jwt"), *STATUS, *TIMES),
    relations={},
)
ACCOUNTS = Spec(
    name="nats_accounts",
    kind="base",
    rules=ADMINS,
    fields=(
        text("name", required=True),
        text("description"),
        *keys(signing=True),
        structure("signing_keys"),
        structure("revocations"),
        text("jwt"),
        flag("active"),
        flag("rotate_keys"),
        flag("add_signing_key"),
        text("remove_signing_key"),
        number("max_connections"),
        number("max_subscriptions"),
        number("max_data"),
        number("max_payload"),
        number("max_jetstream_disk_storage"),
        number("max_jetstream_memory_storage"),
        REVISION,
        *STATUS,
        *TIMES,
    ),
    relations={},
)
ROLES = Spec(
    name="nats_roles",
    kind="base",
    rules=ADMINS,
    fields=(
        text("name", required=True),
        text("description"),
        flag("is_default"),
        *PERMISSIONS,
        flag("allow_response"),
        number("allow_response_max"),
        number("allow_response_ttl"),
        number("max_subscriptions"),
        number("max_data"),
        number("max_payload"),
        *STATUS,
        *TIMES,
    ),
    relations={},
    only_read=frozenset(LISTS),
)
USERS = Spec(
    name="nats_users",
    kind="auth",
    rules={**ADMINS, "listRule": OWN_OR_ADMIN, "viewRule": OWN_OR_ADMIN},
    fields=(
        text("nats_username"),
        text("description"),
        relation("account_id", required=True),
        relation("role_id", required=True),
        relation("user", required=False),
        text("oidc_issuer"),
        text("oidc_subject"),
        *keys(signing=False),
        *PERMISSIONS,
        flag("bearer_token"),
        date("jwt_expires_at"),
        text("jwt"),
        text("creds_file"),
        flag("regenerate"),
        flag("revoke"),
        flag("active"),
        REVISION,
        *STATUS,
        *TIMES,
    ),
    relations={"account_id": "nats_accounts", "role_id": "nats_roles", "user": "users"},
    only_read=frozenset(LISTS),
)
EXPORTS = Spec(
    name="nats_account_exports",
    kind="base",
    rules=ADMINS,
    fields=(
        relation("account_id", required=True, cascade=True),
        text("name"),
        text("description"),
        text("subject"),
        text("type"),
        flag("token_req"),
        text("response_type"),
        number("response_threshold"),
        number("account_token_position"),
        flag("advertise"),
        flag("allow_trace"),
        *STATUS,
        *TIMES,
    ),
    relations={"account_id": "nats_accounts"},
    only_read=frozenset({"type", "response_type"}),
)
IMPORTS = Spec(
    name="nats_account_imports",
    kind="base",
    rules=ADMINS,
    fields=(
        relation("account_id", required=True, cascade=True),
        text("name"),
        text("description"),
        text("account"),
        text("subject"),
        text("local_subject"),
        text("type"),
        text("token"),
        flag("share"),
        flag("allow_trace"),
        *STATUS,
        *TIMES,
    ),
    relations={"account_id": "nats_accounts"},
    only_read=frozenset({"type", "response_type"}),
)
ACTIONS = Spec(
    name="nats_actions",
    kind="base",
    rules={
        **NOBODY,
        "listRule": ADMIN,
        "viewRule": ADMIN,
        "createRule": f"({ADMIN}) && {UNANSWERED} && {OWN_NAME}",
    },
    fields=(
        text("verb", required=True),
        text("collection"),
        text("record"),
        text("argument"),
        text("reason"),
        text("requested_by"),
        text("status"),
        text("result"),
        date("done_at"),
        *TIMES,
    ),
    relations={},
)
KEYS = Spec(
    name="natsync_keys",
    kind="base",
    rules=NOBODY,
    fields=(
        text("kind", required=True),
        text("record", required=True),
        text("name"),
        text("account"),
        text("role"),
        *keys(signing=True),
        structure("older_keys", hidden=True),
        text("jwt", hidden=True),
        text("content"),
        text("issuer"),
        text("lingering"),
        number("last_iat"),
        number("expires_at"),
        structure("revocations"),
        text("state"),
        flag("suspended"),
        text("handled"),
        number("revision"),
        text("remark"),
        text("creds_digest"),
        *TIMES,
    ),
    relations={},
    indexes=("CREATE UNIQUE INDEX `natsync_keys_place` ON `natsync_keys` (`kind`, `record`)",),
)
QUEUE = Spec(
    name="natsync_queue",
    kind="base",
    rules=NOBODY,
    fields=(
        text("account", required=True),
        text("action"),
        text("content"),
        number("attempts"),
        number("next_try_at"),
        number("failed_at"),
        text("error"),
        *TIMES,
    ),
    relations={},
    indexes=("CREATE UNIQUE INDEX `natsync_queue_account` ON `natsync_queue` (`account`)",),
)
BANS = Spec(
    name="natsync_bans",
    kind="base",
    rules=NOBODY,
    fields=(text("subject", required=True), text("collection_id"), number("until"), text("reason"), *TIMES),
    relations={},
    indexes=("CREATE UNIQUE INDEX `natsync_bans_place` ON `natsync_bans` (`subject`, `collection_id`)",),
)
TERMS = Spec(
    name="natsync_terms",
    kind="base",
    rules=NOBODY,
    fields=(number("epoch"), text("holder")),
    relations={},
    indexes=("CREATE UNIQUE INDEX `natsync_terms_epoch` ON `natsync_terms` (`epoch`)",),
)
SPECS = (OPERATOR, ACCOUNTS, ROLES, USERS, EXPORTS, IMPORTS, ACTIONS, KEYS, QUEUE, BANS, TERMS)
