"""What an upload is for: said once when it begins, kept at the head of its part."""

from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from common.core.errors import InvalidRequest
from gateway.core.bodies.json_body import as_object
from gateway.core.bodies.json_body import parsed as parsed_json
from gateway.core.bodies.part_head import safe_filename
from gateway.core.front_door.pocketbase_route import Route, find

MAX_SIZE_BYTES = 2**40
MALFORMED = "An upload is for one field of one record."

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Checksum = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """`record` is empty for a new one; `field` may bear PocketBase's `+`, as in `documents+`; `fields` are the record's
    other fields, as JSON."""

    collection: Name
    field: Name
    name: Name
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE_BYTES)]
    record: Annotated[str, msgspec.Meta(max_length=255)] = ""
    content_type: Annotated[str, msgspec.Meta(max_length=255)] = ""
    sha256: Checksum | None = None
    fields: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def method(self) -> str:
        return "PATCH" if self.record else "POST"

    def route(self) -> Route:
        """Found as a request's is. Raises MalformedPath, InvalidRequest, NotFound."""
        path = f"/api/collections/{quote(self.collection, safe='')}/records"
        if self.record:
            path += f"/{quote(self.record, safe='')}"
        route = find(self.method, path.encode())
        if route is None or route.kind != "records":
            raise InvalidRequest(MALFORMED)
        return route

    def others(self) -> dict[str, Any]:
        """Raises MalformedBody for what is no plain JSON object."""
        return as_object(parsed_json(bytes(self.fields)))

    def checked(self) -> "Intent":
        """With a name that is fit to be written into a form. Raises MalformedBody for fields that are no object."""
        self.others()
        return msgspec.structs.replace(self, name=safe_filename(self.name))


_intents = msgspec.json.Decoder(Intent)


def written(intent: Intent) -> bytes:
    return msgspec.json.encode(intent)


def read(text: bytes) -> Intent:
    """Of what `written` gave."""
    return _intents.decode(text)
