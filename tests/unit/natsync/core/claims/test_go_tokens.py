"""Against tokens that nats-io/jwt v2 made (2.3.0, from keys whose bytes are all the same): what it wrote is read, and
what is said of the same things here means the same."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from natsync.core.claims.account_claims import (
    AccountClaims,
    AccountLimits,
    Export,
    Import,
    Latency,
    ScopedKey,
    account_body,
)
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.operator_claims import deletion_body, operator_body
from natsync.core.claims.token_codec import Body, encode, read, read_as, token_id
from natsync.core.claims.user_claims import (
    Permissions,
    ResponsePermission,
    TimeRange,
    UserClaims,
    UserLimits,
    scoped_user_body,
    user_body,
)

TOKENS: dict[str, str] = json.loads(Path(__file__).with_name("go_tokens.json").read_text())
OPERATOR, OPERATOR_SIGNER = (KeyPair(KeyKind.OPERATOR, bytes([number]) * 32) for number in (1, 11))
ACCOUNT, SIGNER, SCOPED, EXPORTER, EXPORTER_SIGNER = (
    KeyPair(KeyKind.ACCOUNT, bytes([number]) * 32) for number in (2, 12, 13, 4, 14)
)
USER = KeyPair(KeyKind.USER, b"\x03" * 32)
FAR = 4_102_444_800

SCOPE = ScopedKey(
    SCOPED.public_key,
    "reader",
    UserClaims(
        Permissions(
            publish=("in.{{name()}}.>",),
            subscribe=("out.>", "_INBOX.>"),
            publish_deny=("in.secret",),
            response=ResponsePermission(2, 3),
        ),
        UserLimits(subscriptions=20),
    ),
)
EXPORTS = (
    Export(
        "svc.*.q",
        "service",
        "s",
        token_required=True,
        response_type="Chunked",
        response_milliseconds=1500,
        latency=Latency("lat.svc", 50),
        account_token_position=2,
        advertise=True,
    ),
    Export("feed.>", "stream", "t", revocations={EXPORTER.public_key: 1_600_000_000, "*": 1_500_000_000}),
    Export("h", "service", latency=Latency("lat.h", 0)),
)
IMPORTS = (
    Import("billing.*", EXPORTER.public_key, "stream", "i", "them.$1.x", token=TOKENS["activation"]),
    Import("ask.it", EXPORTER.public_key, "service", "j", "here", share=True),
)
BODIES: dict[str, Body] = {
    "operator": operator_body(
        signing_keys=[OPERATOR_SIGNER.public_key],
        system_account=ACCOUNT.public_key,
        service_urls=["nats://localhost:4222"],
        strict_signing_keys=True,
    ),
    "account": account_body(
        AccountClaims(
            signing_keys=[SIGNER.public_key, SCOPE],
            limits=AccountLimits(5, 6, 7, 8, 9, 10),
            revocations={USER.public_key: 1_700_000_000},
            exports=EXPORTS,
            imports=IMPORTS,
            default_permissions=Permissions(publish=("d.>",), subscribe_deny=("e",)),
            description="tenant",
        )
    ),
    "activation": activation_body(subject="billing.*", kind="stream", exporter=EXPORTER.public_key),
    "user": user_body(
        UserClaims(
            Permissions(("a.>",), ("c.> workers", "_INBOX.>"), ("a.b",), ("c.d",), ResponsePermission(1, 10)),
            UserLimits(10, 20, 30),
            source_networks=("192.0.2.0/24", "2001:db8::/32"),
            times=(TimeRange("08:00:00", "18:30:00"),),
            times_location="Europe/Berlin",
            connection_types=("STANDARD", "WEBSOCKET"),
            bearer_token=True,
        ),
        account=ACCOUNT.public_key,
        tags=["k:v"],
    ),
    "scoped_user": scoped_user_body(account=ACCOUNT.public_key),
    "generic": deletion_body([ACCOUNT.public_key]),
}
ISSUERS = {
    "operator": OPERATOR,
    "account": OPERATOR_SIGNER,
    "activation": EXPORTER_SIGNER,
    "user": SIGNER,
    "scoped_user": SCOPED,
    "generic": OPERATOR_SIGNER,
}


def meaning(value: object) -> object:
    """Go leaves out what is empty, and reads what is left out as empty."""
    if isinstance(value, dict):
        members = {name: meaning(member) for name, member in cast(dict[str, object], value).items()}
        return {name: member for name, member in members.items() if member not in ({}, [], "", 0, None)}
    return [meaning(member) for member in cast(list[object], value)] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", BODIES)
def test_a_token_of_the_go_library_is_read_and_its_id_is_the_one_computed_here(kind: str) -> None:
    said = read(TOKENS[kind])
    assert said["iss"] == ISSUERS[kind].public_key
    assert token_id({name: value for name, value in said.items() if name not in ("jti", "nats")}) == said["jti"]


@pytest.mark.parametrize("kind", BODIES)
def test_the_same_claims_are_the_same_token(kind: str) -> None:
    theirs = read(TOKENS[kind])
    mine = encode(
        BODIES[kind],
        subject=theirs["sub"],
        name=theirs.get("name", ""),
        issuer=ISSUERS[kind],
        issued_at=theirs["iat"],
        expires_at=theirs.get("exp", 0),
    )
    ours: Any = meaning(read(mine))
    if kind == "generic":
        assert ours["nats"].pop("type") == "generic"
    assert ours == meaning(theirs)


@pytest.mark.parametrize("kind", ["operator", "account", "activation", "user"])
def test_it_is_also_believed_to_be_of_its_kind(kind: str) -> None:
    assert read_as(kind, TOKENS[kind], now=FAR)["nats"]["type"] == kind


def test_a_creds_file_is_byte_for_byte_the_go_librarys() -> None:
    assert render(TOKENS["scoped_user"], USER.seed).rstrip("\n") == TOKENS["creds"].rstrip("\n")
