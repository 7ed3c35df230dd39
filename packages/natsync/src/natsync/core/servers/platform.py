"""The platform's own NATS users, and the subjects each of them needs: no more than these."""

from collections.abc import Mapping

from common.core import subjects
from natsync.core.claims import (
    Body,
    Permissions,
    ResponsePermission,
    UserClaims,
    user_body,
)
from natsync.core.state.built_in import AUTH, CALLOUT, PLATFORM, SENTINEL, SYSTEM
from natsync.core.state.ledger import KEY_FIELDS, Entry, Kind

OPERATOR_FIELDS = ("name", *KEY_FIELDS, "jwt")

ACCOUNTS = (SYSTEM, PLATFORM, AUTH)
SERVICES: Mapping[str, str] = {
    "sys": SYSTEM,
    "gateway": PLATFORM,
    "natsync": PLATFORM,
    "chathub": PLATFORM,
    CALLOUT: AUTH,
}
"""Service users and the account each belongs to."""

PERMISSIONS: Mapping[str, Permissions] = {
    "sys": Permissions(
        publish=(
            subjects.SYSTEM_PING,
            subjects.CLAIMS_UPDATE,
            subjects.CLAIMS_DELETE,
            subjects.CLAIMS_LIST,
            subjects.CLAIMS_PACK,
            subjects.CLAIMS_LOOKUPS,
            subjects.ACCOUNT_INFOS,
            subjects.CONNECTIONS,
            subjects.KICKS,
        ),
        subscribe=(subjects.inbox("sys"), *subjects.SYSTEM_EVENTS),
    ),
    "gateway": Permissions(
        publish=(
            subjects.CACHE_INVALIDATE,
            subjects.SESSION_REVOKED,
            subjects.GATEWAY_WORKERS,
            subjects.NATSYNC_RPC,
        ),
        subscribe=(
            subjects.RECORDS,
            subjects.IMAGES,
            subjects.CACHE_INVALIDATE,
            subjects.SESSION_REVOKED,
            subjects.USER_BANNED,
            subjects.USER_PARDONED,
            subjects.GATEWAY_WORKERS,
            subjects.inbox("gateway"),
        ),
        response=ResponsePermission(max_messages=1, seconds=10),
    ),
    "natsync": Permissions(
        publish=(
            subjects.RECORDS,
            subjects.IMAGES,
            *subjects.stream_api(subjects.RECORDS_STREAM),
            *subjects.stream_api(subjects.NOTICES_STREAM),
            subjects.AUDIT,
            *subjects.growing_stream_api(subjects.AUDIT_STREAM),
            *subjects.bucket_api(subjects.LEASES_BUCKET),
            subjects.NATSYNC_LEADER,
        ),
        subscribe=(
            subjects.NATSYNC_LEADER,
            subjects.bucket_keys(subjects.LEASES_BUCKET),
            subjects.NATSYNC_RPC,
            subjects.USER_BANNED,
            subjects.USER_PARDONED,
            subjects.inbox("natsync"),
        ),
        response=ResponsePermission(max_messages=1, seconds=10),
    ),
    "chathub": Permissions(
        publish=(
            subjects.CHAT_IN,
            subjects.CHAT_CONTROL,
            subjects.CHAT_PRESENCE,
            subjects.USER_BANNED,
            subjects.USER_PARDONED,
            *subjects.stream_api(subjects.CHAT_STREAM),
            *subjects.growing_stream_api(subjects.NOTICES_STREAM),
        ),
        subscribe=(
            subjects.CHAT_OUT,
            subjects.CHAT_CONTROL,
            subjects.CHAT_PRESENCE,
            subjects.USER_BANNED,
            subjects.USER_PARDONED,
            subjects.SESSION_REVOKED,
            subjects.inbox("chathub"),
        ),
    ),
    CALLOUT: Permissions(
        subscribe=(subjects.USER_AUTH, subjects.inbox(CALLOUT)),
        response=ResponsePermission(max_messages=1, seconds=10),
    ),
    SENTINEL: Permissions(publish_deny=(">",), subscribe_deny=(">",)),
}


def places(operator_name: str) -> list[tuple[Kind, str, str]]:
    """Kind, record and name of every entry the platform itself needs."""
    accounts: list[tuple[Kind, str, str]] = [("account", name, name) for name in ACCOUNTS]
    services: list[tuple[Kind, str, str]] = [("service", name, name) for name in (*SERVICES, SENTINEL)]
    return [("operator", "operator", operator_name), *accounts, *services, ("curve", CALLOUT, CALLOUT)]


def home_of(service: str) -> str:
    return AUTH if service == SENTINEL else SERVICES[service]


def service_body(name: str, account: Entry) -> Body:
    claims = UserClaims(PERMISSIONS[name], bearer_token=name == SENTINEL)
    return user_body(claims, account=account.public_key)
