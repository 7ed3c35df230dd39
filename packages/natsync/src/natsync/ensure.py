"""Brings PocketBase's collections into the shape natsync needs. A second run finds nothing to do."""

from common.adapters.pocketbase import PocketBase
from natsync.core.collections.schema import SPECS
from natsync.core.collections.shape import CollectionUnfit, Definition, correction, creation, users_correction


async def ensure_collections(pocketbase: PocketBase) -> list[str]:
    """Returns what was changed, in words. Raises ServiceError or CollectionUnfit.

    PocketBase drops what it does not understand without a word; what was asked for is therefore looked for.
    """
    done = await put_right(pocketbase)
    if done:
        await verify(pocketbase)
    return done


async def put_right(pocketbase: PocketBase) -> list[str]:
    existing = await by_name(pocketbase)
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


async def verify(pocketbase: PocketBase) -> None:
    """Raises CollectionUnfit unless every collection is as it was asked to be."""
    existing = await by_name(pocketbase)
    ids = {name: str(collection["id"]) for name, collection in existing.items()}
    lacking = {spec.name: correction(spec, existing[spec.name], ids) for spec in SPECS if spec.name in existing}
    lacking |= {spec.name: {"collection": ""} for spec in SPECS if spec.name not in existing}
    if unkept := [f"{name} ({', '.join(sorted(changes))})" for name, changes in lacking.items() if changes]:
        raise CollectionUnfit(f"PocketBase did not take what was asked for: {'; '.join(unkept)}.")


async def by_name(pocketbase: PocketBase) -> dict[str, Definition]:
    return {collection["name"]: collection for collection in await pocketbase.collections()}


def said(changes: Definition) -> str:
    return f"{', '.join(sorted(changes))} put right"
