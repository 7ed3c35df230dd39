"""Who is cut off, since when. An account's ledger maps a user's public key to the last second that no longer counts."""

from collections.abc import Mapping
from typing import TypeAlias

Ledger: TypeAlias = Mapping[str, int]


def is_cut(ledger: Ledger, public_key: str, issued_at: int) -> bool:
    return ledger.get(public_key, -1) >= issued_at


def with_cuts(ledger: Ledger, cuts: Ledger) -> dict[str, int]:
    """A cutoff only ever moves forward: taking one back would revive what was issued before it."""
    merged = dict(ledger)
    for public_key, cutoff in cuts.items():
        merged[public_key] = max(cutoff, merged.get(public_key, cutoff))
    return merged


def next_issue(now: int, *, last: int, ledger: Ledger, public_key: str) -> int:
    """When the next token is said to be issued: after the last one, and after whatever was cut off."""
    return max(now, last + 1, ledger.get(public_key, -1) + 1)
