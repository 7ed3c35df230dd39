"""A batch taken apart into operations that are checked like direct ones, and put together anew from these alone.

PocketBase takes a batch's names in any spelling, reads it from the query as well, lets an item's headers replace the
request's, and takes an item's query for fields. It does not unescape an item's path. See `apis/batch.go` upstream.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from common.core.errors import InvalidRequest, NotFound, ServiceError
from gateway.core.batches.batch_refusals import (
    UNREADABLE_BATCH,
    invalid_batch,
    invalid_item,
    item_failed,
    too_many_items,
)
from gateway.core.bodies.form_values import PAYLOAD
from gateway.core.bodies.json_body import as_list, as_object, is_object, parsed_object
from gateway.core.bodies.record_body import ReceivedBody, RecordBody, UploadedFile, UpstreamBody, assembled
from gateway.core.bodies.struct_bodies import check_spelling
from gateway.core.body_refusals import FieldError, MalformedBody
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.field_values import settled_body
from gateway.core.front_door.form_query import form_query
from gateway.core.front_door.pocketbase_route import NOT_FOUND, Route, find
from gateway.core.front_door.query import Query
from gateway.core.front_door.query import parse as parse_query
from gateway.core.uploads.upload_checks import Accepts, FileField, accepts

BatchAction: TypeAlias = Literal["create", "update", "upsert", "delete"]

MAX_URL_CHARACTERS = 2000
UNKNOWN_ACTION = "Something went wrong while processing your request."
NO_DELETE_BODY = "A delete must not have a body."
NO_TEXT_ID = "The id of an upsert must be a plain text."

_ACTIONS: Mapping[str, BatchAction] = {"POST": "create", "PATCH": "update", "PUT": "upsert", "DELETE": "delete"}
_METHODS: Mapping[BatchAction, str] = {action: method for method, action in _ACTIONS.items()}
_BATCH: Mapping[str, str] = {"requests": "texts"}
_ITEM: Mapping[str, str] = {"method": "text", "url": "text", "headers": "object", "body": "object"}
_FILE_KEY = re.compile(r"requests(?:\.(0|[1-9][0-9]{0,4})\.|\[(0|[1-9][0-9]{0,4})\]\.)(.+)", re.DOTALL)
_PLAIN_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One item as it is spelt: `route` names its collection, `body` has only the files that came for it."""

    action: BatchAction
    route: Route
    query: Query
    headers: Mapping[str, str]
    body: RecordBody


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """One item with its collection found. `record_id` is what is updated, deleted or, if it exists, replaced."""

    action: BatchAction
    collection: Collection
    record_id: str | None
    query: Query
    headers: Mapping[str, str]
    body: RecordBody

    def settled(self, *, exists: bool) -> "BatchOperation":
        """An upsert as what it comes to, so that PocketBase does what was checked or fails."""
        if self.action != "upsert":
            return self
        return replace(self, action="update" if exists else "create", record_id=self.record_id if exists else None)


def batch_items(
    received: ReceivedBody, *, max_items: int, kept_headers: frozenset[str] = frozenset()
) -> list[BatchItem]:
    """`kept_headers` are the names, in lower case, that an item may say of itself.

    Raises MalformedBody, InvalidFields as PocketBase words it for batches.
    """
    form = batch_form(received)
    check_spelling(form, _BATCH)
    found = as_list(form.get("requests"))
    if not found:
        raise invalid_batch(FieldError("validation_required", "Cannot be blank."))
    if len(found) > max_items:
        raise too_many_items(max_items)
    files = files_by_item(received.files)
    return [item_of(index, value, files.get(index, ()), kept_headers) for index, value in enumerate(found)]


def batch_form(received: ReceivedBody) -> dict[str, Any]:
    """Of a form only one `@jsonPayload` counts, as the SDK sends it."""
    if received.pairs is None:
        return as_object(received.value)
    payloads = [raw for name, raw in received.pairs if name == PAYLOAD]
    if len(payloads) != 1 or any(name != PAYLOAD for name, _ in received.pairs):
        raise MalformedBody(UNREADABLE_BATCH)
    return parsed_object(payloads[0].encode())


