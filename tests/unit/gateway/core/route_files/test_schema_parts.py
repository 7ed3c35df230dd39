from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, Field, RootModel, field_validator, model_validator

from gateway.core.body_refusals import InvalidFields
from gateway.core.route_files.schema_parts import Given, Parts, parts_of, validated


def module_of(**names: Any) -> ModuleType:
    module = ModuleType("schemas:test")
    for name, value in names.items():
        if isinstance(value, type):
            value.__module__ = module.__name__
        setattr(module, name, value)
    return module


def model(name: str = "Model", **fields: Any) -> type[BaseModel]:
    annotations: dict[str, Any] = {key: type(value) for key, value in fields.items()}
    return type(name, (BaseModel,), {"__annotations__": annotations, "__module__": __name__, **fields})


def test_one_model_alone_describes_the_body_of_every_method_that_has_one() -> None:
    only = model(title="")
    parts = parts_of(module_of(Post=only), "a.py", ("GET", "POST", "PATCH", "DELETE"))
    assert {method: found.body for method, found in parts.items()} == {
        "GET": None,
        "POST": only,
        "PATCH": only,
        "DELETE": None,
    }


def test_parts_are_named_and_a_methods_own_comes_first() -> None:
    body, own, query, headers = model(a=1), model(b=1), model(c=1), model(d=1)
    helper = model(e=1)
    module = module_of(Body=body, PostBody=own, Query=query, GetHeaders=headers, Helper=helper)
    parts = parts_of(module, "a.py", ("GET", "POST", "PUT"))
    assert parts["POST"] == Parts("a.py", own, query, None)
    assert parts["PUT"] == Parts("a.py", body, query, None)
    assert parts["GET"] == Parts("a.py", None, query, headers)


def test_a_model_from_elsewhere_may_be_given_the_name_of_a_part() -> None:
    class Elsewhere(BaseModel):
        a: int

    module = ModuleType("schemas:test")
    vars(module).update(Body=Elsewhere, Other=Elsewhere, _private=Elsewhere)
    assert parts_of(module, "a.py", ("POST",))["POST"].body is Elsewhere


@pytest.mark.parametrize(
    ("names", "methods", "reason"),
    [
        ({}, ("POST",), "there is none"),
        ({"A": model(a=1), "B": model(b=1)}, ("POST",), "there is A, B"),
        ({"Body": model(a=1)}, ("GET", "DELETE"), "takes no body"),
        ({"A": model(a=1)}, ("GET",), "takes no body"),
        ({"PostQuery": model(a=1)}, ("GET",), "no POST"),
        ({"GetBody": model(a=1)}, ("GET", "POST"), "takes no body"),
    ],
)
def test_a_schema_that_would_never_be_looked_at_does_not_load(
    names: dict[str, Any], methods: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        parts_of(module_of(**names), "a.py", methods)


def test_a_part_is_a_model_with_named_fields() -> None:
    class Words(RootModel[list[str]]): ...

    with pytest.raises(TypeError, match="named fields"):
        parts_of(module_of(Query=Words), "a.py", ("GET",))
    with pytest.raises(TypeError, match="no pydantic model"):
        parts_of(module_of(Body={"a": 1}), "a.py", ("POST",))
    assert parts_of(module_of(Body=Words), "a.py", ("POST",))["POST"].body is Words


class Line(BaseModel):
    text: str = Field(min_length=1)


class Article(BaseModel):
    title: str
    lines: list[Line] = []

    @field_validator("title")
    @classmethod
    def does_not_shout(cls, title: str) -> str:
        if title.isupper():
            raise ValueError("Must not shout.")
        return title

    @model_validator(mode="after")
    def is_not_the_reserved_one(self) -> "Article":
        if self.title == "index":
            raise ValueError("Is reserved.")
        return self


class Page(BaseModel):
    page: int = Field(1, ge=1)


class Team(BaseModel):
    x_team: str
    trace: str = Field("", alias="X-Trace-Id")


def refused(parts: Parts, given: Given) -> InvalidFields:
    with pytest.raises(InvalidFields) as caught:
        validated(parts, given)
    return caught.value


def test_errors_of_all_parts_are_told_at_once_in_pocketbases_shape() -> None:
    error = refused(Parts("", Article, Page, Team), Given({"lines": [{"text": ""}]}, {"page": "0"}, {}))
    assert str(error) == "An error occurred while validating the submitted data."
    assert set(error.data) == {"title", "lines", "page", "x_team"}
    assert error.data["title"] == {"code": "validation_required", "message": "Cannot be blank."}
    assert error.data["lines"]["message"].startswith("0.text: ")


def test_what_is_wrong_with_the_whole_is_the_message() -> None:
    assert str(refused(Parts("", Article), Given({"title": "index"}))) == "Is reserved."
    assert "dictionary" in str(refused(Parts("", Article), Given([1])))
    assert refused(Parts("", Article), Given({"title": "LOUD"})).data["title"]["message"] == "Must not shout."


def test_a_missing_body_is_an_empty_one_and_parts_without_models_are_left_alone() -> None:
    assert set(refused(Parts("", Article), Given(None)).data) == {"title"}
    read = validated(Parts("", None, Page), Given({"x": 1}, {"page": "2", "more": "1"}, {"a": "b"}))
    assert (read.body, read.query.page, read.headers) == (None, 2, None)
    assert Parts().is_empty


def test_headers_are_found_by_names_with_underscores_and_by_aliases() -> None:
    headers = {"x-team": "red", "x-trace-id": "t1", "cookie": "x"}
    read = validated(Parts("", headers=Team), Given(headers=headers))
    assert (read.headers.x_team, read.headers.trace) == ("red", "t1")
