"""A sign-up by way of a provider that rules have refused.

Only PocketBase finds out whether the provider's user is new, in the same step in which it signs in one who is not. So
it is given a record that it can never make in place of the refused one: whoever has an account comes in, nobody else.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.bodies.json_body import is_object

NEVER_MADE: Mapping[str, str] = {"password": "not to be made", "passwordConfirm": "whatever else is said"}


def was_tried(body: bytes) -> bool:
    """Does PocketBase's refusal say that it was about to make the record?"""
    try:
        told: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    data = told.get("data") if is_object(told) else None
    return is_object(data) and "passwordConfirm" in data


def unmade(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**fields, "createData": NEVER_MADE}
