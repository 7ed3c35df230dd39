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
CHAT_CONTROL_SIGNALS = "chat.ctl.signals"
CHAT_PRESENCE = "chat.presence"

RECORDS = "records.>"
RECORDS_HEARTBEAT = "records.heartbeat"
RECORDS_STREAM = "RECORDS"
"""Keeps RECORDS for a few minutes."""
IMAGES = "images.>"
CACHE_INVALIDATE = "cache.invalidate"
SESSION_REVOKED = "session.revoked"
USER_BANNED = "user.banned"
USER_PARDONED = "user.pardoned"
GATEWAY_WORKERS = "gateway.worker.>"
NATSYNC_RPC = "natsync.rpc.>"
NATSYNC_LEADER = "natsync.leader"
"""Where the natsync that reconciles is heard by the others."""
CREDS_ISSUE = "natsync.rpc.creds.issue"
ACCOUNT_STATUS = "natsync.rpc.account.status"

AUDIT = "natsync.audit"
AUDIT_STREAM = "AUDIT"
"""Keeps AUDIT, and nobody can take anything out of it."""

NOTICES_STREAM = "NOTICES"
"""Keeps SESSION_REVOKED, USER_BANNED and USER_PARDONED for those who were not there to hear them."""

SYSTEM_PING = "$SYS.REQ.SERVER.PING"
USER_AUTH = "$SYS.REQ.USER.AUTH"
"""Where a nats-server asks whether to let a client in; in the account that has the callout, not in the system's."""
CLAIMS_UPDATE = "$SYS.REQ.CLAIMS.UPDATE"
CLAIMS_DELETE = "$SYS.REQ.CLAIMS.DELETE"
CLAIMS_LIST = "$SYS.REQ.CLAIMS.LIST"
CLAIMS_PACK = "$SYS.REQ.CLAIMS.PACK"
CLAIMS_LOOKUPS = "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"
ACCOUNT_INFOS = "$SYS.REQ.ACCOUNT.*.INFO"
CONNECTIONS = "$SYS.REQ.SERVER.PING.CONNZ"
KICKS = "$SYS.REQ.SERVER.*.KICK"
SERVER_STATISTICS = "$SYS.SERVER.*.STATSZ"
"""What every server tells of itself: at its start, and every ten seconds."""
SERVER_SHUTDOWNS = "$SYS.SERVER.*.SHUTDOWN"
SYSTEM_EVENTS = (SERVER_STATISTICS, SERVER_SHUTDOWNS, CLAIMS_UPDATE, CLAIMS_DELETE)
"""What tells that a server may know something else than it did: that it came or went, or was told by somebody."""

LEASES_BUCKET = "leases"
"""Who leads what: one key a lease, in the account of the services that share it."""
FENCE_KEY = "_fence"
"""Of a bucket that only the holder of a lease may write: the epoch that it is at."""

