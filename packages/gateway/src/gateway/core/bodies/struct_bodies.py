"""Bodies that PocketBase binds to a fixed set of names: sign-in and its kin, realtime subscriptions.

There it takes any spelling that differs in case, hyphens or underscores (`IDENTITY`, `identity_field`), from forms
the exact name and the first value. A body may here spell a known name in one way only. Names that PocketBase does not
know pass, since its rules can read them as `@request.body.*`.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

from gateway.core.bodies.form_values import PAYLOAD, Pairs, fields_of
from gateway.core.bodies.json_body import as_object, written
from gateway.core.bodies.record_body import ReceivedBody, UpstreamBody
from gateway.core.body_refusals import MalformedBody

Shape: TypeAlias = Literal["text", "texts", "object"]

MISSPELT = "A name in the body is a misspelling of one that is known here."
NO_PAYLOAD = f"{PAYLOAD} is not accepted here."
NO_OBJECTS = "This body must be sent as JSON."
NO_FORM = "This body must be sent as a form."

AUTH_BODIES: Mapping[str, Mapping[str, Shape]] = {
    "auth-refresh": {},
    "auth-with-password": {"identity": "text", "password": "text", "identityField": "text", "mfaId": "text"},
    "auth-with-otp": {"otpId": "text", "password": "text", "mfaId": "text"},
    "auth-with-oauth2": {
        "provider": "text",
        "code": "text",
        "codeVerifier": "text",
        "redirectURL": "text",
        "redirectUrl": "text",
        "createData": "object",
        "mfaId": "text",
    },
    "request-otp": {"email": "text"},
    "request-password-reset": {"email": "text"},
    "confirm-password-reset": {"token": "text", "password": "text", "passwordConfirm": "text"},
    "request-verification": {"email": "text"},
    "confirm-verification": {"token": "text"},
    "request-email-change": {"newEmail": "text"},
    "confirm-email-change": {"token": "text", "password": "text"},
}
REALTIME_BODY: Mapping[str, Shape] = {"clientId": "text", "subscriptions": "texts"}
FILE_TOKEN_BODY: Mapping[str, Shape] = {}
_IDENTITIES = ("identity", "email", "otpId")
_OAUTH2_REDIRECT = ("state", "code", "error", "user")


def struct_fields(received: ReceivedBody, known: Mapping[str, Shape]) -> dict[str, Any]:
    """The body with known names in their own spelling. Raises MalformedBody."""
    if received.pairs is None:
        fields = as_object(received.value)
    else:
        texts = texts_of(received.pairs, known)
        fields = {**fields_of(received.pairs), **texts}
    check_spelling(fields, known)
    return fields


def struct_document(fields: Mapping[str, Any]) -> UpstreamBody:
    document = written(fields)
    return UpstreamBody("application/json", len(document), (document,))


def identity_in(fields: Mapping[str, Any], known: Mapping[str, Shape]) -> str | None:
    """Whom a step of signing in is about, by the name that PocketBase binds there: another could say anything."""
    found = (fields.get(name) for name in _IDENTITIES if name in known)
    return next((value for value in found if isinstance(value, str) and value), None)


def texts_of(pairs: Pairs, known: Mapping[str, Shape]) -> dict[str, Any]:
    """What PocketBase binds of a form: text is not inferred to be anything else."""
    values: dict[str, list[str]] = {}
    for name, raw in pairs:
        if name == PAYLOAD:
            raise MalformedBody(NO_PAYLOAD)
        if known.get(name) == "object":
            raise MalformedBody(NO_OBJECTS)
        if name in known:
            values.setdefault(name, []).append(raw)
    return {name: found if known[name] == "texts" else found[0] for name, found in values.items()}


def oauth2_redirect_form(received: ReceivedBody) -> UpstreamBody:
    """Stays a form: PocketBase reads Apple's `user` from nothing else. Raises MalformedBody unless it was one."""
    document = urlencode(oauth2_redirect_fields(received)).encode("ascii")
    return UpstreamBody("application/x-www-form-urlencoded", len(document), (document,))


def oauth2_redirect_fields(received: ReceivedBody) -> dict[str, str]:
    """What a provider posts to `/api/oauth2-redirect`. Raises MalformedBody unless it was a form."""
    if received.pairs is None or received.files:
        raise MalformedBody(NO_FORM)
    told: dict[str, str] = {}
    for name, value in received.pairs:
        if name in _OAUTH2_REDIRECT:
            told.setdefault(name, value)
    return told


def check_spelling(fields: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises MalformedBody for a name that folds to a known one and is not it, or where two fold to the same."""
    folded = {folded_name(name) for name in known}
    meant = [name for name in fields if folded_name(name) in folded]
    if any(name not in known for name in meant) or len({folded_name(name) for name in meant}) != len(meant):
        raise MalformedBody(MISSPELT)


def folded_name(name: str) -> str:
    """Go's `encoding/json/v2` folds case by Unicode's rules, and leaves out hyphens and underscores."""
    return name.replace("-", "").replace("_", "").casefold()
