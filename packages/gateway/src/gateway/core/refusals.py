"""What the gateway refuses by itself, beside the errors that every service knows."""

from common.core.errors import InvalidRequest, ServiceError


class MalformedPath(InvalidRequest):
    """The path could be read in more than one way."""


class TooLarge(ServiceError):
    """The request's body is larger than is accepted."""

    code = "too_large"


class UnreadableAnswer(ServiceError):
    """PocketBase answered something that cannot be passed on safely."""

    code = "unreadable_answer"
