"""No client writes what says what he may."""

import pytest

from gateway.core.body_refusals import InvalidFields
from gateway.core.operation import Upload, Write, WriteAction
from gateway.core.rule_files.awarded_fields import AwardedFields

AWARDED = AwardedFields.of(["users"], "roles", "org", "")


@pytest.mark.parametrize("key", ["roles", "Roles", "roles+", "+roles", "roles-", "roles:append", "roles[]", "org"])
@pytest.mark.parametrize("action", ["create", "update"])
def test_an_awarded_field_is_refused_in_every_spelling(action: WriteAction, key: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        AWARDED.check(Write(action, "users", fields={"name": "ann", key: None}))
    assert [told["code"] for told in refused.value.data.values()] == ["validation_not_yours"]


def test_a_file_is_no_way_around_it() -> None:
    with pytest.raises(InvalidFields):
        AWARDED.check(Write("create", "users", files={"roles": (Upload("a", "text/plain", 1),)}))


@pytest.mark.parametrize(
    "write",
    [
        Write("create", "users", fields={"name": "ann", "": 1, "rolesque": 1}),
        Write("create", "notes", fields={"roles": ["admin"]}),
        Write("delete", "users", "ann"),
    ],
)
def test_everything_else_is_for_pocketbase_to_judge(write: Write) -> None:
    AWARDED.check(write)
