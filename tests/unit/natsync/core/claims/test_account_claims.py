from random import Random

from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.account_claims import (
    AccountClaims,
    AccountLimits,
    Authorization,
    Export,
    Import,
    Latency,
    ScopedKey,
    account_body,
)
from natsync.core.claims.token_codec import Body
from natsync.core.claims.user_claims import UserClaims
from natsync.core.validation.account_validation import validate_account, without_faulty_rows
from tests.random_claims import ACCOUNTS, RandomClaims


def test_every_account_limit_is_written() -> None:
    limits = AccountLimits(connections=1, subscriptions=2, data=3, payload=4, disk_storage=5, memory_storage=6)
    body = account_body(AccountClaims(limits=limits))
    assert body["limits"] == {
        "conn": 1,
        "subs": 2,
        "data": 3,
        "payload": 4,
        "disk_storage": 5,
        "mem_storage": 6,
        "leaf": -1,
        "imports": -1,
        "exports": -1,
        "wildcards": True,
        "streams": -1,
        "consumer": -1,
        "max_ack_pending": -1,
        "mem_max_stream_bytes": -1,
        "disk_max_stream_bytes": -1,
    }
    assert not {"revocations", "exports", "imports", "description"} & body.keys()


def test_plain_and_scoped_keys_stand_side_by_side_in_the_order_of_the_keys() -> None:
    scoped = ScopedKey("AB", "reader", UserClaims(), "reads")
    body = account_body(AccountClaims(signing_keys=["AC", scoped, "AA"]))
    template: Body = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    said: Body = {"kind": "user_scope", "key": "AB", "role": "reader", "template": template, "description": "reads"}
    assert body["signing_keys"] == ["AA", said, "AC"]


@given(st.randoms(use_true_random=False))
def test_the_same_claims_are_the_same_text_whatever_their_order(random: Random) -> None:
    claims = RandomClaims(random).account()
    claims = without_faulty_rows(claims, validate_account(claims, account=ACCOUNTS[0].public_key))
    again = AccountClaims(
        signing_keys=list(reversed(claims.signing_keys)),
        limits=claims.limits,
        revocations=dict(reversed(list(claims.revocations.items()))),
        exports=list(reversed(claims.exports)),
        imports=list(reversed(claims.imports)),
        default_permissions=claims.default_permissions,
        authorization=claims.authorization,
        description=claims.description,
    )
    assert repr(account_body(claims)) == repr(account_body(again))


def test_an_export_says_only_what_it_has() -> None:
    plain, full = account_body(
        AccountClaims(
            exports=[
                Export("a.*"),
                Export(
                    "b.*",
                    "service",
                    "b",
                    token_required=True,
                    response_type="Stream",
                    response_milliseconds=1500,
                    latency=Latency("lat", 0),
                    account_token_position=2,
                    advertise=True,
                    allow_trace=True,
                    revocations={"*": 1},
                ),
            ]
        )
    )["exports"]
    assert plain == {"subject": "a.*", "type": "stream"}
    assert full == {
        "subject": "b.*",
        "type": "service",
        "name": "b",
        "token_req": True,
        "response_type": "Stream",
        "response_threshold": 1_500_000_000,
        "service_latency": {"sampling": "headers", "results": "lat"},
        "account_token_position": 2,
        "advertise": True,
        "allow_trace": True,
        "revocations": {"*": 1},
    }


def test_an_import_says_only_what_it_has() -> None:
    plain, full = account_body(
        AccountClaims(imports=[Import("a", "A"), Import("b", "A", "service", "b", "c", "t", share=True)])
    )["imports"]
    assert plain == {"subject": "a", "account": "A", "type": "stream"}
    assert full == {
        "subject": "b",
        "account": "A",
        "type": "service",
        "name": "b",
        "local_subject": "c",
        "token": "t",
        "share": True,
    }


def test_auth_callout_is_said_or_empty() -> None:
    body = account_body(AccountClaims(authorization=Authorization(("UA",), ("*",), "XA")))
    assert body["authorization"] == {"auth_users": ["UA"], "allowed_accounts": ["*"], "xkey": "XA"}
    assert account_body(AccountClaims())["authorization"] == {}
