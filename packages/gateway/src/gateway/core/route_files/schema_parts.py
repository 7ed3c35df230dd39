"""What a schema file says of a request's parts, and the request held against it.

A file with one model alone describes the body. Otherwise `Body`, `Query` and `Headers` each describe their part, for
every method of the route; `PostBody`, `GetQuery` and the like describe one method's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, RootModel, ValidationError

from gateway.core.body_refusals import InvalidFields
from gateway.core.rule_files.model_validation import field_error, input_names, text_of
from gateway.core.rule_files.refusals import data_of

Part: TypeAlias = Literal["Body", "Query", "Headers"]
PARTS: tuple[Part, ...] = get_args(Part)
BODIED = frozenset({"POST", "PUT", "PATCH"})

INVALID = "An error occurred while validating the submitted data."
"""PocketBase's own words."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The models of one method; a part without one is taken as it comes."""

    file: str = ""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.body or self.query or self.headers)


NO_PARTS = Parts()


@dataclass(frozen=True, slots=True)
class Given:
    """A request's parts before they are read. Names of headers are lower-case."""

    body: Any = None
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Validated:
    """The parts as their models have read them; None for a part without a model."""

    body: Any = None
    query: Any = None
    headers: Any = None


def parts_of(module: ModuleType, file: str, methods: tuple[str, ...]) -> dict[str, Parts]:
    """For each method. Raises ValueError or TypeError for a file that describes nothing, or not clearly what."""
    models = dict(own_models(module))
    named = {name: model for name, model in models.items() if is_part(name)}
    if not named:
        if len(models) != 1:
            found = ", ".join(models) or "none"
            raise ValueError(f"one pydantic model for the body, or Body, Query and Headers; there is {found}")
        named = {"Body": next(iter(models.values()))}
    for name, model in named.items():
        check_model(name, model)
    check_meant(named, methods)
    return {method: parts_for(method, file, named) for method in methods}


def own_models(module: ModuleType) -> Iterator[tuple[str, type[BaseModel]]]:
    """Models that the file itself defines, and those it gives the name of a part."""
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, BaseModel) and not name.startswith("_"):
            if value.__module__ == module.__name__ or is_part(name):
                yield name, value
        elif name in PARTS:
            raise TypeError(f"{name} is no pydantic model")


def is_part(name: str) -> bool:
    return any(name == prefix + part for part in PARTS for prefix in ("", "Get", "Post", "Put", "Patch", "Delete"))


def check_model(name: str, model: type[BaseModel]) -> None:
    """Raises what is wrong with it: here, and not at the first request."""
    if issubclass(model, RootModel) and not name.endswith("Body"):
        raise TypeError(f"{name} must have named fields")
    model.model_rebuild()


def check_meant(named: Mapping[str, Any], methods: tuple[str, ...]) -> None:
    """Raises ValueError for a part that would never be looked at: nobody may think that it is."""
    for name in named:
        part = next(part for part in PARTS if name.endswith(part))
        method = name.removesuffix(part).upper()
        if method and method not in methods:
            raise ValueError(f"{name}: the route has no {method}")
        if part == "Body" and not BODIED.intersection([method] if method else methods):
            raise ValueError(f"{name}: the route takes no body")


def parts_for(method: str, file: str, named: Mapping[str, type[BaseModel]]) -> Parts:
    prefix = method.capitalize()
    body, query, headers = (named.get(prefix + part) or named.get(part) for part in PARTS)
    return Parts(file, body if method in BODIED else None, query, headers)


def validated(parts: Parts, given: Given) -> Validated:
    """Raises InvalidFields with an error for every field at fault, whichever part it is of."""
    errors: dict[str, Any] = {}
    body = read_part(parts.body, {} if given.body is None else given.body, errors)
    query = read_part(parts.query, dict(given.query or {}), errors)
    headers = read_part(parts.headers, meant_headers(parts.headers, given.headers or {}), errors)
    if errors:
        raise InvalidFields(INVALID, errors)
    return Validated(body, query, headers)


def read_part(model: type[BaseModel] | None, value: Any, errors: dict[str, Any]) -> BaseModel | None:
    if model is None:
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
    whole = [detail for detail in details if not detail["loc"]]
    for field, told in data_of(field_error(detail) for detail in details if detail["loc"]).items():
        errors.setdefault(field, told)
    if whole:
        raise InvalidFields(text_of(whole[0]), errors)
    return None


def meant_headers(model: type[BaseModel] | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Those that the model names, hyphens as underscores: a request has many more."""
    if model is None:
        return {}
    names = {name for field, info in model.model_fields.items() for name in input_names(field, info)}
    return {name: headers[key] for name in names if (key := name.lower().replace("_", "-")) in headers}
