"""The two ways by which files come in piece by piece."""

from dataclasses import dataclass

from gateway.uploads.serve_socket import UploadSockets
from gateway.uploads.serve_tus import TusUploads


@dataclass(frozen=True, slots=True)
class Uploads:
    sockets: UploadSockets
    tus: TusUploads
