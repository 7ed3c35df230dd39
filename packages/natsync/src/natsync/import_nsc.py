"""Takes over a store of nsc's: operator, accounts, users, with the keys that are there."""

from collections.abc import Callable
from pathlib import Path

from common.adapters.pocketbase import PocketBase
from natsync.adapters.keyring import Keyring
from natsync.adapters.nsc_files import read_store
from natsync.adopt import Adopt
from natsync.core.moving.nsc_store import adoption
from natsync.ensure import ensure_collections


async def import_nsc(
    pocketbase: PocketBase, keyring: Keyring, *, store: Path, keys: Path, operator: str, say: Callable[[str], None]
) -> None:
    """Begun again, it goes on. Raises ServiceError, NotAdoptable, CollectionUnfit or OSError."""
    adopted = adoption(read_store(store, keys, operator))
    for change in await ensure_collections(pocketbase):
        say(change)
    await Adopt(pocketbase, keyring, say).run(adopted)
