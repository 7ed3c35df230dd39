"""What PocketBase's answers mean.

Shapes: https://pocketbase.io/docs/api-records. An error is `{"status", "message", "data"}`, with
`{field: {"code", "message"}}` as data; that of a batch has `data.requests.<index>.response` with the error of the one
request that failed.
"""

from typing import Any, Literal, TypeAlias, cast

import msgspec

from common.core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceError,
    Unauthenticated,
    UpstreamUnavailable,
)

Record: TypeAlias = dict[str, Any]
Action: TypeAlias = Literal["create", "update", "delete"]
"""What can happen to a record, in the words of PocketBase's realtime messages."""

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding raises for bytes that are no JSON, hold text that is no UTF-8, or are nested too deeply."""

REFUSALS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


def refusal(status: int, content: bytes) -> ServiceError:
    """PocketBase's answer as one of our errors; its message names fields, never values."""
    message = describe(content) or f"PocketBase answered {status}."
    if status == 429:
        return RateLimited(message, retry_seconds=1)
    if status >= 500:
        return UpstreamUnavailable(message)
    return REFUSALS.get(status, InvalidRequest)(message)


def describe(content: bytes) -> str:
    answer = as_mapping(parsed(content))
    fields = as_mapping(answer.get("data"))
    faults = "; ".join(f"{name}: {fault_message(fault)}" for name, fault in fields.items() if name != "requests")
    return f"{answer.get('message', '')} {faults}".strip()


def fault_message(fault: object) -> str:
    return str(as_mapping(fault).get("message", ""))


def failed_in_batch(content: bytes) -> tuple[int, ServiceError] | None:
    """Which request of a batch was refused (its index) and why; None when it was not one of them that failed."""
    requests = as_mapping(as_mapping(as_mapping(parsed(content)).get("data")).get("requests"))
    for index, failure in requests.items():
        response = as_mapping(as_mapping(failure).get("response"))
        status = response.get("status")
        if index.isdecimal() and isinstance(status, int):
            return int(index), refusal(status, msgspec.json.encode(response))
    return None


def json_body(content: bytes) -> Any:
    """Raises UpstreamUnavailable for an answer that cannot be read: it is no JSON, as of something other than
    PocketBase, or a user's JSON in it is nested too deeply."""
    if not content:
        return None
    try:
        return msgspec.json.decode(content)
    except UNREADABLE as error:
        raise UpstreamUnavailable("PocketBase's answer cannot be read as JSON.") from error


def items_of(answer: object) -> list[Record]:
    """Raises UpstreamUnavailable for an answer that is not a listing of records with ids."""
    items: object = as_mapping(answer).get("items")
    if isinstance(items, list):
        records = [as_mapping(item) for item in cast(list[object], items)]
        if all(isinstance(record.get("id"), str) for record in records):
            return records
    raise UpstreamUnavailable("PocketBase's answer is not a listing.")


def parsed(content: bytes) -> object:
    try:
        return msgspec.json.decode(content)
    except UNREADABLE:
        return None


def as_mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
