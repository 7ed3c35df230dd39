"""What signing in by way of a route comes to, and how its requests are spelt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from common.core.errors import InvalidRequest

Strategy: TypeAlias = Literal["password", "oauth", "otp", "mfa"]

STRATEGIES: Mapping[str, Strategy] = {
    "password": "password",
    "passwordAuth": "password",
    "oauth": "oauth",
    "oauth2": "oauth",
    "otp": "otp",
    "mfa": "mfa",
}
_IDENTITIES = ("identity", "emailOrUsername", "email", "username")
MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Authentication:
    """`mfa_id` names the first factor when a second is wanted, `otp_id` a one-time password that was sent; nobody is
    signed in by either."""

    is_authenticated: bool = False
    token: str = field(default="", repr=False)
    record: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mfa_id: str = ""
    otp_id: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A request to sign in, whatever names it came under."""

    strategy: Strategy
    collection: str
    fields: Mapping[str, Any]

    def text(self, *names: str) -> str:
        """The first that is given; empty when none is. Raises InvalidRequest for what is no text."""
        found = next((self.fields[name] for name in names if self.fields.get(name)), "")
        if not isinstance(found, str) or len(found) > MAX_TEXT:
            raise InvalidRequest(f"{names[0]} must be text.")
        return found

    @property
    def identity(self) -> str:
        return self.text(*_IDENTITIES)


def credentials_of(fields: Mapping[str, Any], collection: str) -> Credentials:
    """Raises InvalidRequest for an unknown strategy."""
    strategy = STRATEGIES.get(str(fields.get("type", "")))
    if strategy is None:
        raise InvalidRequest(f"type must be one of {', '.join(sorted(set(STRATEGIES.values())))}.")
    return Credentials(strategy, collection, fields)
