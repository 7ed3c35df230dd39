"""How a rule says no, and what becomes of it.

Refused (not an Exception: a rule's own `except Exception` must not turn a refusal into a pass)
└── FieldError

ServiceError
├── RuleFailed                          the rule itself is at fault
├── InvalidRequest
│   └── InvalidFields                   with PocketBase's field errors, as for bodies
└── UpstreamUnavailable
    ├── RuleOverdue
    ├── RulesNotLoaded
    └── ModerationUnavailable
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NoReturn, TypeAlias

from common.core.errors import Forbidden, InvalidRequest, NotFound, ServiceError, Unauthenticated, UpstreamUnavailable
from gateway.core.body_refusals import InvalidFields
from gateway.core.operation import Action

Status: TypeAlias = Literal[400, 401, 403, 404]

MAX_MESSAGE_CHARACTERS = 1000
MAX_FIELD_ERRORS = 100
DEFAULT_CODE = "validation_refused"

_FAILED = "Something went wrong while processing your request."
_MESSAGES: Mapping[Status, str] = {
    400: _FAILED,
    401: "The request requires valid record authorization token.",
    403: "You are not allowed to perform this request.",
    404: "The requested resource wasn't found.",
}
_KINDS: Mapping[Status, type[ServiceError]] = {400: InvalidRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound}
_FIELD_MESSAGES: Mapping[Action, str] = {"create": "Failed to create record.", "update": "Failed to update record."}


class Refused(BaseException):
    """A rule's no. The message and the field errors are for the client's eyes."""

    def __init__(self, message: str | None, status: Status, errors: Iterable["FieldError"] = ()) -> None:
        if status not in _KINDS:
            raise ValueError(f"a rule refuses with one of {list(_KINDS)}, not {status!r}")
        super().__init__(message)
        self.message = message
        self.status: Status = status
        self.errors = tuple(errors)


class FieldError(Refused):
    """What is wrong with one field; raise it, or hand several to `invalid`."""

    def __init__(self, field: str, message: str, code: str = DEFAULT_CODE) -> None:
        super().__init__(None, 400, (self,))
        self.field = field
        self.text = message
        self.code = code


class RuleFailed(ServiceError):
    """A rule raised, or did what no rule may do; the request did not get through."""

    code = "rule_failed"

    def __init__(self) -> None:
        super().__init__(_FAILED)


class RuleOverdue(UpstreamUnavailable):
    """A rule did not come to a verdict in time; the request did not get through."""

    code = "rule_overdue"

    def __init__(self) -> None:
        super().__init__("The request could not be checked in time; please retry.")


class RulesNotLoaded(UpstreamUnavailable):
    """A rule file does not load, and nobody knows what it would have refused."""

    code = "rules_not_loaded"

    def __init__(self) -> None:
        super().__init__("The gateway's rules are not loaded; please retry later.")


class ModerationUnavailable(UpstreamUnavailable):
    """The classifier gave no verdict, and is configured to be waited for."""

    code = "moderation_unavailable"

    def __init__(self) -> None:
        super().__init__("The text could not be checked; please retry.")


def refuse(message: str | None = None, *, status: Status = 403) -> NoReturn:
    """Ends the request. Without a message it says what PocketBase says with that status."""
    raise Refused(message, status)


def invalid(*errors: FieldError, message: str | None = None) -> NoReturn:
    """Ends the request with the errors of several fields at once."""
    raise Refused(message, 400, errors)


def service_error(refused: Refused, action: Action) -> ServiceError:
    """The refusal as the client gets it."""
    if refused.errors:
        message = refused.message or _FIELD_MESSAGES.get(action, _FAILED)
        return InvalidFields(shown(message), data_of(refused.errors))
    return _KINDS[refused.status](shown(refused.message or _MESSAGES[refused.status]))


def data_of(errors: Iterable[FieldError]) -> dict[str, dict[str, str]]:
    """The first error of a field is the one that counts."""
    data: dict[str, dict[str, str]] = {}
    for error in errors:
        if len(data) == MAX_FIELD_ERRORS:
            break
        data.setdefault(shown(error.field), {"code": shown(error.code), "message": shown(error.text)})
    return data


def shown(text: object) -> str:
    return str(text)[:MAX_MESSAGE_CHARACTERS]
