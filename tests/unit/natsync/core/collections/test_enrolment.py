from typing import Any

import pytest

from common.core.identity import Identity
from natsync.core.collections.enrolment import Enrolment, Gateway, Unknown, person_of

GATEWAY, REALM = Gateway("http://gateway"), "https://sso/realms/R"


def identity(issuer: str = GATEWAY.issuer, subject: str = "u1", **claims: Any) -> Identity:
    return Identity(issuer, subject, "name", "", frozenset(), "s1", 0, claims)


def row(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "nats_username": id, "user": "", "active": True, **fields}


def test_a_token_of_the_gateway_names_a_platform_user_or_a_nats_user() -> None:
    assert person_of(identity(collectionName="users"), gateway=GATEWAY) == ("user", "", "u1")
    assert person_of(identity(collectionName="nats_users"), gateway=GATEWAY) == ("row", "", "u1")
    with pytest.raises(Unknown):
        person_of(identity(collectionName="devices"), gateway=GATEWAY)


def test_another_issuer_names_its_own_users_whatever_else_it_says() -> None:
    for claims in ({}, {"collectionName": "users"}, {"collectionName": "nats_users"}):
        assert person_of(identity(REALM, **claims), gateway=GATEWAY) == ("oidc", REALM, "u1")
    assert person_of(identity(), gateway=GATEWAY) == ("oidc", GATEWAY.issuer, "u1")


def test_a_row_is_found_by_its_id_its_user_and_its_issuer_and_subject_together() -> None:
    enrolled = Enrolment([row("n1", user="u1", oidc_issuer=REALM, oidc_subject="kc"), row("n2", oidc_subject="kc2")])
    for person in (("row", "", "n1"), ("user", "", "u1"), ("oidc", REALM, "kc")):
        assert enrolled.chosen(person)["id"] == "n1"
    for stranger in (("user", "", "kc"), ("oidc", "https://other", "kc"), ("oidc", "", "kc2"), ("user", "", "")):
        with pytest.raises(Unknown, match="no row"):
            enrolled.chosen(stranger)


def test_of_several_rows_the_one_that_is_named_is_chosen() -> None:
    enrolled = Enrolment([row("n1", user="u1", nats_username="pump"), row("n2", user="u1", nats_username="valve")])
    person = ("user", "", "u1")
    assert enrolled.chosen(person, "valve")["id"] == "n2"
    assert enrolled.chosen(person, "n1")["id"] == "n1"
    with pytest.raises(Unknown, match="several"):
        enrolled.chosen(person)
    with pytest.raises(Unknown, match="of that name"):
        enrolled.chosen(person, "turbine")


def test_a_change_of_rights_is_told_with_the_row_as_it_was() -> None:
    enrolled = Enrolment()
    first, same, moved = row("n1"), row("n1", description="new"), row("n1", account_id="a2")
    assert enrolled.put(first) is None
    assert enrolled.put(same) is None
    assert enrolled.put(moved) == same
    assert enrolled.remove("n1") == moved
    assert enrolled.remove("n1") is None


def test_a_row_that_is_linked_to_another_user_is_no_longer_found_by_the_first() -> None:
    enrolled = Enrolment([row("n1", user="u1")])
    enrolled.put(row("n1", user="u2"))
    assert enrolled.chosen(("user", "", "u2"))["id"] == "n1"
    assert enrolled.rows_of(("user", "", "u1")) == []


def test_all_rows_that_a_subject_may_stand_for_are_found() -> None:
    rows = [row("x"), row("n1", user="x"), row("n2", oidc_issuer=REALM, oidc_subject="x"), row("n3", user="y")]
    assert [found["id"] for found in Enrolment(rows).of_subject("x")] == ["x", "n1", "n2"]
