"""What is known of a request to PocketBase: first how it is spelt, then what it means."""

from dataclasses import dataclass

from gateway.core.bodies.media_type import MediaType
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.headers import outbound, without_body
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.front_door.query import Query
from gateway.core.sessions.principal import Principal


@dataclass(frozen=True, slots=True)
class Request:
    """A request once its path is parsed; `address` is the client's."""

    method: str
    route: Route
    query: bytes
    address: str
    headers: list[tuple[bytes, bytes]]

    @property
    def is_read(self) -> bool:
        return self.method in ("GET", "HEAD")

    @property
    def is_endless(self) -> bool:
        return self.route.kind == "realtime" and self.is_read


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose collection and caller are known. No principal is a guest."""

    request: Request
    media: MediaType
    query: Query
    collection: Collection | None
    principal: Principal | None

    def target(self, query: Query) -> str:
        """Path and query to ask PocketBase for."""
        path = self.request.route.upstream_path(self.collection.name if self.collection else None)
        return f"{path}?{query.encoded()}" if query.pairs else path

    def outbound(self) -> list[tuple[str, str]]:
        """The headers that PocketBase gets, without those that describe a body."""
        token = self.principal.pocketbase_token if self.principal else None
        tenant = self.principal.tenant if self.principal else ""
        return outbound(
            without_body(self.request.headers), client_address=self.request.address, token=token, tenant=tenant
        )
