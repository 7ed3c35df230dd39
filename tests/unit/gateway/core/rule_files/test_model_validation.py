"""Records through pydantic models: whole when created, only what is given when updated."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    computed_field,
    field_validator,
    model_validator,
)

from gateway.core.operation import Write, WriteAction
from gateway.core.rule_files.context import Context
from gateway.core.rule_files.model_validation import Models, without_undeclared
from gateway.core.rule_files.refusals import Refused, data_of


class Post(BaseModel):
    title: Annotated[str, Field(min_length=3, max_length=20)]
    views: int = Field(0, ge=0)
    kind: Literal["news", "story"] = "news"
    subtitle: str | None = None
    tags: list[str] = Field(default_factory=list[str], max_length=3)

    @field_validator("title")
    @classmethod
    def is_stripped(cls, title: str) -> str:
        if "!" in title:
            raise ValueError("Must not shout.")
        return title.strip()


def validated(model: type[BaseModel], fields: dict[str, Any], action: WriteAction = "create") -> dict[str, Any]:
    models, context = Models.of(model), Context(Write(action, "posts", "p1", fields))
    models.adopt(context, models.parsed(context))
    return without_undeclared(context.record, fields, context.declared or set())


def errors(model: type[BaseModel], fields: dict[str, Any], action: WriteAction = "create") -> dict[str, dict[str, str]]:
    with pytest.raises(Refused) as refused:
        validated(model, fields, action)
    return data_of(refused.value.errors)


def test_a_create_is_read_whole_with_its_defaults_and_nothing_empty() -> None:
    assert validated(Post, {"title": " abc "}) == {"title": "abc", "views": 0, "kind": "news", "tags": []}


def test_an_update_is_read_for_what_it_gives_alone() -> None:
    assert validated(Post, {"views": "5"}, "update") == {"views": 5}
    assert validated(Post, {}, "update") == {}


def test_a_field_that_is_missing_is_told_as_pocketbase_tells_it() -> None:
    assert errors(Post, {"views": 1}) == {"title": {"code": "validation_required", "message": "Cannot be blank."}}


@pytest.mark.parametrize("action", ["create", "update"])
def test_every_field_at_fault_is_told_and_none_of_what_was_in_it(action: WriteAction) -> None:
    found = errors(Post, {"title": "hunter2!", "views": -1, "kind": "hunter2", "tags": [1, "a"]}, action)
    assert set(found) == {"title", "views", "kind", "tags"}
    assert found["title"] == {"code": "validation_value_error", "message": "Must not shout."}
    assert found["views"]["code"] == "validation_greater_than_equal"
    assert found["tags"]["message"].startswith("0: ")
    assert "hunter2" not in str(found)


def test_none_is_no_way_to_leave_a_required_field_out() -> None:
    assert "title" in errors(Post, {"title": None}, "update")


@given(
    st.dictionaries(
        st.sampled_from(["title", "views", "kind", "subtitle", "tags"]), st.integers() | st.text() | st.none()
    )
)
def test_an_update_passes_exactly_if_its_fields_would_pass_in_a_whole_record(fields: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"title": "abc", **fields}
    try:
        expected = {name: value for name, value in validated(Post, whole).items() if name in fields}
    except Refused:
        with pytest.raises(Refused):
            validated(Post, fields, "update")
        return
    assert validated(Post, fields, "update") == expected


@pytest.mark.parametrize("key", ["views+", "+tags", "tags-", "title:autogenerate", "title:each"])
@pytest.mark.parametrize("extra", ["ignore", "allow", "forbid"])
def test_no_modifier_gets_a_value_past_the_model(key: str, extra: Literal["ignore", "allow", "forbid"]) -> None:
    class Checked(Post):
        model_config = ConfigDict(extra=extra)

    assert set(errors(Checked, {"title": "abc", key: 1}, "update")) == {key}


def test_a_model_may_take_a_modifier_by_its_name() -> None:
    class Counted(BaseModel):
        more: int = Field(0, le=3, alias="views+")

    assert validated(Counted, {"views+": 2}, "update") == {"views+": 2}
    assert set(errors(Counted, {"views+": 9}, "update")) == {"views+"}


def test_unknown_fields_are_left_out_kept_or_refused_as_the_model_has_it() -> None:
    class Open(Post):
        model_config = ConfigDict(extra="allow")

    class Closed(Post):
        model_config = ConfigDict(extra="forbid")

    fields = {"title": "abc", "admin": {"is": True}}
    assert "admin" not in validated(Post, fields)
    assert validated(Open, fields, "update") == fields
    assert set(errors(Closed, fields)) == {"admin"}


def test_what_a_rule_has_added_is_not_taken_for_the_clients() -> None:
    assert without_undeclared({"title": "a", "owner": "ann", "admin": 1}, {"title": "a", "admin": 1}, {"title"}) == {
        "title": "a",
        "owner": "ann",
    }


def test_secrets_are_written_and_not_starred_out() -> None:
    class Account(BaseModel):
        password: SecretStr
        again: SecretStr = Field(alias="passwordConfirm")
        email: str | None = None

    fields = {"password": "hunter2", "passwordConfirm": "hunter2"}
    assert validated(Account, fields) == fields
    assert validated(Account, {"password": "hunter2"}, "update") == {"password": "hunter2"}


def test_names_are_those_of_the_body_on_both_sides() -> None:
    class Aliased(BaseModel):
        first: int = Field(validation_alias=AliasChoices("a", "b"), serialization_alias="a")

    assert validated(Aliased, {"b": "1"}) == {"a": 1}
    assert set(errors(Aliased, {"b+": 1, "a": 1}, "update")) == {"b+"}


def test_computed_values_are_not_written() -> None:
    class Sluggish(BaseModel):
        title: str

        @computed_field
        @property
        def slug(self) -> str:
            return self.title.lower()

    assert validated(Sluggish, {"title": "A"}) == {"title": "A"}
    assert validated(Sluggish, {}, "update") == {}


def test_a_validator_of_the_whole_sees_what_is_given_and_speaks_for_the_record() -> None:
    class Range(BaseModel):
        model_config = ConfigDict(validate_default=True)
        low: int
        high: int

        @model_validator(mode="after")
        def is_ordered(self) -> "Range":
            if {"low", "high"} <= self.model_fields_set and self.low > self.high:
                raise ValueError("Low must not exceed high.")
            return self

    assert validated(Range, {"low": 5}, "update") == {"low": 5}
    with pytest.raises(Refused) as refused:
        validated(Range, {"low": 2, "high": 1}, "update")
    assert refused.value.message == "Low must not exceed high."
    assert refused.value.errors == ()


def test_a_validator_that_breaks_is_a_fault_and_no_pass() -> None:
    class Broken(BaseModel):
        title: str

        @field_validator("title")
        @classmethod
        def breaks(cls, title: str) -> str:
            raise KeyError(title)

    with pytest.raises(KeyError):
        validated(Broken, {"title": "a"})


@pytest.mark.parametrize("model", [dict, RootModel[int], Post(title="abc", views=1), "Post", None])
def test_what_is_no_model_with_fields_does_not_load(model: object) -> None:
    with pytest.raises(TypeError):
        Models.of(model)


def test_dates_and_nested_models_are_written_as_json() -> None:
    class Place(BaseModel):
        lat: float

    class Visit(BaseModel):
        place: Place

    assert validated(Visit, {"place": {"lat": "1.5", "more": 1}}) == {"place": {"lat": 1.5}}
