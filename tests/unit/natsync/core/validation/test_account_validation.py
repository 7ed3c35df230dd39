from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.account_claims import AccountClaims, AccountLimits, Authorization, Export, Import, ScopedKey
from natsync.core.claims.keys import CURVE_PREFIX, spell
from natsync.core.claims.user_claims import Permissions, UserClaims
from natsync.core.validation.account_validation import Problem, validate_account, without_faulty_rows
from tests.random_claims import ACCOUNTS, USERS, RandomClaims

ME, OTHER, SIGNER, _ = (account.public_key for account in ACCOUNTS)
XKEY = spell(bytes([CURVE_PREFIX]) + b"\x01" * 32)

keys = st.text() | st.sampled_from([ME, OTHER, "*"])
revocations = st.dictionaries(keys, st.integers())
kinds = st.sampled_from(["stream", "service", "other"])
exports = st.builds(
    Export,
    st.text(),
    kinds,
    response_milliseconds=st.integers(),
    account_token_position=st.integers(),
    revocations=revocations,
)
imports = st.builds(Import, st.text(), keys, kinds, st.text(), st.text(), st.text(), st.booleans(), st.booleans())
scoped = st.builds(ScopedKey, keys, st.text(), st.builds(UserClaims, st.from_type(Permissions)), st.text())
anything = st.builds(
    AccountClaims,
    st.lists(keys | scoped),
    st.from_type(AccountLimits),
    revocations,
    st.lists(exports),
    st.lists(imports),
    st.from_type(Permissions),
    st.none() | st.builds(Authorization, st.tuples(keys), st.tuples(keys, keys), keys),
    st.text(),
)


def problems(claims: AccountClaims) -> list[Problem]:
    return validate_account(claims, account=ME)


@given(anything, keys)
def test_nothing_breaks_it(claims: AccountClaims, account: str) -> None:
    found = validate_account(claims, account=account, accounts={account: claims})
    assert all(problem.reason for problem in found)


@given(st.randoms(use_true_random=False))
def test_what_is_left_without_the_faulty_rows_is_fit(random: Random) -> None:
    claims = RandomClaims(random, unfit=0.1).account()
    left = without_faulty_rows(claims, problems(claims))
    assert not [problem for problem in problems(left) if problem.part in ("exports", "imports")]


def test_a_faulty_row_takes_only_itself_away() -> None:
    claims = AccountClaims(
        signing_keys=[SIGNER],
        revocations={USERS[0].public_key: 5},
        exports=[Export("a b"), Export("c")],
        imports=[Import("a", OTHER), Import("b", ME), Import("c", OTHER)],
    )
    found = problems(claims)
    assert [(problem.part, problem.index) for problem in found] == [("exports", 0), ("imports", 1)]
    left = without_faulty_rows(claims, found)
    assert left.exports == [Export("c")]
    assert left.imports == [Import("a", OTHER), Import("c", OTHER)]
    assert (left.signing_keys, left.revocations) == (claims.signing_keys, claims.revocations)


@pytest.mark.parametrize(
    "claims",
    [
        AccountClaims(),
        AccountClaims(signing_keys=[OTHER, ScopedKey(SIGNER, "r", UserClaims(Permissions(("a.{{name()}}",))))]),
        AccountClaims(limits=AccountLimits(0, 0, 0, 0, 0, 0)),
        AccountClaims(revocations={"*": 1, USERS[0].public_key: 2}),
        AccountClaims(authorization=Authorization((USERS[0].public_key,))),
        AccountClaims(authorization=Authorization((USERS[0].public_key,), ("*",), XKEY)),
        AccountClaims(authorization=Authorization((USERS[0].public_key,), (ME, OTHER))),
    ],
)
def test_a_proper_account_has_no_problem(claims: AccountClaims) -> None:
    assert problems(claims) == []


@pytest.mark.parametrize(
    ("claims", "part", "reason"),
    [
        (AccountClaims(limits=AccountLimits(connections=-5)), "limits", "conn is neither"),
        (AccountClaims(limits=AccountLimits(memory_storage=2**63)), "limits", "mem_storage is neither"),
        (AccountClaims(signing_keys=["junk"]), "signing_keys", "no account key"),
        (AccountClaims(signing_keys=[USERS[0].public_key]), "signing_keys", "no account key"),
        (AccountClaims(signing_keys=[SIGNER, ScopedKey(SIGNER, "r", UserClaims())]), "signing_keys", "twice"),
        (
            AccountClaims(signing_keys=[ScopedKey(SIGNER, "r", UserClaims(Permissions(("a..b",))))]),
            "signing_keys",
            "template: publish",
        ),
        (AccountClaims(revocations={OTHER: 5}), "revocations", "no user key"),
        (AccountClaims(revocations={"*": -5}), "revocations", "no user key"),
        (AccountClaims(default_permissions=Permissions(("a.{{name()}}",))), "default_permissions", "template"),
        (AccountClaims(authorization=Authorization((), ("*",))), "authorization", "without auth_users"),
        (AccountClaims(authorization=Authorization((OTHER,))), "authorization", "keys of users"),
        (AccountClaims(authorization=Authorization((USERS[0].public_key,), ("x",))), "authorization", "of accounts"),
        (AccountClaims(authorization=Authorization((USERS[0].public_key,), ("*", ME))), "authorization", "alone"),
        (AccountClaims(authorization=Authorization((USERS[0].public_key,), (), ME)), "authorization", "curve key"),
        (AccountClaims(description="x" * 8193), "description", "too long"),
    ],
)
def test_a_problem_is_named_with_its_part(claims: AccountClaims, part: str, reason: str) -> None:
    (problem,) = problems(claims)
    assert problem.part == part
    assert reason in problem.reason
