"""Which of PocketBase's events begin a pass at once. With the others nothing is lost: the next sweep finds it."""

from collections.abc import Collection, Iterable

from natsync.core.collections.schema import SPECS

ACTIONS = ("create", "update", "delete")
COLLECTIONS = frozenset(spec.name for spec in SPECS if spec.name.startswith("nats_"))
KNOWN = COLLECTIONS | {f"{collection}.{action}" for collection in COLLECTIONS for action in ACTIONS}


def known_events(names: Iterable[str]) -> tuple[str, ...]:
    """Raises ValueError for a name of no event."""
    found = tuple(names)
    for number, name in enumerate(found, 1):
        if name not in KNOWN:
            raise ValueError(f"name {number} is no event; one is `nats_accounts` or `nats_accounts.update`")
    return found


def is_heeded(names: Collection[str], collection: str, action: str) -> bool:
    """`names` are collections, or collections with one action; none stands for every event.

    natsync's own collections are always heeded: a ban does not wait.
    """
    return not names or collection not in COLLECTIONS or collection in names or f"{collection}.{action}" in names
