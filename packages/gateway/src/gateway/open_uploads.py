"""What takes files piece by piece: put together apart from the rest."""

from gateway.adapters.part_store import PartStore
from gateway.core.bodies.body_pace import Pace
from gateway.core.uploads.part_name import Bounds
from gateway.forward import Forwarding
from gateway.limit import Limits
from gateway.settings import Settings
from gateway.uploads.send_file import Downloads
from gateway.uploads.serve_socket import Identifying, SocketParts, UploadSockets
from gateway.uploads.serve_tus import TusTerms, TusUploads
from gateway.uploads.sweep import Sweeping
from gateway.uploads.transfer import Transfers
from gateway.uploads.uploads import Uploads

FOLDER = "pocketwire-uploads"
MOST_SWEEP_SECONDS = 60.0


def build_sweeping(settings: Settings) -> tuple[PartStore, Sweeping]:
    """The sweeping is to hear of ended sessions, and to run beside the server."""
    directory = settings.uploads_directory or settings.spool_directory / FOLDER
    parts = PartStore(directory, bounds_of(settings))
    return parts, Sweeping(parts, interval_seconds=min(MOST_SWEEP_SECONDS, settings.upload_idle_seconds / 4))


def build_uploads(
    settings: Settings, parts: PartStore, forwarding: Forwarding, limits: Limits, callers: Identifying
) -> Uploads:
    transfers = Transfers(parts, forwarding, limits, takes_guests=settings.uploads_from_guests)
    sockets = SocketParts(callers, transfers, Downloads(forwarding, limits))
    pace = Pace(settings.body_grace_seconds, settings.min_body_bytes_per_second)
    terms = TusTerms(parts.bounds, pace, min(settings.max_body_bytes, settings.max_user_upload_bytes))
    return Uploads(
        UploadSockets(sockets, max_sockets=settings.upload_sockets),
        TusUploads(transfers, terms),
    )


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(
        max_bytes=settings.max_upload_bytes,
        max_parts=settings.max_uploads,
        max_owner_bytes=settings.max_user_upload_bytes,
        max_owner_parts=settings.max_user_uploads,
        idle_seconds=settings.upload_idle_seconds,
        most_seconds=settings.upload_seconds,
    )
