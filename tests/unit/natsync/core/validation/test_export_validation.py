from dataclasses import replace

import pytest

from natsync.core.claims.account_claims import Export, Latency
from natsync.core.validation.export_validation import MAX_EXPORTS, export_faults, faults_of_exports
from tests.random_claims import ACCOUNTS, USERS

SERVICE = Export("a.*", "service")


@pytest.mark.parametrize(
    "export",
    [
        Export("a.>"),
        SERVICE,
        replace(SERVICE, response_type="Chunked", response_milliseconds=10, allow_trace=True),
        replace(SERVICE, latency=Latency("latency", 0)),
        replace(SERVICE, latency=Latency("latency", 100)),
        replace(SERVICE, account_token_position=2),
        Export("*.a", account_token_position=1),
        Export("a", token_required=True, revocations={"*": 1, ACCOUNTS[0].public_key: 2}),
    ],
)
def test_a_proper_export_has_no_fault(export: Export) -> None:
    assert export_faults(export) == []


@pytest.mark.parametrize(
    ("export", "fault"),
    [
        (Export("a b"), "subject: 'a b' has a space"),
        (Export("a..b"), "empty token"),
        (Export("a", "queue"), "neither stream nor service"),  # type: ignore[arg-type]
        (Export("a", response_type="Singleton"), "response_type is for services"),
        (Export("a", response_milliseconds=5), "response_threshold is for services"),
        (Export("a", allow_trace=True), "allow_trace is for services"),
        (Export("a", latency=Latency("l")), "service_latency is for services"),
        (replace(SERVICE, response_type="singleton"), "none of Singleton"),
        (replace(SERVICE, response_milliseconds=-1), "out of range"),
        (replace(SERVICE, response_milliseconds=2**63), "out of range"),
        (replace(SERVICE, latency=Latency("a.*")), "has wildcards"),
        (replace(SERVICE, latency=Latency("")), "is empty"),
        (replace(SERVICE, latency=Latency("a", 101)), "sampling"),
        (replace(SERVICE, account_token_position=1), "token 1 of 'a.*' is no '*'"),
        (replace(SERVICE, account_token_position=3), "token 3"),
        (replace(SERVICE, account_token_position=-1), "token -1"),
        (Export("a.>", account_token_position=2), "token 2"),
        (Export("a", name="x" * 1001), "name is too long"),
        (Export("a", revocations={USERS[0].public_key: 1}), "no account key"),
        (Export("a", revocations={ACCOUNTS[0].public_key: -1}), "no account key"),
    ],
)
def test_a_fault_is_named(export: Export, fault: str) -> None:
    (found,) = export_faults(export)
    assert fault in found


def test_of_two_that_contain_each_other_the_later_is_at_fault() -> None:
    for first, second in (("a.*", "a.b"), ("a.b", "a.*"), ("a", "a"), (">", "x.y"), ("*.*", "x.>")):
        ((index, fault),) = faults_of_exports([Export(first), Export(second)])
        assert index == 1
        assert "exported already" in fault


def test_a_stream_and_a_service_may_share_a_subject_and_so_may_those_that_only_overlap() -> None:
    apart = [Export("a.*"), Export("a.*", "service"), Export("b.*.c"), Export("b.d.*")]
    assert list(faults_of_exports(apart)) == []


def test_a_faulty_export_stands_in_nobodys_way() -> None:
    ((index, _),) = faults_of_exports([Export(">", response_type="Stream"), Export("a")])
    assert index == 0


def test_there_may_be_only_so_many() -> None:
    exports = [Export(f"a.{number}") for number in range(MAX_EXPORTS + 2)]
    assert [index for index, _ in faults_of_exports(exports)] == [MAX_EXPORTS, MAX_EXPORTS + 1]
