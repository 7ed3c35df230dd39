"""Fields of a record that say what its user may do: roles, tenant, clearance. Nobody awards himself any of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.bodies.field_names import field_of
from gateway.core.operation import Write
from gateway.core.rule_files.refusals import FieldError, Refused, service_error

NOT_YOURS = "Only the operator may write this."
CODE = "validation_not_yours"


@dataclass(frozen=True, slots=True)
class AwardedFields:
    """Which fields of which collections; in any spelling, should a later PocketBase read names more loosely."""

    collections: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, collections: Iterable[str], *names: str) -> "AwardedFields":
        """An empty name is that of no field."""
        return cls(frozenset(collections), frozenset(name.casefold() for name in names if name))

    def check(self, write: Write) -> None:
        """Of a write as a client sends it, whatever PocketBase's rules would say of it. Raises InvalidFields."""
        if write.collection not in self.collections:
            return
        keys = (key for key in (*write.fields, *write.files) if field_of(key).casefold() in self.names)
        if errors := [FieldError(field_of(key), NOT_YOURS, CODE) for key in keys]:
            raise service_error(Refused(None, 400, errors), write.action)
