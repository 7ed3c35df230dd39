"""The NATS subject grammar: built and parsed here and nowhere else.

A token taken from data is an id or a collection name, never free text; `token` refuses what would change a
subject's shape.
"""

import re

from common.core.errors import InvalidRequest

CHAT_STREAM = "CHAT"
CHAT_IN = "chat.in.>"
CHAT_OUT = "chat.out.>"
CHAT_CONTROL = "chat.ctl.>"
CHAT_CONTROL_ALL = "chat.ctl.all"
CHAT_PRESENCE = "chat.presence"
CHAT_HEARTBEAT = "chat.heartbeat"

RECORDS = "records.>"
RECORDS_HEARTBEAT = "records.heartbeat"
IMAGES = "images.>"
CACHE_INVALIDATE = "cache.invalidate"
SESSION_REVOKED = "session.revoked"
USER_BANNED = "user.banned"
USER_PARDONED = "user.pardoned"
GATEWAY_WORKERS = "gateway.worker.>"
NATSYNC_RPC = "natsync.rpc.>"

SYSTEM_PING = "$SYS.REQ.SERVER.PING"
CLAIMS_UPDATE = "$SYS.REQ.CLAIMS.UPDATE"
CLAIMS_DELETE = "$SYS.REQ.CLAIMS.DELETE"
CLAIMS_LIST = "$SYS.REQ.CLAIMS.LIST"
CLAIMS_PACK = "$SYS.REQ.CLAIMS.PACK"
CLAIMS_LOOKUPS = "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def token(value: str) -> str:
    """Raises InvalidRequest for a value that is not a single plain subject token."""
    if not _TOKEN.fullmatch(value):
        raise InvalidRequest(f"{value!r} cannot be part of a subject.")
    return value


def inbox(name: str) -> str:
    """Where the client of that name receives its replies, and no other client may listen."""
    return f"_INBOX.{token(name)}.>"


def room_in(channel_id: str) -> str:
    return f"chat.in.room.{token(channel_id)}"


def direct_in(user_id: str) -> str:
    return f"chat.in.dm.{token(user_id)}"


def claims_lookup(account_key: str) -> str:
    return f"$SYS.REQ.ACCOUNT.{token(account_key)}.CLAIMS.LOOKUP"


def account_disconnects(account_key: str) -> str:
    return f"$SYS.ACCOUNT.{token(account_key)}.DISCONNECT"


def stream_api(stream: str) -> tuple[str, ...]:
    """What a client publishes to in order to create, read and consume one JetStream stream, and no other."""
    name = token(stream)
    return (
        "$JS.API.INFO",
        f"$JS.API.STREAM.*.{name}",
        f"$JS.API.STREAM.MSG.*.{name}",
        f"$JS.API.DIRECT.GET.{name}",
        f"$JS.API.DIRECT.GET.{name}.>",
        f"$JS.API.CONSUMER.*.{name}",
        f"$JS.API.CONSUMER.*.{name}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{name}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{name}.>",
        f"$JS.ACK.{name}.>",
        f"$JS.FC.{name}.>",
    )
