"""What a rule's work comes to: the write that goes on, the answer that goes back, or the reason for neither."""

from dataclasses import replace
from typing import Any, cast

from common.core.errors import ServiceError
from gateway.core.bodies.field_names import unmodified
from gateway.core.bodies.json_values import NotJson, decoded, encoded
from gateway.core.operation import Action, Write
from gateway.core.rule_files.refusals import Refused, service_error
from gateway.core.rule_files.rule_set import Place

_NAMES_OF_COLLECTION = ("collectionId", "collectionName")


class Misruled(Exception):
    """A rule left behind what no rule may."""


def changed(write: Write, record: object, *, max_bytes: int) -> Write:
    """The write with the fields as the rules left them: a copy that nothing they still hold can change. A field that
    stands under its own name is a rule's word, which no `author+` of the client may change afterwards.

    Raises Misruled for what is no record, is too large, or would be another record or collection.
    """
    fields = checked_object(record, max_bytes=max_bytes)
    if write.action == "update" and fields.get("id", write.record_id) not in (write.record_id, write.fields.get("id")):
        raise Misruled("the record's id was changed")
    for name in _NAMES_OF_COLLECTION:
        if name in fields and fields[name] != write.fields.get(name):
            raise Misruled(f"{name} was changed")
    return replace(write, fields=unmodified(fields))


def checked_object(value: object, *, max_bytes: int) -> dict[str, Any]:
    return cast(dict[str, Any], decoded(checked_json(value, max_bytes=max_bytes)))


def checked_json(value: object, *, max_bytes: int) -> bytes:
    """Raises Misruled unless the value is an object that JSON can carry, and not too large."""
    if not isinstance(value, dict):
        raise Misruled(f"{type(value).__name__} in place of an object")
    try:
        text = encoded(cast(object, value))
    except NotJson as error:
        raise Misruled(f"no JSON: {error}") from error
    if len(text) > max_bytes:
        raise Misruled("too large")
    return text


def refusal_in(error: BaseException, action: Action) -> ServiceError | None:
    """What the client is told, if the rule meant to say something: alone, or from one of its own task groups."""
    match error:
        case Refused():
            return service_error(error, action)
        case ServiceError():
            return error
        case BaseExceptionGroup():
            found = (refusal_in(part, action) for part in error.exceptions)
            return next(filter(None, found), None)
        case _:
            return None


def text_of(error: BaseException, *, max_characters: int) -> str:
    """What the error says, if it can be asked: its class may be a rule's own."""
    try:
        return str(error)[:max_characters]
    except Exception:  # noqa: BLE001
        return ""


def place_of(error: BaseException, file: str) -> Place | None:
    """The innermost line of the file in the error's traceback."""
    line, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return None if line is None else Place(file, line)
