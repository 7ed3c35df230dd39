"""What of an image a client may see: the fields that PocketBase's API shows, and of these what he asked for.

Nothing is copied that the collection's definition does not name. An e-mail address is shown by its owner's wish, or to
himself and to whom the manage rule lets through.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.core.collections.catalogue import Collection

EMAIL, IS_SHOWN = "email", "emailVisibility"
_ALWAYS = ("collectionId", "collectionName")
_UNSHOWN_TYPES = ("password",)
_NAMES = re.compile(r"\w+(?:,\w+)*", re.ASCII)
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Projection:
    names: tuple[str, ...]
    hides_email: bool = False

    def shown(self, record: Mapping[str, Any], *, with_email: bool) -> dict[str, Any]:
        shown = {name: record[name] for name in self.names if name in record}
        if self.hides_email and not with_email and not record.get(IS_SHOWN):
            shown.pop(EMAIL, None)
        return shown


def projection_of(collection: Collection, fields: str) -> Projection | None:
    """None where only PocketBase knows what `fields` picks."""
    visible = [field.name for field in collection.fields if not field.is_hidden and field.type not in _UNSHOWN_TYPES]
    names = tuple(dict.fromkeys((*visible, *_ALWAYS)))
    if fields and fields != "*":
        if not _NAMES.fullmatch(fields):
            return None
        asked = set(fields.split(","))
        names = tuple(name for name in names if name in asked)
    return Projection(names, hides_email=collection.is_auth)


def event_data(action: str, record: Mapping[str, Any], cursor: str = "") -> bytes:
    """As PocketBase writes it: one line of JSON, names in order. A cursor is of our own."""
    more = {"cursor": cursor} if cursor else {}
    return _encode({"action": action, "record": record, **more})