MAX_SUBJECT = 1024
"""Characters; nats-server takes control lines of 4,096 bytes."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COLLECTION = re.compile(r"\w{1,255}", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_=/-]{1,64}(?:\.[A-Za-z0-9_=/-]{1,64}){0,7}")
_PLAIN = r"[^\s.*>\x00-\x1f\x7f\ud800-\udfff]+"
_EXACT = re.compile(rf"{_PLAIN}(?:\.{_PLAIN})*")
_PATTERN = re.compile(rf"(?:(?:{_PLAIN}|\*)(?:\.(?:{_PLAIN}|\*))*(?:\.>)?|>)")


def token(value: str) -> str:
    """Raises InvalidRequest for a value that is not a single plain subject token."""
    if not _TOKEN.fullmatch(value):
        raise InvalidRequest(f"{value!r} cannot be part of a subject.")
    return value


def exact(subject: str) -> str:
    """A subject that something can be published to. Raises InvalidRequest for wildcards, blanks and empty tokens."""
    if len(subject) > MAX_SUBJECT or not _EXACT.fullmatch(subject):
        raise InvalidRequest(f"{subject[:MAX_SUBJECT]!r} is not a subject to publish to.")
    return subject


def pattern(subject: str) -> str:
    """A subject that can be listened to, wildcards included. Raises InvalidRequest."""
    if len(subject) > MAX_SUBJECT or not _PATTERN.fullmatch(subject):
        raise InvalidRequest(f"{subject[:MAX_SUBJECT]!r} is not a subject to listen to.")
    return subject


def inbox(name: str) -> str:
    """Where the client of that name receives its replies, and no other client may listen."""
    return f"_INBOX.{token(name)}.>"


def record(collection: str, action: str) -> str:
    """Where the record feed tells of a write in the collection of that name."""
    return f"records.{_collection(collection)}.{token(action)}"


def image(collection: str, action: str) -> str:
    """Where it gives the record as well, to the gateway alone."""
    return f"images.{_collection(collection)}.{token(action)}"


def _collection(name: str) -> str:
    if not _COLLECTION.fullmatch(name):
        raise InvalidRequest(f"{name[:MAX_SUBJECT]!r} cannot be the name of a collection.")
    return name


def worker(id: str, question: str) -> str:
    """Where one process of the gateway is asked by the others."""
    return f"gateway.worker.{token(id)}.{token(question)}"


def room_in(channel_id: str) -> str:
    return f"chat.in.room.{token(channel_id)}"


def direct_in(user_id: str) -> str:
    return f"chat.in.dm.{token(user_id)}"


def change_in(said_in: str, target: str) -> str:
    """Where what becomes of one message is appended, below where it was said: so that it is found without a search."""
    return f"{said_in}.{token(target)}"


def changes_in(said_in: str) -> str:
    """What becomes of all that was said there."""
    return f"{said_in}.*"


def claims_lookup(account_key: str) -> str:
    return f"$SYS.REQ.ACCOUNT.{token(account_key)}.CLAIMS.LOOKUP"


def account_info(account_key: str) -> str:
    return f"$SYS.REQ.ACCOUNT.{token(account_key)}.INFO"


def kick(server_id: str) -> str:
    """Ends a connection; a server does so only where it is given somewhere to reply to."""
    return f"$SYS.REQ.SERVER.{token(server_id)}.KICK"


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


def growing_stream_api(stream: str) -> tuple[str, ...]:
    """What a client publishes to in order to create one JetStream stream and read it, but not to change it."""
    name = token(stream)
    return (
        *(f"$JS.API.STREAM.{verb}.{name}" for verb in ("CREATE", "INFO")),
        f"$JS.API.STREAM.MSG.GET.{name}",
        f"$JS.API.CONSUMER.*.{name}",
        f"$JS.API.CONSUMER.*.{name}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{name}.>",
        f"$JS.ACK.{name}.>",
    )


def stream_request(verb: str, stream: str) -> str:
    """`verb` is CREATE, UPDATE, INFO, PURGE or DELETE."""
    return f"$JS.API.STREAM.{token(verb)}.{token(stream)}"


def consumer_request(verb: str, stream: str, consumer: str) -> str:
    """`verb` is CREATE, INFO or DELETE."""
    return f"$JS.API.CONSUMER.{token(verb)}.{token(stream)}.{token(consumer)}"


def consumer_next(stream: str, consumer: str) -> str:
    return f"$JS.API.CONSUMER.MSG.NEXT.{token(stream)}.{token(consumer)}"


def message_at(stream: str) -> str:
    """Asks any replica of a stream for the message at one sequence."""
    return f"$JS.API.DIRECT.GET.{token(stream)}"


def stored_message(stream: str) -> str:
    """Asks a stream itself, which has all that it ever acknowledged, for one message."""
    return f"$JS.API.STREAM.MSG.GET.{token(stream)}"


def delete_message(stream: str) -> str:
    """Takes one message out of a stream."""
    return f"$JS.API.STREAM.MSG.DELETE.{token(stream)}"


def last_message(stream: str, subject: str) -> str:
    """Asks any replica of a stream for the last message on one subject."""
    return f"$JS.API.DIRECT.GET.{token(stream)}.{exact(subject)}"


def bucket_stream(bucket: str) -> str:
    """The stream that holds a key-value bucket (ADR-8)."""
    return f"KV_{token(bucket)}"


def bucket_keys(bucket: str, keys: str = ">") -> str:
    """Where the values of a bucket are written; `keys` is one key or a pattern of them."""
    return f"$KV.{token(bucket)}.{pattern(keys)}"


def bucket_key(bucket: str, key: str) -> str:
    """Raises InvalidRequest for a key that is not one to eight plain tokens joined by dots."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest(f"{key[:MAX_SUBJECT]!r} cannot be a key.")
    return f"$KV.{token(bucket)}.{key}"


def bucket_api(bucket: str) -> tuple[str, ...]:
    """What a client publishes to in order to create, read, write and watch one bucket, and no other.

    To be told at once when a lease falls free it also listens to `bucket_keys`.
    """
    return (bucket_keys(bucket), *stream_api(bucket_stream(bucket)))
