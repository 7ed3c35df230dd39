"""What a route is given: who asks, the request, and the ways to answer. Tests and other servers make it by hand."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.route_files.response import BYTES, HTML, TEXT, Response, json_response
from gateway.core.rule_files.context import GUEST, Asker
from gateway.core.rule_files.context import Metadata as RequestMetadata


@dataclass(frozen=True, slots=True)
class Metadata(RequestMetadata):
    """About the request; `json` is its body as it came: JSON, or the fields of a form."""

    method: str = "GET"
    path: str = "/"
    json: Any = None


class File(Protocol):
    """One file of a form. `content_type` is what the client claims, `detected_type` what the first bytes say."""

    @property
    def filename(self) -> str: ...

    @property
    def content_type(self) -> str: ...

    @property
    def detected_type(self) -> str | None: ...

    @property
    def size_bytes(self) -> int: ...

    async def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Raises ValueError for more at once than fits in memory; `length` then has to be given."""
        ...


class Context:
    """One request before a route. `body`, `query` and `headers` are what the schema made of them, None without one.

    `state` is for middleware to hand something on. Everything may be replaced; nothing of it goes any further than the
    route.
    """

    def __init__(
        self,
        *,
        principal: Asker = GUEST,
        metadata: Metadata | None = None,
        services: Any = None,
        files: Mapping[str, tuple[File, ...]] | None = None,
    ) -> None:
        self.principal = principal
        self.metadata = metadata or Metadata()
        self.services = services
        self.files: Mapping[str, tuple[File, ...]] = files or {}
        self.body: Any = None
        self.query: Any = None
        self.headers: Any = None
        self.state: dict[str, Any] = {}

    @property
    def tenant_id(self) -> str:
        """From verified claims alone; empty where there is none."""
        return self.principal.tenant

    def json(self, value: object, status: int = 200, headers: Mapping[str, str | list[str]] | None = None) -> Response:
        return json_response(value, status, headers)

    def html(self, text: str, status: int = 200, headers: Mapping[str, str | list[str]] | None = None) -> Response:
        return Response(text.encode(), status, HTML, headers or {})

    def text(self, text: str, status: int = 200, headers: Mapping[str, str | list[str]] | None = None) -> Response:
        return Response(text.encode(), status, TEXT, headers or {})

    def file(self, content: bytes, *, filename: str = "", content_type: str = BYTES, status: int = 200) -> Response:
        """With a filename, to be saved rather than shown."""
        return Response(content, status, content_type, disposition(filename) if filename else {})

    def stream(
        self,
        chunks: AsyncIterator[bytes | str],
        *,
        content_type: str = BYTES,
        status: int = 200,
        headers: Mapping[str, str | list[str]] | None = None,
    ) -> Response:
        """Sent as it is made. Each chunk has the route's deadline, the whole none; it ends when the client leaves."""
        return Response(chunks, status, content_type, headers or {})

    def empty(self, status: int = 204) -> Response:
        return Response(b"", status)


def disposition(filename: str) -> dict[str, str | list[str]]:
    """RFC 6266, without a character that would need quoting."""
    plain = "".join(character if character.isalnum() or character in " ._-" else "_" for character in filename)
    ascii_only = plain.encode("ascii", "replace").decode().replace("?", "_")
    return {"content-disposition": f'attachment; filename="{ascii_only}"'}
