"""What the gateway refuses by itself, beside the errors that every service knows."""

from common.core.errors import Forbidden, InvalidRequest, ServiceError, Unauthenticated


class MalformedPath(InvalidRequest):
    """The path could be read in more than one way."""


class TooLarge(ServiceError):
    """The request's body is larger than is accepted."""

    code = "too_large"


class UnreadableAnswer(ServiceError):
    """PocketBase answered something that cannot be passed on safely."""

    code = "unreadable_answer"


class Banned(Forbidden):
    """This account is banned."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class SessionEnded(Unauthenticated):
    """The request requires valid record authorization token."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class OtherVersion(ServiceError):
    """Only version 1.0.0 of the tus protocol is spoken here."""

    code = "other_version"

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class OtherType(ServiceError):
    """The body must be of the type application/offset+octet-stream."""

    code = "other_type"

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class WrongChecksum(ServiceError):
    """The bytes are not the ones that the checksum is of."""

    code = "wrong_checksum"

    def __init__(self) -> None:
        super().__init__(self.__doc__)
