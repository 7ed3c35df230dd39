"""Collections, refusals, preflights and health, as they are decided."""

import json

import pytest

from common.core.errors import Forbidden, NotFound, RateLimited, ServiceError, UpstreamUnavailable
from gateway.core.body_refusals import InvalidFields, TooSlow
from gateway.core.collections.catalogue import Catalogue, Collection, admitted, parse
from gateway.core.front_door.cross_origin import DEFAULT_HEADERS, preflight
from gateway.core.health_report import as_text, is_healthy, public
from gateway.core.refusal_answer import body_of, headers_of, status_of
from gateway.core.refusals import MalformedPath, TooLarge

USERS = Collection("_pb_users_auth_", "users", "auth", is_system=False)
ROOT = Collection("pbc_3142635823", "_superusers", "auth", is_system=True)
CATALOGUE = Catalogue([ROOT, USERS])


@pytest.mark.parametrize("spelling", ["users", "USERS", "_pb_users_auth_"])
def test_a_collection_goes_by_name_in_any_case_and_by_id(spelling: str) -> None:
    assert admitted(CATALOGUE.find(spelling)) == USERS


@pytest.mark.parametrize("spelling", ["_superusers", "_SuperUsers", "pbc_3142635823"])
def test_pocketbase_s_own_are_refused(spelling: str) -> None:
    with pytest.raises(Forbidden):
        admitted(CATALOGUE.find(spelling))


@pytest.mark.parametrize("spelling", ["", "user", "_PB_USERS_AUTH_", "u\u017fers"])
def test_unknown_ones_are_not_found(spelling: str) -> None:
    with pytest.raises(NotFound):
        admitted(CATALOGUE.find(spelling))


def test_a_name_that_is_the_id_of_a_refused_collection_is_refused() -> None:
    impostor = Collection("mine", ROOT.id, "base", is_system=False)
    for order in ([ROOT, impostor], [impostor, ROOT]):
        with pytest.raises(Forbidden):
            admitted(Catalogue(order).find(ROOT.id))


def test_a_row_that_does_not_say_counts_as_pocketbase_s_own() -> None:
    assert parse({"id": "a", "name": "b", "type": "base"}).is_system
    assert not parse({"id": "a", "name": "b", "type": "base", "system": False}).is_system


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedPath(""), 400),
        (TooLarge(""), 413),
        (TooSlow(""), 408),
        (UpstreamUnavailable(""), 503),
        (RateLimited("", retry_seconds=3), 429),
        (ServiceError(""), 500),
    ],
)
def test_refusals_bear_the_status_of_their_kind(error: ServiceError, status: int) -> None:
    assert status_of(error) == status
    assert json.loads(body_of(error)) == {"data": {}, "message": str(error), "status": status}


def test_a_refusal_names_the_fields_that_were_wrong() -> None:
    error = InvalidFields("Failed to create record.", {"title": {"code": "c", "message": "m"}})
    assert json.loads(body_of(error)) == {
        "data": {"title": {"code": "c", "message": "m"}},
        "message": "Failed to create record.",
        "status": 400,
    }


def test_refusals_say_when_to_come_back() -> None:
    assert (b"retry-after", b"3") in headers_of(RateLimited("", retry_seconds=3), b"")
    assert (b"retry-after", b"1") in headers_of(UpstreamUnavailable(""), b"")
    assert (b"connection", b"close") in headers_of(TooLarge(""), b"")
    assert (b"connection", b"close") in headers_of(TooSlow(""), b"")


@pytest.mark.parametrize("asked", [b"authorization, x-tenant", b"x-a"])
def test_a_preflight_grants_the_headers_asked_for(asked: bytes) -> None:
    assert (b"access-control-allow-headers", asked) in preflight([(b"access-control-request-headers", asked)])


@pytest.mark.parametrize("asked", [b"", b"a\nb", b"a" * 2000, b"x-a; y", b"\xff"])
def test_a_preflight_repeats_nothing_odd(asked: bytes) -> None:
    assert (b"access-control-allow-headers", DEFAULT_HEADERS) in preflight([(b"access-control-request-headers", asked)])


def test_the_public_learns_which_part_is_unwell_and_not_why() -> None:
    states = public({"pocketbase": "ConnectError: 10.0.0.7:8090 refused", "valkey": "ok"})
    assert as_text(states) == "gateway ok\npocketbase waiting\nvalkey ok\n"
    assert not is_healthy(states)
    assert is_healthy(public({}))
