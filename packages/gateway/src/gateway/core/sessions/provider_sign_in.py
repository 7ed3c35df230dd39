"""A sign-in at an OAuth2 provider whose result goes to another than the browser (RFC 6749 §4.1, PKCE: RFC 7636).

The state and the verifier stay with the gateway: the browser carries a state that nobody else knows, and a code that is
worth nothing without the verifier.
"""

import base64
import hashlib
import re
from collections.abc import Collection as AnyOf
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from common.core.errors import InvalidRequest, NotFound
from gateway.core.refusals import UnreadableAnswer

CALLBACK_PATH = "/api/oauth2-redirect"
NO_PROVIDER = "There is no such provider."
NO_PKCE = "The provider is set up without PKCE."
NOT_LISTED = "The redirect target is not on the list."
MISFIT = "PocketBase's challenge does not fit its verifier."

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Provider:
    """As `auth-methods` told of it, once: PocketBase makes another verifier each time."""

    name: str
    url: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Returned:
    """What the provider sent back by way of the browser."""

    code: str
    error: str = ""


def provider_of(methods: Mapping[str, Any], name: str) -> Provider:
    """`methods` is PocketBase's answer. Raises NotFound, InvalidRequest without PKCE, UnreadableAnswer."""
    listed = cast(list[Mapping[str, Any]], (methods.get("oauth2") or {}).get("providers") or [])
    found = next((one for one in listed if one.get("name") == name), None)
    if found is None:
        raise NotFound(NO_PROVIDER)
    provider = Provider(name, str(found.get("authURL") or ""), str(found.get("codeVerifier") or ""))
    challenges = [value for key, value in parse_qsl(urlsplit(provider.url).query) if key == "code_challenge"]
    if not provider.verifier or not challenges:
        raise InvalidRequest(NO_PKCE)
    if not _VERIFIER.fullmatch(provider.verifier) or challenges != [challenge_of(provider.verifier)]:
        raise UnreadableAnswer(MISFIT)
    return provider


def challenge_of(verifier: str) -> str:
    """RFC 7636 §4.2, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()


def sign_in_url(provider: Provider, *, state: str, callback: str) -> str:
    """Where the browser is to go. PocketBase leaves the callback open and says a state of its own."""
    parts = urlsplit(provider.url)
    ours = {"state": state, "redirect_uri": callback}
    kept = [(key, value) for key, value in parse_qsl(parts.query) if key not in ours]
    return urlunsplit(parts._replace(query=urlencode([*kept, *ours.items()])))


def check_target(target: str, allowed: AnyOf[str]) -> None:
    """Where the browser is sent in the end; empty is a page of the gateway's. Raises InvalidRequest."""
    if target and target not in allowed:
        raise InvalidRequest(NOT_LISTED)
