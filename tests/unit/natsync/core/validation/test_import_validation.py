from dataclasses import replace

import pytest

from natsync.core.claims.account_claims import AccountClaims, Import, ScopedKey
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import UserClaims
from natsync.core.validation.import_validation import MAX_IMPORTS, faults_of_imports
from tests.random_claims import ACCOUNTS, USERS

ME, EXPORTER, SIGNER, STRANGER = ACCOUNTS
STREAM = Import("a.*", EXPORTER.public_key)
SERVICE = Import("ask", EXPORTER.public_key, "service")
KNOWN = {
    ME.public_key: AccountClaims(),
    EXPORTER.public_key: AccountClaims(signing_keys=[SIGNER.public_key]),
}


def faults(*imports: Import, accounts: dict[str, AccountClaims] | None = None) -> list[tuple[int, str]]:
    return list(faults_of_imports(imports, account=ME.public_key, accounts=accounts))


def activation(
    subject: str = "a.*",
    kind: str = "stream",
    *,
    issuer: KeyPair = SIGNER,
    importer: KeyPair = ME,
    exporter: KeyPair = EXPORTER,
) -> str:
    body = activation_body(subject=subject, kind="stream", exporter=exporter.public_key)
    return encode({**body, "kind": kind}, subject=importer.public_key, name="n", issuer=issuer, issued_at=1)


@pytest.mark.parametrize(
    "imported",
    [
        STREAM,
        SERVICE,
        replace(STREAM, allow_trace=True),
        replace(SERVICE, share=True),
        replace(STREAM, local_subject="b.$1"),
        replace(STREAM, local_subject="*"),
        Import("a.*.*.>", EXPORTER.public_key, local_subject="$2.x.$1.>"),
        Import("ask.*", EXPORTER.public_key, "service"),
        replace(STREAM, token=activation()),
        replace(STREAM, token=activation("a.>")),
        replace(STREAM, token=activation(issuer=EXPORTER)),
    ],
)
def test_a_proper_import_has_no_fault(imported: Import) -> None:
    assert faults(imported, accounts=KNOWN) == []


@pytest.mark.parametrize(
    ("imported", "fault"),
    [
        (replace(STREAM, subject="a b"), "has a space"),
        (replace(STREAM, kind="queue"), "neither stream nor service"),
        (replace(STREAM, share=True), "share is for services"),
        (replace(SERVICE, allow_trace=True), "allow_trace is for streams"),
        (replace(STREAM, name="x" * 1001), "name is too long"),
        (replace(STREAM, local_subject="b..c"), "empty token"),
        (replace(STREAM, local_subject="b"), "does not take up every '*'"),
        (replace(STREAM, local_subject="b.$1.$1"), "does not take up every '*'"),
        (replace(STREAM, local_subject="b.$2"), "does not have"),
        (replace(STREAM, local_subject="b.$0"), "does not have"),
        (replace(STREAM, local_subject="$1.>"), "must both end"),
        (Import("a.>", EXPORTER.public_key, local_subject="b"), "must both end"),
        (replace(STREAM, account=""), "no account"),
        (replace(STREAM, account=USERS[0].public_key), "no account"),
        (replace(STREAM, account=EXPORTER.public_key[:-1] + "?"), "no account"),
        (replace(STREAM, account=ME.public_key), "itself"),
        (replace(STREAM, account=STRANGER.public_key), "not among the operator's"),
        (replace(STREAM, token="https://example.com/token"), "not a NATS JWT"),
        (replace(STREAM, token=activation(importer=STRANGER)), "another account"),
        (replace(STREAM, token=activation(kind="service")), "other type"),
        (replace(STREAM, token=activation("b.*")), "another subject"),
        (replace(STREAM, token=activation("a.b")), "another subject"),
        (replace(STREAM, token=activation(">.*")), "another subject"),
        (replace(STREAM, token=activation(issuer=STRANGER)), "did not sign"),
        (replace(STREAM, token=activation(issuer=STRANGER, exporter=STRANGER)), "did not sign"),
    ],
)
def test_a_fault_is_named(imported: Import, fault: str) -> None:
    ((index, found),) = faults(imported, accounts=KNOWN)
    assert index == 0
    assert fault in found


def test_of_an_exporter_that_is_not_known_only_its_name_is_checked() -> None:
    assert faults(replace(STREAM, account=STRANGER.public_key)) == []
    assert faults(replace(STREAM, token=activation(issuer=STRANGER))) == []
    (found,) = faults(replace(STREAM, token=activation(issuer=STRANGER, exporter=STRANGER)))
    assert "did not sign" in found[1]


def test_a_grant_by_a_key_that_the_exporter_gave_up_counts_no_longer() -> None:
    imported = replace(STREAM, token=activation())
    rotated = {**KNOWN, EXPORTER.public_key: AccountClaims(signing_keys=[STRANGER.public_key])}
    assert "did not sign" in faults(imported, accounts=rotated)[0][1]
    scoped = AccountClaims(signing_keys=[ScopedKey(SIGNER.public_key, "reader", UserClaims())])
    assert faults(imported, accounts={**KNOWN, EXPORTER.public_key: scoped}) == []


def test_a_token_of_another_kind_is_no_grant() -> None:
    operator = KeyPair(KeyKind.OPERATOR, b"\x01" * 32)
    account = encode({"type": "account", "version": 2}, subject="A", name="a", issuer=operator, issued_at=1)
    assert "not a token of type activation" in faults(replace(STREAM, token=account))[0][1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SERVICE, SERVICE),
        (SERVICE, replace(SERVICE, subject="other", local_subject="ask")),
        (Import("q.*", EXPORTER.public_key, "service"), Import("q.x", EXPORTER.public_key, "service")),
        (
            Import("q.*", EXPORTER.public_key, "service", local_subject="r.$1"),
            Import("r.x", EXPORTER.public_key, "service"),
        ),
    ],
)
def test_services_of_one_exporter_must_not_overlap_here(first: Import, second: Import) -> None:
    assert [index for index, _ in faults(first, second)] == [1]


def test_the_same_service_of_two_exporters_and_the_same_stream_under_two_names_are_fine() -> None:
    assert faults(SERVICE, replace(SERVICE, account=STRANGER.public_key)) == []
    assert faults(STREAM, replace(STREAM, local_subject="b.$1"), replace(STREAM, subject="a.b")) == []
    assert [index for index, _ in faults(STREAM, STREAM)] == [1]


def test_there_may_be_only_so_many() -> None:
    imports = [Import(f"a.{number}", EXPORTER.public_key) for number in range(MAX_IMPORTS + 2)]
    assert [index for index, _ in faults(*imports)] == [MAX_IMPORTS, MAX_IMPORTS + 1]
