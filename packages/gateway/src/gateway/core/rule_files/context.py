"""What a rule is given: who asks, what for, what is stored, and what is about to be written or answered."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, TypeAlias

from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.json_values import copied
from gateway.core.front_door.headers import RawHeaders, says_the_tenant
from gateway.core.operation import Action, Operation, Upload, Write

StoredRecord: TypeAlias = Mapping[str, Any]

EPOCH: Final = datetime.fromtimestamp(0, UTC)

_UNREAD = "ctx.stored must be read first: `await ctx.stored`, or `ctx.stored.wait()` in a rule without async"
_SECRET_HEADERS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as rules may know: a guest has no id. Roles, tenant and clearance are those of the sign-in."""

    id: str = ""
    collection: str = ""
    username: str = ""
    roles: frozenset[str] = frozenset()
    tenant: str = ""
    highest_clearance: int = 0

    @property
    def is_authenticated(self) -> bool:
        return bool(self.id)

    def has_role(self, role: str) -> bool:
        return role in self.roles

    def is_record(self, collection: str, id: str | None) -> bool:
        """Is the asker this very auth record? Ids alone may occur in two collections."""
        return self.is_authenticated and self.id == id and self.collection.casefold() == collection.casefold()


GUEST: Final = Asker()


@dataclass(frozen=True, slots=True)
class Metadata:
    """About the request. Names of headers are lower-case, and neither they nor the query can be changed.

    `context` is `oauth2` for the sign-up that a sign-in by way of a provider may come to, else `default`: PocketBase's
    names in `@request.context`.
    """

    request_id: str = ""
    timestamp: datetime = EPOCH
    client_address: str = ""
    context: Literal["default", "oauth2"] = "default"
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def of(self, operation: Operation) -> "Metadata":
        """With the path and the query of one operation; a batch has many."""
        params = {"collection": operation.collection}
        if operation.record_id is not None:
            params["id"] = operation.record_id
        return replace(self, params=MappingProxyType(params), query=MappingProxyType(dict(operation.query)))


def readable_headers(headers: RawHeaders) -> Mapping[str, str]:
    """The first of each name, as PocketBase reads them, without those that would let a rule act as the
    client, and without his word on what his tenant is."""
    readable: dict[str, str] = {}
    for name, value in headers:
        if name.lower() not in _SECRET_HEADERS and not says_the_tenant(name):
            readable.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return MappingProxyType(readable)


async def nothing_stored() -> StoredRecord | None:
    return None


class Stored:
    """The stored record on demand. Any other use is an error, so that a forgotten await never passes for an answer."""

    __slots__ = ("_read", "_wait")
    __hash__ = None  # pyright: ignore[reportAssignmentType] - as for anything that cannot be compared

    def __init__(
        self,
        read: Callable[[], Awaitable[StoredRecord | None]] = nothing_stored,
        wait: Callable[[], StoredRecord | None] = lambda: None,
    ) -> None:
        self._read = read
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, StoredRecord | None]:
        return self._read().__await__()

    def wait(self) -> StoredRecord | None:
        """For rules without async, which run in threads of their own."""
        return self._wait()

    def _unread(self, *_: object) -> NoReturn:
        raise TypeError(_UNREAD)

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = _unread
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = _unread

    def __getattr__(self, _name: str) -> NoReturn:
        self._unread()


def records_of(action: Action, answer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if action == "list":
        return (answer or {}).get("items", [])
    return [] if answer is None else [answer]


class Context:
    """One operation before the rules. `record` and `answer` may be changed; nothing else may.

    `record` is what is to be written, keyed as the client spelt it (`tags+`); `written` names the fields behind it.
    `answer` is what PocketBase answered: a record, a page of a list, None after a delete and before any answer.
    """

    __slots__ = ("_operation", "answer", "declared", "files", "metadata", "principal", "record", "stored")

    def __init__(
        self,
        operation: Operation,
        *,
        principal: Asker = GUEST,
        metadata: Metadata | None = None,
        stored: Stored | None = None,
        answer: dict[str, Any] | None = None,
    ) -> None:
        self._operation = operation
        self.principal = principal
        self.metadata = (metadata or Metadata()).of(operation)
        self.stored = Stored() if stored is None else stored
        self.answer = answer
        is_write = isinstance(operation, Write)
        self.record: dict[str, Any] = copied(dict(operation.fields)) if is_write else {}
        self.files: Mapping[str, tuple[Upload, ...]] = MappingProxyType(dict(operation.files) if is_write else {})
        self.declared: set[str] | None = None  # the fields that models know, once one has been asked

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"ctx.{name} cannot be deleted")

    @property
    def action(self) -> Action:
        return self._operation.action

    @property
    def collection(self) -> str:
        return self._operation.collection

    @property
    def record_id(self) -> str | None:
        return self._operation.record_id

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of the answer, however many: those of a page, or the one."""
        return records_of(self.action, self.answer)

    @property
    def written(self) -> frozenset[str]:
        """The fields that this write touches, by whatever spelling, files included."""
        return frozenset(field_of(key) for key in (*self.record, *self.files))

    def values(self, field: str) -> list[Any]:
        """What is given for the field, by whatever spelling."""
        return [value for key, value in self.record.items() if field_of(key) == field]

    def drop(self, field: str) -> None:
        """Forget the field, by whatever spelling. A file cannot be dropped, only refused."""
        self.record = {key: value for key, value in self.record.items() if field_of(key) != field}
