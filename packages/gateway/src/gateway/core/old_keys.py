"""Hapta's settings, and what each is here. The reference's table and the warnings are made from this one list."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Source: TypeAlias = Literal["Hapta 1, environment", "Hapta 1, config.ts", "Hapta 2, hapta-config.json"]


@dataclass(frozen=True, slots=True)
class OldKey:
    """`replacement` is the variable to set, or what to do where there is none."""

    name: str
    source: Source
    replacement: str
    note: str = ""
    is_read: bool = False


ENVIRONMENT: Source = "Hapta 1, environment"
CONFIG: Source = "Hapta 1, config.ts"
JSON: Source = "Hapta 2, hapta-config.json"

KEYS_NOTE = "Not the secret of old tokens, which end: `gateway init` makes a new key."

OLD_KEYS: tuple[OldKey, ...] = (
    OldKey("DB_URL", ENVIRONMENT, "POCKETBASE_URL"),
    OldKey("ADMIN_EMAIL", ENVIRONMENT, "GATEWAY_POCKETBASE_EMAIL"),
    OldKey("ADMIN_PASSWORD", ENVIRONMENT, "GATEWAY_POCKETBASE_PASSWORD"),
    OldKey("HAPTA_ADMIN_KEY", ENVIRONMENT, "GATEWAY_OPERATOR_KEY", "The old name is still taken.", True),
    OldKey("SSL_ENABLED", ENVIRONMENT, "DOMAIN", "Of the platform: Caddy serves HTTPS for that domain, always."),
    OldKey("JWT_SECRET", ENVIRONMENT, "GATEWAY_SIGNING_KEY", KEYS_NOTE),
    OldKey("port", CONFIG, "GATEWAY_PORT"),
    OldKey("hostname", CONFIG, "GATEWAY_HOST"),
    OldKey("developmentMode", CONFIG, "GATEWAY_DEVELOPMENT_MODE"),
    OldKey("ratelimits", CONFIG, "GATEWAY_RATE_LIMITS", "The same names: `limit`, `every`, `maxUses`."),
    OldKey("rules", CONFIG, "GATEWAY_RULES_FOLDER", "A folder of Python files in place of one worker."),
    OldKey("port", JSON, "GATEWAY_PORT"),
    OldKey("logLevel", JSON, "GATEWAY_LOG_LEVEL"),
    OldKey("origin", JSON, "GATEWAY_ISSUER", "The public URL. Every origin may read answers, as before."),
    OldKey("AI_ENABLED", JSON, "GATEWAY_MODERATION_URL", "The classifier; moderation is off without one."),
    OldKey("Clover_Tenant_ID", JSON, "GATEWAY_IDENTITY_TENANT_ID", "The client at any OpenID Connect issuer."),
    OldKey("Clover_Secret", JSON, "GATEWAY_IDENTITY_SECRET"),
    OldKey("Clover_Server_Url", JSON, "GATEWAY_IDENTITY_SERVER_URL", "Absent: PocketBase alone signs users in."),
    OldKey("JWT_SECRET", JSON, "GATEWAY_SIGNING_KEY", KEYS_NOTE),
    OldKey("DatabaseUrl", JSON, "POCKETBASE_URL"),
    OldKey("ADMIN_EMAIL", JSON, "GATEWAY_POCKETBASE_EMAIL"),
    OldKey("ADMIN_PASSWORD", JSON, "GATEWAY_POCKETBASE_PASSWORD"),
)


def old_keys_in(names: Iterable[str]) -> list[OldKey]:
    """Those that are spelt exactly so, each once: `PORT` and `HOSTNAME` are set in every other environment."""
    found = set(names)
    by_name = {key.name: key for key in reversed(OLD_KEYS) if key.name in found}
    return [by_name[name] for name in sorted(by_name)]


def advice(key: OldKey) -> str:
    if key.is_read:
        return f"{key.name} of Hapta is still read; its name is {key.replacement} now."
    return " ".join(filter(None, (f"{key.name} of Hapta is not read; set {key.replacement}.", key.note)))


def table() -> str:
    """As Markdown."""
    rows = ["| Hapta | was in | here | |", "|---|---|---|---|"]
    rows += [f"| `{key.name}` | {key.source} | `{key.replacement}` | {key.note} |" for key in OLD_KEYS]
    return "\n".join(rows)