def item_of(index: int, value: Any, files: Sequence[UploadedFile], kept_headers: frozenset[str]) -> BatchItem:
    if not is_object(value):
        raise MalformedBody(UNREADABLE_BATCH)
    check_spelling(value, _ITEM)
    method, url = value.get("method"), value.get("url")
    body, headers = as_object(value.get("body")), as_object(value.get("headers"))
    if not (isinstance(method, str) and isinstance(url, str)):
        raise MalformedBody(UNREADABLE_BATCH)
    if method not in (*_ACTIONS, "GET"):
        raise invalid_item(index, "method", FieldError("validation_in_invalid", "Must be a valid value."))
    if len(url) > MAX_URL_CHARACTERS:
        raise invalid_item(index, "url", FieldError("validation_length_too_long", "The URL is overlong."))
    said = kept(headers, kept_headers)
    try:
        return read_item(method, url, said, with_files(body, files))
    except ServiceError as error:
        raise item_failed(index, error) from error


def kept(headers: Mapping[str, Any], names: frozenset[str]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in headers.values()):
        raise MalformedBody(UNREADABLE_BATCH)
    return {name.lower(): value for name, value in headers.items() if name.lower() in names}


def with_files(fields: Mapping[str, Any], files: Sequence[UploadedFile]) -> RecordBody:
    """A file takes the place of a field of the same name in a batch, other than in a direct request."""
    named = {file.key for file in files}
    return RecordBody({name: value for name, value in fields.items() if name not in named}, tuple(files))


def read_item(method: str, url: str, headers: Mapping[str, str], body: RecordBody) -> BatchItem:
    """Raises InvalidRequest, NotFound, Forbidden."""
    action = _ACTIONS.get(method)
    if action is None or not url.isascii() or not url.isprintable() or " " in url or "#" in url:
        raise InvalidRequest(UNKNOWN_ACTION)
    path, _, query = url.partition("?")
    route = find("POST" if action == "upsert" else method, path.encode("ascii"))
    if route is None or route.kind != "records":
        raise InvalidRequest(UNKNOWN_ACTION)
    if action == "delete" and (body.fields or body.files):
        raise InvalidRequest(NO_DELETE_BODY)
    return BatchItem(action, route, parse_query(query.encode("ascii")), headers, body)


def batch_operation(item: BatchItem, collection: Collection, fields: Mapping[str, FileField]) -> BatchOperation:
    """`collection` is what the item's route names, `fields` are its file fields; files for others are left out, as
    PocketBase does it. Raises NotFound, InvalidRequest.
    """
    body = settled_body(item.body, collection.fields)
    record_id = upserted_id(body) if item.action == "upsert" else next(iter(item.route.after[1:]), None)
    if record_id is not None and not _PLAIN_ID.fullmatch(record_id):
        raise NotFound(NOT_FOUND)
    names = frozenset(field.name for field in collection.fields)
    limit = accepts(fields)
    body = replace(body, files=tuple(file for file in body.files if limit(file.key) is not None))
    return BatchOperation(item.action, collection, record_id, form_query(item.query, names), item.headers, body)


def upserted_id(body: RecordBody) -> str | None:
    """PocketBase makes a text of any value, and a path of that."""
    value = body.fields.get("id") or None
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(NO_TEXT_ID)
    return value


def files_by_item(files: Sequence[UploadedFile]) -> dict[int, list[UploadedFile]]:
    """`requests.0.photo`, as the SDK writes it, or `requests[0].photo`: the files of item 0 under `photo`."""
    found: dict[int, list[UploadedFile]] = {}
    for file in files:
        if match := _FILE_KEY.fullmatch(file.key):
            found.setdefault(int(match[1] or match[2]), []).append(replace(file, key=match[3]))
    return found


def batch_accepts(max_bytes: int) -> Accepts:
    """A batch's files are taken in before it is known whose they are: the SDK sends the items last."""

    def limit(key: str) -> int | None:
        return max_bytes if _FILE_KEY.fullmatch(key) else None

    return limit


def upstream_batch(operations: Sequence[BatchOperation], boundary: str) -> UpstreamBody:
    """The batch that PocketBase gets."""
    payload = {"requests": [written_item(operation) for operation in operations]}
    files = [
        (f"requests.{index}.{file.key}", file)
        for index, operation in enumerate(operations)
        for file in operation.body.files
    ]
    return assembled(payload, files, boundary)


def written_item(operation: BatchOperation) -> dict[str, Any]:
    path = f"/api/collections/{operation.collection.name}/records"
    if operation.action in ("update", "delete"):
        path = f"{path}/{operation.record_id}"
    query = operation.query.encoded()
    item: dict[str, Any] = {"method": _METHODS[operation.action], "url": f"{path}?{query}" if query else path}
    if operation.headers:
        item["headers"] = dict(operation.headers)
    return item if operation.action == "delete" else {**item, "body": operation.body.fields}
