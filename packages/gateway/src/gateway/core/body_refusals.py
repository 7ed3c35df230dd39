"""What is refused of a request's body, and how a refusal names the fields that were wrong.

InvalidRequest
├── MalformedBody
├── UnsupportedType
└── InvalidFields
ServiceError
└── TooSlow
UpstreamUnavailable
└── NoRoom
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.core.errors import InvalidRequest, ServiceError, UpstreamUnavailable


class MalformedBody(InvalidRequest):
    """The body could be read in more than one way, or not at all."""

    code = "malformed_body"


class UnsupportedType(InvalidRequest):
    """The body is of a type or coding that is not read here. 400, as PocketBase answers, and not 415."""

    code = "unsupported_type"


class TooSlow(ServiceError):
    """The body comes in more slowly than is waited for. To be answered 408, and the connection closed."""

    code = "too_slow"


class NoRoom(UpstreamUnavailable):
    """The bodies that are being taken in fill all the room there is; the same request may succeed later."""

    code = "no_room"


@dataclass(frozen=True, slots=True)
class FieldError:
    """What was wrong with one field; `code` is PocketBase's own where it has one."""

    code: str
    message: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def shape(self) -> dict[str, Any]:
        told: dict[str, Any] = {"code": self.code, "message": self.message}
        return {**told, "params": dict(self.params)} if self.params else told


class InvalidFields(InvalidRequest):
    """Fields that are refused; `data` is the `data` of PocketBase's error shape."""

    code = "invalid_fields"

    def __init__(self, message: str, data: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.data = dict(data)

    @classmethod
    def of(cls, message: str, errors: Mapping[str, FieldError]) -> "InvalidFields":
        return cls(message, {name: error.shape() for name, error in errors.items()})
