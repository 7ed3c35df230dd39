"""Signing in by an OpenID Connect issuer: what it vouches for becomes a session here."""

from collections.abc import Mapping
from typing import Protocol

from common.core.errors import InvalidRequest
from common.core.identity import Identity
from gateway.core.collections.catalogue import Collection
from gateway.core.route_files.authentication import Authentication, Credentials
from gateway.core.sessions.grants import ClaimNames, grants_of_claims
from gateway.routing.services import Visitor
from gateway.sessions.enter import Entries
from gateway.sessions.sign_in import SignIns

ACTION = "auth-with-issuer"
MFA_GRANT = "http://auth0.com/oauth/grant-type/mfa-otp"
"""The one spelling that issuers share for the second step; Keycloak takes password and code in one."""

NO_PROOF = "A code comes with the codeVerifier of its sign-in (PKCE)."


class Issuer(Protocol):
    async def granted(self, form: Mapping[str, str], *, nonce: str = "") -> Identity:
        """Raises Unauthenticated, SecondFactorNeeded, UpstreamUnavailable."""
        ...


class Collections(Protocol):
    async def admitted(self, spelling: str) -> Collection:
        """Raises NotFound, Forbidden, UpstreamUnavailable."""
        ...


class Attempts(Protocol):
    async def entered(self, collection: str, identity: str, address: str) -> None:
        """Count an attempt to come in. Raises RateLimited."""
        ...


class ByIssuer:
    def __init__(
        self,
        issuer: Issuer,
        entries: Entries,
        sign_ins: SignIns,
        *,
        collections: Collections,
        attempts: Attempts,
        names: ClaimNames,
        collection: str,
        scopes: str,
    ) -> None:
        self._issuer = issuer
        self._entries = entries
        self._sign_ins = sign_ins
        self._collections = collections
        self._attempts = attempts
        self._names = names
        self._collection = collection
        self._scopes = scopes

    async def authenticate(self, credentials: Credentials, visitor: Visitor) -> Authentication:
        """Whatever the request says of collections, tenants or roles is passed over."""
        form = form_of(credentials, self._scopes)
        collection = await self._collections.admitted(self._collection)
        await self._attempts.entered(collection.name, credentials.identity, visitor.address)
        origin = self._sign_ins.origin(visitor.headers, visitor.address, ACTION)
        identity = await self._issuer.granted(form, nonce=credentials.text("nonce"))
        grants = grants_of_claims(identity.claims, self._names, identity.issuer)
        told = await self._entries.enter(identity, grants, collection, origin)
        return Authentication(True, str(told["token"]), told["record"])


def form_of(credentials: Credentials, scopes: str) -> dict[str, str]:
    """The request to the issuer's token endpoint. Raises InvalidRequest for what is missing."""
    match credentials.strategy:
        case "oauth":
            return of_code(credentials)
        case "mfa" if credentials.text("mfaId", "mfa_id"):
            form = {
                "grant_type": MFA_GRANT,
                "mfa_token": credentials.text("mfaId", "mfa_id"),
                "otp": code_in(credentials),
            }
            return required(form)
        case "password" | "otp" | "mfa":
            form = {"grant_type": "password", "username": credentials.identity, "scope": scopes}
            secrets = {"password": credentials.text("password")} if credentials.strategy != "otp" else {}
            code = {"totp": code_in(credentials), "otp": code_in(credentials)} if code_in(credentials) else {}
            if credentials.strategy != "password" and not code:
                raise InvalidRequest("otp: Cannot be blank.")
            return required({**form, **secrets, **code})


def of_code(credentials: Credentials) -> dict[str, str]:
    verifier = credentials.text("codeVerifier", "code_verifier")
    if not verifier:
        raise InvalidRequest(NO_PROOF)
    form = {
        "grant_type": "authorization_code",
        "code": credentials.text("code"),
        "redirect_uri": credentials.text("redirectURL", "redirectUrl", "redirect_url"),
        "code_verifier": verifier,
    }
    return required(form)


def code_in(credentials: Credentials) -> str:
    return credentials.text("otp", "totp")


def required(form: dict[str, str]) -> dict[str, str]:
    for name, value in form.items():
        if not value:
            raise InvalidRequest(f"{name}: Cannot be blank.")
    return form
