"""A refusal that a route's call met with, as the error that it was before it was written down."""

from collections.abc import Mapping

from common.core.errors import RateLimited, ServiceError, Unauthenticated
from common.core.pocketbase_answers import as_mapping, parsed, refusal
from gateway.core.body_refusals import InvalidFields
from gateway.core.refusals import TooLarge

RETRY_SECONDS = 1


class SecondFactorNeeded(Unauthenticated):
    """The first of two factors was right; the second is to name this id."""

    code = "second_factor_needed"

    def __init__(self, mfa_id: str) -> None:
        super().__init__(self.__doc__)
        self.mfa_id = mfa_id


def error_of(status: int, body: bytes, headers: Mapping[bytes, bytes]) -> ServiceError:
    """With the message and the field errors that the caller would have seen himself."""
    told = as_mapping(parsed(body))
    message, data = str(told.get("message", "")), as_mapping(told.get("data"))
    if status == 400:
        return InvalidFields(message, data)
    if status == 401 and isinstance(told.get("mfaId"), str):
        return SecondFactorNeeded(told["mfaId"])
    if status == 413:
        return TooLarge(message)
    if status == 429:
        return RateLimited(message, retry_seconds=retry_seconds(headers))
    return type(refusal(status, body))(message or f"PocketBase answered {status}.")


def retry_seconds(headers: Mapping[bytes, bytes]) -> int:
    text = headers.get(b"retry-after", b"")
    return int(text) if text.isdigit() and len(text) < 6 else RETRY_SECONDS
