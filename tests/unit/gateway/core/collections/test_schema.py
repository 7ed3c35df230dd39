"""What the collections say is kept whole, and a change of it is noticed."""

import pytest

from gateway.core.collections.catalogue import Field, parse
from gateway.core.collections.schema import Schema
from gateway.core.rule_language.tokens import Unparsable
from tests.unit.gateway.schemas import ROWS, USERS, collection, field, of, relation, schema


def test_fields_keep_what_matters_of_them() -> None:
    row = collection(
        "docs",
        field("file", "file", protected=True, maxSelect=1),
        field("files", "file", maxSelect=2),
        field("secret", hidden=True),
        relation("owner", "id_users"),
    )
    _, file, files, secret, owner = parse(row).fields
    assert file == Field("file", "file", is_protected=True)
    assert files == Field("files", "file", is_multiple=True)
    assert secret == Field("secret", "text", is_hidden=True)
    assert owner == Field("owner", "relation", target="id_users")


def test_no_rule_is_not_an_empty_rule() -> None:
    found = parse({"id": "a", "name": "a", "type": "auth", "listRule": None, "viewRule": "", "manageRule": "id = ''"})
    assert (found.list_rule, found.view_rule, found.manage_rule) == (None, "", "id = ''")


def test_a_row_that_does_not_say_is_a_system_collection_without_fields() -> None:
    found = parse({"id": "a", "name": "a", "type": "base"})
    assert found.is_system
    assert found.fields == ()


def test_the_digest_ignores_order_and_sees_everything_else() -> None:
    digest = schema().digest
    assert Schema(reversed(ROWS)).digest == digest
    for changed in ({**USERS, "manageRule": ""}, {**USERS, "listRule": None}, {**USERS, "indexes": ["x"]}):
        assert schema(changed).digest != digest
    assert Schema(ROWS[1:]).digest != digest


def test_a_rule_that_cannot_be_read_says_so_each_time() -> None:
    found = schema(collection("odd", listRule="a =", viewRule="id = ''"))
    assert found.rule("id = ''").members
    for rule in ("a =", "never listed"):
        with pytest.raises(Unparsable):
            found.rule(rule)


def test_an_id_that_is_also_a_name_is_two_collections() -> None:
    found = schema(collection("id_teams"))
    assert len(found.matching("id_teams")) == 2
    assert found.matching("TEAMS") == [of(found, "teams")]
    assert found.matching("nope") == []
