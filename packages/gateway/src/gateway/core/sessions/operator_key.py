"""The key that opens the operator API; without one it stays shut."""

import hmac

from common.core.errors import Forbidden, Unauthenticated

MIN_KEY_LENGTH = 16

DISABLED = "The operator API is disabled: GATEWAY_OPERATOR_KEY is not set."
WRONG = "The operator key is missing or wrong."


def check_operator_key(key: str | None, given: str | None) -> None:
    """Raises Forbidden while no key is set, whatever was given; Unauthenticated for any but the key.

    Compares in a time that does not depend on how much of the key was guessed.
    """
    if not key:
        raise Forbidden(DISABLED)
    if not hmac.compare_digest(key.encode(), (given or "").encode("utf-8", "replace")):
        raise Unauthenticated(WRONG)
