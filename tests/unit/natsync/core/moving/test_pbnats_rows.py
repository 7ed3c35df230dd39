import json
import os
from typing import Any

import pytest

from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.operator_claims import operator_body
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import UserClaims, user_body
from natsync.core.moving.adoption import Adopted, NotAdoptable
from natsync.core.moving.pbnats_rows import PbNats, TakenOver, opener, taken_over
from natsync.core.state.sealing import seal

KEY = "0123456789abcdef0123456789abcdef"


def key(kind: KeyKind) -> KeyPair:
    return KeyPair(kind, os.urandom(32))


OPERATOR, OPERATOR_SIGNER = key(KeyKind.OPERATOR), key(KeyKind.OPERATOR)
SYSTEM, ACCOUNT, SIGNER, OLDER = (key(KeyKind.ACCOUNT) for _ in range(4))
USER = key(KeyKind.USER)


def sealed(text: str) -> str:
    return seal(text, key=KEY.encode(), nonce=os.urandom(12))


def identity(pair: KeyPair) -> dict[str, str]:
    return {"public_key": pair.public_key, "private_key": pair.private_key, "seed": pair.seed}


def scalar(pair: KeyPair) -> dict[str, str]:
    return {f"signing_{name}": value for name, value in identity(pair).items()}


def listed(*pairs: KeyPair) -> list[dict[str, str]]:
    return [{**identity(pair), "created_at": "2026-01-01T00:00:00Z"} for pair in pairs]


def rows(**changed: Any) -> PbNats:
    """As the first pb-nats wrote them."""
    body = operator_body(signing_keys=[OPERATOR_SIGNER.public_key], system_account=SYSTEM.public_key)
    jwt = encode(body, subject=OPERATOR.public_key, name="stone-age.io", issuer=OPERATOR, issued_at=5)
    token = encode(
        user_body(UserClaims(), account=ACCOUNT.public_key),
        subject=USER.public_key,
        name="sensor",
        issuer=SIGNER,
        issued_at=7,
    )
    operator = {"id": "o1", "name": "stone-age.io", **identity(OPERATOR), **scalar(OPERATOR_SIGNER), "jwt": jwt}
    system = {"id": "s1", "name": "System Account", **identity(SYSTEM), **scalar(key(KeyKind.ACCOUNT)), "jwt": ""}
    account = {"id": "a1", "name": "Acme", **identity(ACCOUNT), **scalar(SIGNER), "jwt": ""}
    user = {"id": "u1", "nats_username": "sensor", "account_id": "a1", "role_id": "r1", **identity(USER), "jwt": token}
    sys = {"id": "u0", "nats_username": "sys", "account_id": "s1", "role_id": "r0", **identity(key(KeyKind.USER))}
    return PbNats(
        {**operator, **changed.get("operator", {})},
        (system, {**account, **changed.get("account", {})}),
        (sys, {**user, **changed.get("user", {})}),
    )


def entry(done: TakenOver, kind: str, record: str) -> Adopted:
    return next(one for one in done.entries if (one.kind, one.record) == (kind, record))


def test_every_key_is_taken_over_and_every_row_stays() -> None:
    done = taken_over(rows(), opener(""), ())
    assert entry(done, "operator", "operator").identity.seed == OPERATOR.seed
    assert entry(done, "account", "SYS").identity.seed == SYSTEM.seed
    account, user = entry(done, "account", "a1"), entry(done, "user", "u1")
    assert (account.identity.seed, account.signing and account.signing.seed) == (ACCOUNT.seed, SIGNER.seed)
    assert (user.identity.seed, user.account, user.role) == (USER.seed, "a1", "r1")
    assert (user.issuer, user.last_iat, user.name) == (SIGNER.public_key, 7, "sensor")
    assert done.rows == []


