"""Uploads that are not whole yet: whose they are, what they are called on disk, and how many there may be.

A part's name says whose it is, so that nobody reaches another's: what a client brings is one piece of it, the rest
comes from who he is.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["part", "done"]

ID_BYTES = 24
_ID = re.compile(r"[A-Za-z0-9_-]{32}")
_NAME = re.compile(
    r"(?P<owner>[0-9a-f]{32})\.(?P<session>[0-9a-f]{32})\.(?P<id>[A-Za-z0-9_-]{32})"
    r"\.(?P<size>[0-9a-f]{1,12})\.(?P<began>[0-9a-f]{1,10})\.(?P<kind>part|done)"
)
NOBODY = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose an upload is, in digests: the account or, of guests, the network; and the session that began it."""

    owner: str
    session: str

    @property
    def prefix(self) -> str:
        return f"{self.owner}.{self.session}."


def claim_of_account(collection_id: str, record_id: str, session_id: str) -> Claim:
    return Claim(digest(f"{collection_id}/{record_id}"), digest(session_id))


def claim_of_guest(network: str) -> Claim:
    return Claim(digest(f"@{network}"), digest(NOBODY))


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_upload_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PartName:
    """`began` is in Unix seconds; what is `done` holds PocketBase's answer in place of the file."""

    claim: Claim
    id: str
    size_bytes: int
    began: int
    kind: Kind = "part"

    def __str__(self) -> str:
        return f"{self.claim.prefix}{self.id}.{self.size_bytes:x}.{self.began:x}.{self.kind}"


def parsed(text: str) -> PartName | None:
    """None for a file that is something else."""
    if (found := _NAME.fullmatch(text)) is None:
        return None
    claim = Claim(found["owner"], found["session"])
    kind: Kind = "done" if found["kind"] == "done" else "part"
    return PartName(claim, found["id"], int(found["size"], 16), int(found["began"], 16), kind)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What uploads under way may take on disk, counted by the sizes that they have said; `idle_seconds` and
    `most_seconds` say how long a part waits for more, and how long it may take in all."""

    max_bytes: int
    max_parts: int
    max_owner_bytes: int
    max_owner_parts: int
    idle_seconds: float
    most_seconds: float
    done_seconds: float = 600
    max_done: int = 1000
    max_owner_done: int = 50


def has_room(bounds: Bounds, there: Iterable[PartName], owner: str, size_bytes: int) -> bool:
    parts = [name for name in there if name.kind == "part"]
    own = [name.size_bytes for name in parts if name.claim.owner == owner]
    return (
        len(parts) < bounds.max_parts
        and len(own) < bounds.max_owner_parts
        and sum(own) + size_bytes <= bounds.max_owner_bytes
        and sum(name.size_bytes for name in parts) + size_bytes <= bounds.max_bytes
    )


def keeps_answer(bounds: Bounds, there: Iterable[PartName], owner: str) -> bool:
    """Is there room for one more of PocketBase's answers?"""
    done = [name.claim.owner for name in there if name.kind == "done"]
    return len(done) < bounds.max_done and done.count(owner) < bounds.max_owner_done


def is_over(bounds: Bounds, name: PartName, *, changed: float, now: float) -> bool:
    """Is it to be removed? `changed` is when something was last written to it."""
    return now > expiry(bounds, name, changed=changed)


def expiry(bounds: Bounds, name: PartName, *, changed: float) -> float:
    """When it is removed, in Unix seconds."""
    if name.kind == "done":
        return changed + bounds.done_seconds
    return min(changed + bounds.idle_seconds, name.began + bounds.most_seconds)
