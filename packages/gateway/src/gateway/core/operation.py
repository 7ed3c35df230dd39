"""What is asked of PocketBase's records, however it came in: direct, form, upload or an item of a batch.

This is the seam between parsing and judging: collections are canonical names, fields and queries are parsed, and what
PocketBase gets is built from the Write that comes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

WriteAction: TypeAlias = Literal["create", "update", "delete"]
ReadAction: TypeAlias = Literal["list", "view"]
Action: TypeAlias = WriteAction | ReadAction

WRITES: tuple[WriteAction, ...] = ("create", "update", "delete")
READS: tuple[ReadAction, ...] = ("list", "view")
ACTIONS: tuple[Action, ...] = (*WRITES, *READS)


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart body. `content_type` is what the client claims; `head` holds the first bytes."""

    filename: str
    content_type: str
    size_bytes: int
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Write:
    """`fields` is keyed as the client spelt it, modifiers such as `tags+` included; `files` likewise."""

    action: WriteAction
    collection: str
    record_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    files: Mapping[str, tuple[Upload, ...]] = field(default_factory=dict[str, tuple[Upload, ...]])
    query: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Read:
    """`expands` names the collection behind each expanded path (`author.team`), as far as it is known."""

    action: ReadAction
    collection: str
    record_id: str | None = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    expands: Mapping[str, str] = field(default_factory=dict[str, str])


Operation: TypeAlias = Write | Read