def test_the_system_account_has_no_row_with_natsync_and_its_users_go_before_it() -> None:
    done = taken_over(rows(), opener(""), ())
    assert done.doomed == [("nats_users", "u0"), ("nats_accounts", "s1")]
    assert not any(one.record in ("s1", "u0") for one in done.entries)


def test_lists_of_signing_keys_are_read_and_emptied_and_the_last_one_signs() -> None:
    found = rows(account={"signing_keys_private": listed(OLDER, SIGNER), "signing_public_key": "", "signing_seed": ""})
    done = taken_over(found, opener(""), ())
    account = entry(done, "account", "a1")
    assert account.signing
    assert (account.signing.seed, [pair.seed for pair in account.older]) == (SIGNER.seed, [OLDER.seed])
    assert done.scrubbed == [("nats_accounts", "a1", "signing_keys_private")]


def test_what_pb_nats_has_sealed_is_opened_with_its_key_the_list_as_a_whole() -> None:
    hidden = {"seed": sealed(ACCOUNT.seed), "signing_keys_private": sealed(json.dumps(listed(OLDER, SIGNER)))}
    found = rows(account=hidden, operator={"seed": sealed(OPERATOR.seed), "signing_seed": sealed(OPERATOR_SIGNER.seed)})
    done = taken_over(found, opener(KEY), ())
    account = entry(done, "account", "a1")
    assert (account.identity.seed, account.signing and account.signing.seed) == (ACCOUNT.seed, SIGNER.seed)


@pytest.mark.parametrize(("given", "said"), [("", "is needed"), ("x" * 32, "does not open")])
def test_without_the_right_key_nothing_is_taken_over(given: str, said: str) -> None:
    with pytest.raises(NotAdoptable, match=said):
        taken_over(rows(account={"seed": sealed(ACCOUNT.seed)}), opener(given), ())


def test_a_key_of_another_length_is_refused_at_once() -> None:
    with pytest.raises(NotAdoptable, match="32 characters"):
        opener("short")


def test_a_row_without_keys_is_left_to_natsync_and_said() -> None:
    nothing = dict.fromkeys(identity(ACCOUNT), "")
    done = taken_over(rows(account=nothing, user=nothing), opener(""), ())
    assert [one.record for one in done.entries] == ["operator", "SYS"]
    assert "Account Acme has no keys" in "\n".join(done.notices)


@pytest.mark.parametrize("wrong", [{"seed": USER.seed}, {"seed": "nonsense"}, {"public_key": USER.public_key}])
def test_a_seed_that_does_not_fit_is_refused_and_not_shown(wrong: dict[str, str]) -> None:
    with pytest.raises(NotAdoptable) as refused:
        taken_over(rows(account=wrong), opener(""), ())
    assert USER.seed not in str(refused.value)


def test_what_the_ledger_has_is_not_taken_over_again_but_what_was_left_behind_is_still_cleared() -> None:
    known = {("operator", "operator"), ("account", "SYS"), ("account", "a1"), ("user", "u1")}
    sealed_by_us = {"seed": "enc::" + "A" * 80, "signing_keys_private": "enc::" + "A" * 80}
    done = taken_over(rows(account=sealed_by_us, operator=sealed_by_us), opener(""), known)
    assert done.entries == []
    assert len(done.scrubbed) == 2
    assert len(done.doomed) == 2


def test_begun_again_it_does_not_miss_the_system_account_whose_row_is_gone() -> None:
    found = rows()
    left = PbNats(found.operator, (found.accounts[1],), (found.users[1],))
    known = {("operator", "operator"), ("account", "SYS"), ("account", "a1")}
    done = taken_over(left, opener(""), known)
    assert [one.record for one in done.entries] == ["u1"]
    assert done.doomed == []


def test_a_pb_nats_without_a_system_account_is_refused() -> None:
    found = rows(operator={"jwt": ""})
    with pytest.raises(NotAdoptable, match="system account"):
        taken_over(PbNats(found.operator, (found.accounts[1],), found.users), opener(""), ())
