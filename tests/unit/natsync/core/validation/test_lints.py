from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natsync.core.claims.account_claims import AccountClaims, AccountLimits, Export, ExportKind, Import
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import Permissions, ResponsePermission, UserLimits
from natsync.core.validation import lints
from tests.random_claims import ACCOUNTS, RandomClaims

ME, EXPORTER = ACCOUNTS[:2]
NOW = 1_700_000_000


def test_zeros_are_pointed_at() -> None:
    assert len(lints.account_limit_lints(AccountLimits(0, 0, 0, 0, 0, 0))) == 3
    assert lints.account_limit_lints(AccountLimits()) == []
    assert len(lints.user_limit_lints(UserLimits(0, 0, 0))) == 2
    assert lints.user_limit_lints(UserLimits()) == []


def test_a_token_near_the_control_line_is_pointed_at() -> None:
    assert lints.token_lints("x" * 3400) == []
    assert lints.token_lints("x" * 3401) == ["the token has 3401 bytes; servers refuse logins beyond about 3,900"]


@pytest.mark.parametrize("allowed", [(), (">",), ("a", "_INBOX.>"), ("_INBOX.bob.>",), ("*.>",)])
def test_who_may_hear_an_inbox_hears_answers(allowed: tuple[str, ...]) -> None:
    assert lints.permission_lints(Permissions(subscribe=allowed)) == []


@pytest.mark.parametrize(
    "permissions",
    [
        Permissions(subscribe=("a.>",)),
        Permissions(subscribe=("_INBOX",)),
        Permissions(subscribe=("_INBOX.> workers",)),
        Permissions(subscribe_deny=(">",)),
        Permissions(subscribe=("_INBOX.>",), subscribe_deny=("_INBOX.>",)),
    ],
)
def test_who_may_not_is_pointed_at(permissions: Permissions) -> None:
    assert "no inbox" in lints.permission_lints(permissions)[0]


def test_a_response_permission_alone_leaves_nothing_else_to_publish() -> None:
    (lint,) = lints.permission_lints(Permissions(response=ResponsePermission()))
    assert "nothing but answers" in lint
    assert lints.permission_lints(Permissions(("a",), response=ResponsePermission())) == []


def test_what_is_allowed_and_denied_is_pointed_at() -> None:
    (lint,) = lints.permission_lints(Permissions(("a.b", "c"), publish_deny=("a.*",)))
    assert "'a.b' is allowed and denied, by 'a.*'" in lint
    assert lints.permission_lints(Permissions(("a.>",), publish_deny=("a.b",))) == []
    assert lints.permission_lints(Permissions(subscribe=(">",), subscribe_deny=("> workers",))) == []


def lint(claims: AccountClaims, exporter: AccountClaims | None = None) -> list[tuple[str, int, str]]:
    accounts = {ME.public_key: claims} | ({EXPORTER.public_key: exporter} if exporter else {})
    found = lints.lint_account(claims, account=ME.public_key, accounts=accounts, now=NOW)
    return [(problem.part, problem.index, problem.reason) for problem in found]


def test_exports_that_share_subjects_are_pointed_at() -> None:
    ((part, index, reason),) = lint(AccountClaims(exports=[Export("a.*.c"), Export("x"), Export("a.b.*")]))
    assert (part, index) == ("exports", 2)
    assert "overlaps 'a.*.c'" in reason
    assert lint(AccountClaims(exports=[Export("a.*.c"), Export("a.b.*", "service")])) == []


def test_zeros_and_default_permissions_of_an_account_are_among_its_lints() -> None:
    claims = AccountClaims(limits=AccountLimits(connections=0), default_permissions=Permissions(subscribe=("a",)))
    assert [part for part, _, _ in lint(claims)] == ["limits", "default_permissions"]


@pytest.mark.parametrize(
    "exports", [(), (Export("a.b", "service"),), (Export("a.c"),), (Export("*"),), (Export("a.b.>"),)]
)
def test_an_import_of_what_nobody_exports_is_dead(exports: tuple[Export, ...]) -> None:
    claims = AccountClaims(imports=[Import("a.b", EXPORTER.public_key)])
    for exporter in (AccountClaims(exports=exports), None):
        ((part, index, reason),) = lint(claims, exporter)
        assert (part, index) == ("imports", 0)
        assert "nothing is exported" in reason


def grant(*, issued_at: int = NOW, expires_at: int = 0, kind: ExportKind = "stream") -> str:
    body = activation_body(subject="a.b", kind=kind, exporter=EXPORTER.public_key)
    return encode(body, subject=ME.public_key, name="n", issuer=EXPORTER, issued_at=issued_at, expires_at=expires_at)


@pytest.mark.parametrize(
    ("token", "revocations", "reason"),
    [
        ("", {}, "asks for an activation token"),
        (grant(expires_at=NOW - 1), {}, "has expired"),
        (grant(), {ME.public_key: NOW}, "is revoked"),
        (grant(), {"*": NOW + 5}, "is revoked"),
    ],
)
def test_an_import_whose_grant_does_not_count_is_dead(token: str, revocations: dict[str, int], reason: str) -> None:
    exporter = AccountClaims(exports=[Export("a.*", token_required=True, revocations=revocations)])
    ((_, _, found),) = lint(AccountClaims(imports=[Import("a.b", EXPORTER.public_key, token=token)]), exporter)
    assert reason in found


def test_an_import_that_works_is_not_pointed_at() -> None:
    imported = Import("a.b", EXPORTER.public_key, token=grant())
    private = Export("a.*", token_required=True, revocations={ME.public_key: NOW - 1, "*": 5})
    for export in (private, Export("a.>"), Export("a.b")):
        assert lint(AccountClaims(imports=[imported]), AccountClaims(exports=[export])) == []


def test_an_export_by_account_is_imported_under_ones_own_key() -> None:
    exporter = AccountClaims(exports=[Export("feed.*.>", account_token_position=2)])
    mine, other = (Import(f"feed.{token}.>", EXPORTER.public_key) for token in (ME.public_key, "other"))
    assert lint(AccountClaims(imports=[mine]), exporter) == []
    ((_, _, reason),) = lint(AccountClaims(imports=[other]), exporter)
    assert "token 2" in reason


def test_an_import_that_comes_round_is_pointed_at() -> None:
    export = [Export("a.>")]
    there = AccountClaims(exports=export, imports=[Import("a.b", ME.public_key)])
    ((_, _, reason),) = lint(AccountClaims(exports=export, imports=[Import("a.*", EXPORTER.public_key)]), there)
    assert "imported from here" in reason


def test_a_token_that_is_none_is_a_fault_and_no_lint() -> None:
    imported = Import("a.b", EXPORTER.public_key, token="junk")
    assert lint(AccountClaims(imports=[imported]), AccountClaims(exports=[Export("a.b", token_required=True)])) == []


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_nothing_breaks_them(random: Random) -> None:
    claims, other = RandomClaims(random, unfit=0.2).account(), RandomClaims(random, unfit=0.2).account()
    lint(claims, other)
    lints.permission_lints(RandomClaims(random, unfit=0.2).permissions(templates=True))
