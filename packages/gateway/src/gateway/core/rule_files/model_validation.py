"""A record against a pydantic model: whole for a create, only the given fields for an update."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import AliasChoices, BaseModel, Field, RootModel, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.core.bodies.field_names import field_of
from gateway.core.rule_files.context import Context
from gateway.core.rule_files.refusals import FieldError, Refused, invalid

_USER_ERRORS = ("Value error, ", "Assertion failed, ")


@dataclass(frozen=True, slots=True)
class Models:
    """One model in its two forms. `inputs` are the names under which a body may give its fields."""

    whole: type[BaseModel]
    partial: type[BaseModel]
    inputs: frozenset[str]

    @classmethod
    def of(cls, model: object) -> "Models":
        """Raises TypeError for anything but a model with named fields; what pydantic finds wrong with it as well."""
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or issubclass(model, RootModel):
            raise TypeError(f"validate takes a pydantic model with fields, not {model!r}")
        model.model_rebuild()
        inputs = frozenset(name for field, info in model.model_fields.items() for name in input_names(field, info))
        return cls(model, partial_of(model), inputs)

    def parsed(self, context: Context) -> BaseModel:
        """Raises Refused with an error for every field at fault."""
        self._check_modifiers(context.record)
        model = self.partial if context.action == "update" else self.whole
        try:
            return model.model_validate(context.record)
        except ValidationError as error:
            refuse_invalid(error)

    def _check_modifiers(self, record: Mapping[str, Any]) -> None:
        """`views+` would change what the model checks without being seen by it."""
        unseen = [key for key in record if key not in self.inputs and field_of(key) in self.inputs]
        if unseen:
            invalid(*(FieldError(key, "Cannot be checked; give the whole value.") for key in unseen))

    def adopt(self, context: Context, parsed: BaseModel) -> None:
        """The record takes the values as the model has read them, defaults included when it is created."""
        names = parsed.model_fields_set | (defaults_of(parsed) if context.action == "create" else set[str]())
        values = parsed.model_dump(mode="json", by_alias=True, include=names) | secrets_of(parsed, names)
        kept = {key: value for key, value in context.record.items() if key not in self.inputs}
        context.record = kept | values
        context.declared = (context.declared or set()) | self.inputs | values.keys()


def input_names(name: str, info: FieldInfo) -> Iterator[str]:
    yield name
    alias = info.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else (alias, info.alias):
        if isinstance(choice, str):
            yield choice


def partial_of(model: type[BaseModel]) -> type[BaseModel]:
    """The same model, for which no field is required; its validators run for the fields that are given."""
    optional: dict[str, Any] = {
        name: (Annotated[info.annotation, info], Field(default=None, validate_default=False))
        for name, info in model.model_fields.items()
        if info.is_required()
    }
    return create_model(model.__name__, __base__=model, __module__=model.__module__, **optional)


def defaults_of(parsed: BaseModel) -> set[str]:
    """Fields that were not given and have something to write."""
    names = type(parsed).model_fields.keys() - parsed.model_fields_set
    return {name for name in names if getattr(parsed, name) is not None}


def secrets_of(parsed: BaseModel, names: set[str]) -> dict[str, Any]:
    """What pydantic would write as asterisks."""
    secrets: dict[str, Any] = {}
    for name in names & type(parsed).model_fields.keys():
        reveal = getattr(getattr(parsed, name), "get_secret_value", None)
        if callable(reveal):
            info = type(parsed).model_fields[name]
            secrets[info.serialization_alias or info.alias or name] = reveal()
    return secrets


def refuse_invalid(error: ValidationError) -> NoReturn:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [field_error(detail) for detail in details if detail["loc"]]
    if not errors:
        raise Refused(text_of(details[0]), 400) from None
    raise Refused(None, 400, errors) from None


def field_error(detail: ErrorDetails) -> FieldError:
    """Named after the outermost field, as PocketBase names them; a required one in PocketBase's own words."""
    field, *inner = (str(part) for part in detail["loc"])
    if detail["type"] == "missing" and not inner:
        return FieldError(field, "Cannot be blank.", "validation_required")
    where = f"{'.'.join(inner)}: " if inner else ""
    return FieldError(field, where + text_of(detail), f"validation_{detail['type']}")


def text_of(detail: ErrorDetails) -> str:
    text = detail["msg"]
    for prefix in _USER_ERRORS:
        text = text.removeprefix(prefix)
    return text


def without_undeclared(record: Mapping[str, Any], given: Mapping[str, Any], declared: set[str]) -> dict[str, Any]:
    """What the client gave and no model knows is left out; what a rule has put there stays."""
    return {key: value for key, value in record.items() if key in declared or key not in given}
