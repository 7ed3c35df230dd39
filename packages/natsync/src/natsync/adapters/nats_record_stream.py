"""The stream that keeps what the record feed said, for a reader that was away for a moment."""

from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from common.adapters.nats_bus import Bus
from common.core import subjects

KEPT_SECONDS = 600
KEPT_BYTES = 64 * 1024 * 1024
TERMS = StreamConfig(
    name=subjects.RECORDS_STREAM,
    subjects=[subjects.RECORDS],
    storage=StorageType.MEMORY,  # a server that restarts begins another epoch anyway
    max_age=KEPT_SECONDS,
    max_bytes=KEPT_BYTES,
    max_msg_size=16 * 1024,
    discard=DiscardPolicy.OLD,
    no_ack=True,
)


async def keep_records(bus: Bus) -> None:
    """Raises ServiceError."""
    await bus.ensure_stream(TERMS)
