"""A token that was verified a moment ago, beside PyJWT verifying the same token every time."""

import time

import httpx
import jwt
from jwt.types import Options

from bench.metric import Metric, side_by_side
from common.adapters.issuers import IssuerKeys, TokenVerifier
from common.core.tokens import SigningKey, TrustedIssuer

ISSUER, AUDIENCE = "https://id.example", "chathub"
REQUIRED: Options = {"require": ["iss", "aud", "exp", "sub"]}
HITS, DECODES = 50_000, 1_000


def claims(now: int) -> dict[str, object]:
    """What the gateway says of a user who has signed in."""
    return {
        "iss": ISSUER,
        "aud": ["gateway", "natsync", AUDIENCE],
        "exp": now + 3600,
        "iat": now,
        "nbf": now,
        "jti": "Zm9ydHktdHdvLWlzLXRoZQ",
        "sub": "ann4n5w3r70all5",
        "sid": "YW5zd2VyLXRvLWxpZmUtdGhlLXVuaXZl",
        "azp": "ChatClient",
        "typ": "Bearer",
        "preferred_username": "ann",
        "realm_access": {"roles": ["admin", "user"]},
        "id": "ann4n5w3r70all5",
        "type": "auth",
        "collectionId": "_pb_users_auth_",
        "collectionName": "users",
        "refreshable": True,
    }


def copies(token: str, count: int) -> list[str]:
    """As from as many requests: Python remembers the hash and the encoding of a text that it has seen."""
    return [token.encode().decode() for _ in range(count)]


async def measure() -> list[Metric]:
    key = SigningKey(b"\x2a" * 32)
    trusted = TrustedIssuer(ISSUER, AUDIENCE, ("ES256",), frozenset({"ChatClient"}))
    token = key.sign(claims(int(time.time())))
    published = jwt.PyJWK(key.public_jwk)
    async with httpx.AsyncClient() as client:
        verifier = TokenVerifier(client, [IssuerKeys(trusted, keys=(key.verification_key,))])
        await verifier.verify(token)

        async def ours() -> float:
            tokens = copies(token, HITS)
            begun = time.perf_counter()
            for each in tokens:
                await verifier.verify(each)
            return HITS / (time.perf_counter() - begun)

        async def peer() -> float:
            tokens = copies(token, DECODES)
            begun = time.perf_counter()
            for each in tokens:
                said = jwt.decode(each, published, ["ES256"], issuer=ISSUER, audience=AUDIENCE, options=REQUIRED)
                assert said["typ"] == "Bearer"
                assert said["azp"] in trusted.client_ids
            return DECODES / (time.perf_counter() - begun)

        figures = await side_by_side(ours, peer)
    return [Metric("token_hit_vs_jwt_decode", figures[0], "tokens/s", "PyJWT", *figures[1:], bar=">= 30")]
