"""Brings PocketBase's collections into the shape natsync needs. A second run finds nothing to do."""

from common.adapters.pocketbase import PocketBase
from natsync.core.collections import SPECS, CollectionUnfit, Definition, correction, creation, users_correction


async def ensure_collections(pocketbase: PocketBase) -> list[str]:
    """Returns what was changed, in words. Raises ServiceError or CollectionUnfit."""
    existing = {collection["name"]: collection for collection in await pocketbase.collections()}
    if "users" not in existing:
        raise CollectionUnfit("PocketBase has no collection 'users'.")
    done: list[str] = []
    if changes := users_correction(existing["users"]):
        await pocketbase.request("PATCH", "/api/collections/users", changes)
        done.append(f"users: {said(changes)}")
    ids = {name: str(collection["id"]) for name, collection in existing.items()}
    for spec in SPECS:
        if spec.name not in existing:
            created = await pocketbase.request("POST", "/api/collections", creation(spec, ids))
            ids[spec.name] = created["id"]
            done.append(f"{spec.name}: created")
        elif changes := correction(spec, existing[spec.name], ids):
            await pocketbase.request("PATCH", f"/api/collections/{spec.name}", changes)
            done.append(f"{spec.name}: {said(changes)}")
    return done


def said(changes: Definition) -> str:
    return f"{', '.join(sorted(changes))} put right"
